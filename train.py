"""Trains a model: python train.py --config=configs/vd.py; see --help."""

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()  # while these are imported, too
    from data import open_dataset
    from stvh_jax.cli import train

    train.main(open_dataset)
