"""The command line of the datasets: python -m data prepare | check | synthesize."""

import argparse
import contextlib
import functools
import io
import logging
import pathlib
import sys

from stvh_jax.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; a user's mistake is one line and status 2."""
    # TFDS warns on stderr of its own deprecated calls.
    logging.getLogger("absl").setLevel(logging.ERROR)
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m data", description=__doc__)
    # A misspelt option is an error, not the abbreviation of another one.
    commands = parser.add_subparsers(
        required=True,
        metavar="command",
        parser_class=functools.partial(_Parser, allow_abbrev=False),
    )

    prepare = commands.add_parser("prepare", help="turn raw files into a prepared set")
    _add_raw_arguments(prepare)
    prepare.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("datasets"), help="folder of prepared sets"
    )
    prepare.add_argument("--allow-missing", action="store_true", help="skip clips that lack frames")
    prepare.set_defaults(run=_prepare)

    check = commands.add_parser("check", help="tell what raw files are missing or malformed")
    _add_raw_arguments(check)
    check.set_defaults(run=_check)

    synthesize = commands.add_parser("synthesize", help="render matches in the raw layout")
    synthesize.add_argument("--out", type=pathlib.Path, required=True, help="folder to fill")
    synthesize.add_argument("--matches", type=int, default=22)
    synthesize.add_argument("--clips-per-match", type=int, default=32)
    synthesize.add_argument("--seed", type=int, default=0)
    synthesize.add_argument("--difficulty", type=float, default=0.0, help="0 (clear) to 1")
    synthesize.add_argument(
        "--image-size", type=int, nargs=2, default=(96, 160), metavar=("HEIGHT", "WIDTH")
    )
    synthesize.set_defaults(run=_synthesize)
    return parser


def _add_raw_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=["volleyball"])
    parser.add_argument("--raw", type=pathlib.Path, required=True, help="folder that holds videos/")
    parser.add_argument("--boxes-only", action="store_true", help="boxes and labels, no frames")


def _prepare(arguments: argparse.Namespace) -> int:
    import tensorflow_datasets as tfds

    from data.volleyball import raw
    from data.volleyball.volleyball_dataset_builder import Builder

    raw.open_raw(arguments.raw)
    tfds.disable_progress_bar()
    builder = Builder(
        config="boxes_only" if arguments.boxes_only else "frames",
        data_dir=arguments.out,
        allow_missing=arguments.allow_missing,
        report=functools.partial(print, file=sys.stdout, flush=True),
    )
    if builder.is_prepared():
        print(f"{builder.data_path} is already prepared; delete it to prepare it again")
    else:
        # TFDS announces a download that never happens.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=arguments.raw.absolute())
            )
        print(f"prepared {builder.data_path}")
    for split, counts in builder.info.metadata.items():
        share = counts["untracked"] / counts["actors"]
        print(
            f"{split}: {counts['clips']} clips, {counts['actors']} actors, {share:.1%} without a "
            f"track" + (f", {counts['skipped']} skipped" if counts["skipped"] else "")
        )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from data.volleyball.check import check_volleyball

    report = functools.partial(print, flush=True)
    complete = check_volleyball(arguments.raw, frames=not arguments.boxes_only, report=report)
    return 0 if complete else 1


def _synthesize(arguments: argparse.Namespace) -> int:
    from data.synthetic import synthesize_volleyball

    synthesize_volleyball(
        arguments.out,
        matches=arguments.matches,
        clips_per_match=arguments.clips_per_match,
        seed=arguments.seed,
        difficulty=arguments.difficulty,
        image_size=tuple(arguments.image_size),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
