"""Indexes clips and finds those like a clip: python search.py index | query; see --help."""

import sys

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()  # while these are imported, too
    from data import open_dataset
    from stvh_jax.cli import search

    sys.exit(search.main(open_dataset))
