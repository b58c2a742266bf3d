"""Folders of rendered videos: filled once, finished if they were begun, dealt out to splits."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stvh_jax import files
from stvh_jax.errors import Exists, UserError

JPEG_QUALITY = 92
VERSION = 1  # a change of the pictures or the files is a new version

# More than anybody has the time or the disk for.
MOST_MATCHES, MOST_CLIPS, MOST_PIXELS = 100_000, 100_000, 8192


def deal(order: Sequence[int]) -> dict[str, list[int]]:
    """Deals a shuffled list out to train, validation and test, 9 : 2 : 3, at least one to each.

    The list has three numbers at least; each split is in ascending order.
    """
    validation, test = (max(1, round(len(order) * share / 14)) for share in (2, 3))
    return {
        "train": sorted(order[validation + test :]),
        "validation": sorted(order[:validation]),
        "test": sorted(order[validation : validation + test]),
    }


def check_matches(matches: int, least: int, why: str) -> None:
    """Checks the number of matches.

    Raises:
      UserError: it is out of range.
    """
    if matches < least:
        raise UserError(f"matches is {matches}: give {least} or more, {why}")
    if matches > MOST_MATCHES:
        raise UserError(f"matches is {matches}: give {MOST_MATCHES} or fewer")


def check_options(
    matches: int,
    clips_per_match: int,
    seed: int,
    difficulty: float,
    image_size: tuple[int, int],
) -> dict[str, Any]:
    """Returns the options as splits.json notes them.

    Raises:
      UserError: one of them is out of range.
    """
    check_matches(matches, 3, "one for each split")
    if not 1 <= clips_per_match <= MOST_CLIPS:
        raise UserError(f"clips_per_match is {clips_per_match}: give 1 to {MOST_CLIPS}")
    if not 0 <= difficulty <= 1:
        raise UserError(f"difficulty is {difficulty}: give a number in 0..1")
    check_pictures(seed, image_size)
    return {
        "matches": matches,
        "clips_per_match": clips_per_match,
        "seed": seed,
        "difficulty": difficulty,
        "image_size": [*image_size],
    }


def check_pictures(seed: int, image_size: tuple[int, int]) -> None:
    """Checks what pictures are rendered by.

    Raises:
      UserError: the seed or the size is out of its range.
    """
    height, width = image_size
    if not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}: give a number in 0..2**32-1")
    if not (48 <= height <= MOST_PIXELS and 80 <= width <= MOST_PIXELS):
        raise UserError(
            f"image_size is {height} x {width}: give 48 x 80 or more, at most {MOST_PIXELS} a side"
        )


def fill(
    out: pathlib.Path,
    content: Mapping[str, Any],
    write: Callable[[int], None],
    progress: Callable[[str], None],
    *,
    matches: int,
    what: str,
    marker: str = "splits.json",
) -> None:
    """Fills a folder with matches, and then with a file that says what it holds.

    A folder that has this very content is left as it is; one that was begun with it is finished.

    Args:
      out: the folder.
      content: of that file.
      write: writes the match of a number from 0 on, unless it is complete.
      progress: called with each line of progress.
      matches: how many there are.
      what: a match holds, for the lines of progress.
      marker: the name of that file.

    Raises:
      Exists: the folder holds something else.
    """
    # This file gets its name last: a folder that has it is complete.
    whole, begun = out / marker, out / f"{marker}.part"
    if whole.exists() and _read(whole) == content:
        progress(f"{out} is complete already")
        return
    if out.is_file():
        raise Exists(f"{out} is a file; give a folder")
    with files.reading(out, "a folder"):
        filled = out.exists() and any(not files.is_hidden(path.name) for path in out.iterdir())
    if filled and _read(begun) != content:
        raise Exists(
            f"{out} is not empty and was not written by this same command; give another folder"
        )
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
        begun.write_text(json.dumps(content, indent=2) + "\n")
        for match in range(matches):
            write(match)
            progress(f"match {match + 1} of {matches}: {what}")
        begun.rename(whole)


def _read(path: pathlib.Path) -> Any:
    """Reads a marker, None if it cannot be read."""
    try:
        return files.read_json(path, "a marker")
    except UserError:
        return None


def write_lines(path: pathlib.Path, lines: Sequence[str]) -> None:
    """Writes lines to a file, making its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
