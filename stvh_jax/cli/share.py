"""Packs a run into one file that stvh_jax.load takes: stvh share RUN OUT.zip."""

import argparse

from stvh_jax.cli import parsing
from stvh_jax.cli.parsing import StrictParser


def main(argv: list[str] | None = None, *, program: str = "stvh share") -> int:
    """Packs one run and returns the exit status; a user's mistake is one line and status 2."""
    return parsing.run_command(_parser(program), argv)


def _parser(program: str) -> StrictParser:
    parser = StrictParser(prog=program, description=__doc__)
    parser.set_defaults(run=_share)
    parser.add_argument("folder", metavar="RUN", help="folder of a trained model")
    parser.add_argument("out", metavar="OUT.zip", help="file to write")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    return parser


def _share(arguments: argparse.Namespace) -> int:
    from stvh_jax.runs import packed

    step, checkpoint, size = packed.pack(
        arguments.folder, arguments.out, checkpoint=arguments.checkpoint
    )
    print(f"{arguments.out}: the {checkpoint} checkpoint, step {step}, {size / 1e6:.1f} MB")
    return 0
