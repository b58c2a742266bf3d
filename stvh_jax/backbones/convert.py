"""Converts a file of ImageNet weights: python -m stvh_jax.backbones.convert FILE OUT."""

import argparse
import pathlib
import sys

import jax

from stvh_jax.backbones import weight_files
from stvh_jax.backbones.normalisation import NORMALISATIONS
from stvh_jax.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Converts one file and returns the exit status; a user's mistake is one line and status 2."""
    arguments = _parser().parse_args(argv)
    try:
        _convert(arguments.file, arguments.out, arguments.normalisation)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m stvh_jax.backbones.convert",
        description="Turn Keras's or torchvision's weights of Inception-v3 or VGG-16 into a file "
        "of this project.",
        allow_abbrev=False,
    )
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


def _convert(file: pathlib.Path, out: pathlib.Path, normalisation: str | None) -> None:
    if out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"{out}: is the file to convert; give another name to write")
    weights = weight_files.read(file, normalisation)
    weight_files.write(weights, out)
    leaves = jax.tree.leaves(weights.variables)
    options = ", ".join(f"{name} {value}" for name, value in sorted(weights.options.items()))
    numbers = sum(leaf.size for leaf in leaves)
    print(
        f"{out}: {weight_files.TITLES[weights.backbone]} of {weights.framework}, {len(leaves)} "
        f"tensors, {numbers:,} numbers; {options}; from {weights.source}, sha256 {weights.sha256}"
    )
    if weights.unused:
        print(f"left out {len(weights.unused)} tensors: {weight_files.some(weights.unused)}")


if __name__ == "__main__":
    sys.exit(main())
