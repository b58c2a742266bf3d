"""The data sets: python -m data prepare | check | synthesize DATASET, or python -m data import."""

import argparse
import functools
import importlib
import pathlib
import sys
from collections.abc import Iterator, Sequence

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()  # while these are imported, too

from data.appearance import Appearance, read_appearance
from data.own import command
from data.raw import RawClips
from data.variants import DATASETS, Variant, options_of
from stvh_jax.cli import parsing
from stvh_jax.cli.parsing import StrictParser
from stvh_jax.errors import UserError

# What is rendered as video files.
_FOOTAGE = "footage"


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; a user's mistake is one line and status 2."""
    return parsing.run_command(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser_of_all = StrictParser(prog="python -m data", description=__doc__)
    commands = parser_of_all.add_subparsers(required=True, metavar="command")

    for dataset, parser in _add_datasets(commands, "prepare", "turn raw files into a prepared set"):
        _add_raw_arguments(parser, dataset)
        parser.add_argument(
            "--out",
            type=pathlib.Path,
            default=pathlib.Path("datasets"),
            help="folder of prepared sets",
        )
        parser.add_argument("--allow-missing", action="store_true", help="prepare all there is")
        parser.set_defaults(run=_prepare)
    for dataset, parser in _add_datasets(commands, "check", "report what is missing or malformed"):
        _add_raw_arguments(parser, dataset)
        parser.set_defaults(run=_check)
    what = "render matches, in the raw layout or as footage: videos with tracks and labels"
    for dataset, parser in _add_datasets(commands, "synthesize", what, (*DATASETS, _FOOTAGE)):
        parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to fill")
        parser.add_argument("--matches", type=int, help="videos or sequences")
        parser.add_argument("--seed", type=int)
        parser.add_argument("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
        if dataset == _FOOTAGE:
            parser.add_argument("--minutes", type=float, help="of each video (default 2)")
        else:
            parser.add_argument("--clips-per-match", type=int)
            parser.add_argument("--difficulty", type=float, help="0 (clear, the default) to 1")
        parser.set_defaults(run=_synthesize)
    command.add_arguments(commands.add_parser("import", help=command.HELP))
    return parser_of_all


def _add_datasets(
    commands, name: str, help_text: str, names: Sequence[str] = DATASETS
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Adds a command, and yields each data set with the parser of its options."""
    datasets = commands.add_parser(name, help=help_text).add_subparsers(
        required=True, metavar="dataset", dest="dataset"
    )
    for dataset in names:
        yield dataset, datasets.add_parser(dataset)


def _add_raw_arguments(parser: argparse.ArgumentParser, dataset: str) -> None:
    parser.add_argument("--raw", type=pathlib.Path, required=True, help="folder of the raw files")
    parser.add_argument("--boxes-only", action="store_true", help="boxes and labels, no frames")
    parser.add_argument(
        "--features",
        type=pathlib.Path,
        metavar="FILE.npz",
        help="with --boxes-only: features of whole frames, too; see docs/data.md",
    )
    for option, choices in options_of(dataset).items():
        meaning = f"default {choices[0]}; see data/{dataset}/README.md"
        parser.add_argument(f"--{option}", choices=choices, default=choices[0], help=meaning)


def _variant(arguments: argparse.Namespace) -> Variant:
    """Returns the variant that the command line asks for."""
    content = "boxes_only" if arguments.boxes_only else "frames"
    return Variant(
        arguments.dataset,
        content if arguments.features is None else "boxes_and_appearance",
        {option: getattr(arguments, option) for option in options_of(arguments.dataset)},
    )


def _open_raw(arguments: argparse.Namespace) -> RawClips:
    module = importlib.import_module(f"data.{arguments.dataset}.raw")
    return module.open_raw(arguments.raw, **_variant(arguments).choices)


def _read_appearance(arguments: argparse.Namespace) -> Appearance | None:
    """Reads the file of `--features`; None if it is not given."""
    if arguments.features is None:
        return None
    if not arguments.boxes_only:
        raise UserError("--features takes the place of frames; give --boxes-only with it")
    return read_appearance(arguments.features)


def _prepare(arguments: argparse.Namespace) -> int:
    _open_raw(arguments)
    appearance = _read_appearance(arguments)
    # TensorFlow is slow to import, and not needed to find that there are no raw files.
    from data.prepared.builder import prepare

    prepare(
        _variant(arguments),
        arguments.raw,
        arguments.out,
        appearance=appearance,
        allow_missing=arguments.allow_missing,
        # TFDS's own output is silenced by a redirection of sys.stdout; this is not.
        report=functools.partial(print, file=sys.stdout, flush=True),
    )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from data.check import check_raw

    report = functools.partial(print, flush=True)
    complete = check_raw(
        _open_raw(arguments),
        frames=not arguments.boxes_only,
        appearance=_read_appearance(arguments),
        report=report,
    )
    return 0 if complete else 1


def _synthesize(arguments: argparse.Namespace) -> int:
    from data.synthetic import footage, street_files, volleyball_files

    given = ("matches", "clips_per_match", "minutes", "seed", "difficulty", "image_size")
    options = {name: getattr(arguments, name, None) for name in given}
    # Options that are not given have the defaults of what is rendered.
    options = {name: value for name, value in options.items() if value is not None}
    if "image_size" in options:
        options["image_size"] = tuple(options["image_size"])
    if arguments.dataset == _FOOTAGE:
        footage.synthesize_footage(arguments.out, **options)
    elif arguments.dataset == "volleyball":
        volleyball_files.synthesize_volleyball(arguments.out, **options)
    else:
        extended = arguments.dataset == "collective_activity_extended"
        street_files.synthesize_collective(arguments.out, extended=extended, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
