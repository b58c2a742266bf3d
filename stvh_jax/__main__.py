"""python -m stvh_jax is the program `stvh`."""

import sys

from stvh_jax.cli.main import main

sys.exit(main())
