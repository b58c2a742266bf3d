"""Converts a file of ImageNet weights: stvh convert FILE OUT."""

import argparse
import pathlib

import jax

from stvh_jax.cli import parsing
from stvh_jax.cli.parsing import StrictParser
from stvh_jax.errors import UserError
from stvh_jax.models.backbones.preprocessing import NORMALISATIONS
from stvh_jax.models.weights.containers import first_few
from stvh_jax.models.weights.convert import read, write
from stvh_jax.models.weights.names import TITLES


def main(argv: list[str] | None = None, *, program: str = "stvh convert") -> int:
    """Converts one file and returns the exit status; a user's mistake is one line and status 2."""
    return parsing.run_command(_parser(program), argv)


def _parser(program: str) -> StrictParser:
    parser = StrictParser(
        prog=program,
        description="Turn Keras's or torchvision's weights of Inception-v3 or VGG-16 into a file "
        "of this project.",
    )
    parser.set_defaults(run=_convert)
    parser.add_argument(
        "file", type=pathlib.Path, help="weights: .h5, .keras, .pth or .safetensors"
    )
    parser.add_argument("out", type=pathlib.Path, help="file to write, a .safetensors")
    parser.add_argument(
        "--normalisation",
        choices=NORMALISATIONS,
        help="of the pixels the weights were trained on, where it is not the usual one; with "
        "caffe, blue comes first in FILE",
    )
    return parser


def _convert(arguments: argparse.Namespace) -> int:
    file, out = arguments.file, arguments.out
    if out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"{out}: is the file to convert; give another name to write")
    weights = read(file, arguments.normalisation)
    write(weights, out)
    leaves = jax.tree.leaves(weights.variables)
    options = ", ".join(f"{name} {value}" for name, value in sorted(weights.options.items()))
    numbers = sum(leaf.size for leaf in leaves)
    print(
        f"{out}: {TITLES[weights.backbone]} of {weights.framework}, {len(leaves)} "
        f"tensors, {numbers:,} numbers; {options}; from {weights.source}, sha256 {weights.sha256}"
    )
    if weights.unused:
        print(f"left out {len(weights.unused)} tensors: {first_few(weights.unused)}")
    return 0
