"""Evaluates a trained model: python evaluate.py --bits=128; see --help."""

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()  # while these are imported, too
    from data import open_dataset
    from stvh_jax.cli import evaluate

    evaluate.main(open_dataset)
