"""Indexes clips and finds those like a clip: python search.py index | query; see --help."""

import sys

from data import open_dataset
from stvh_jax.cli import search

if __name__ == "__main__":
    sys.exit(search.main(open_dataset))
