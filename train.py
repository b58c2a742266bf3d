"""Trains a model: python train.py --config=configs/vd.py; see --help."""

from data import open_dataset
from stvh_jax.cli import train

if __name__ == "__main__":
    train.main(open_dataset)
