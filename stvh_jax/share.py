"""Packs a run into one file that stvh_jax.load takes: python -m stvh_jax.share RUN OUT.zip."""

import argparse
import sys

from stvh_jax import subcommands
from stvh_jax.subcommands import StrictParser


def main(argv: list[str] | None = None) -> int:
    """Packs one run and returns the exit status; a user's mistake is one line and status 2."""
    return subcommands.run(_parser(), argv)


def _parser() -> StrictParser:
    parser = StrictParser(prog="python -m stvh_jax.share", description=__doc__)
    parser.set_defaults(run=_share)
    parser.add_argument("folder", metavar="RUN", help="folder of a trained model")
    parser.add_argument("out", metavar="OUT.zip", help="file to write")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    return parser


def _share(arguments: argparse.Namespace) -> int:
    from stvh_jax import shared_runs

    step, checkpoint, size = shared_runs.pack(
        arguments.folder, arguments.out, checkpoint=arguments.checkpoint
    )
    print(f"{arguments.out}: the {checkpoint} checkpoint, step {step}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
