"""Evaluates a trained model: python evaluate.py --bits=128; see --help."""

from data import open_dataset
from stvh_jax.cli import evaluate

if __name__ == "__main__":
    evaluate.main(open_dataset)
