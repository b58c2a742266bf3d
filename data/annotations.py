"""What the annotations of all data sets have in common: clips, and how lines are read.

Boxes are `[y_min, x_min, y_max, x_max]` in native pixels, as the files have them.
"""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stvh_jax import files
from stvh_jax.errors import UserError, shown

# T, the frames of a clip.
NUM_FRAMES = 10

# What no number of a pixel or frame exceeds; prepared sets keep numbers of 32 bits.
MOST = 1_000_000_000

# What splits folders, lines or cannot be in a path at all.
_NOT_IN_NAMES = re.compile(r"[/\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


# What stands for bytes that are not UTF-8; different names could become one by it.
_REPLACED = "\N{REPLACEMENT CHARACTER}"


@dataclasses.dataclass(frozen=True)
class ClipFormat:
    """What the clips of a data set have in common.

    Attributes:
      activities: names of the activities.
      actions: names of the actions.
      max_actors: N, the largest number of people in a clip.
      key_frame: the place of the key frame among a clip's T frames, from 0.
    """

    activities: tuple[str, ...]
    actions: tuple[str, ...]
    max_actors: int
    key_frame: int


@dataclasses.dataclass(frozen=True)
class ClipAnnotation:
    """The annotated people of a clip's key frame, and what they do.

    Attributes:
      clip: the clip's name within its match.
      frame: number of the key frame in the source video.
      activity: name of the activity.
      boxes: native pixels.
      actions: name of the action of each box.
      line: number of the clip's first line in the file, from 1.
    """

    clip: str
    frame: int
    activity: str
    boxes: Float[np.ndarray, "n 4"]
    actions: tuple[str, ...]
    line: int


class Scan(NamedTuple):
    """The annotations of a match.

    Attributes:
      clips: the good clips.
      problems: one error for each bad line.
      key_frames: the number of good annotated key frames, some of which may make no clip.
    """

    clips: list[ClipAnnotation]
    problems: list[UserError]
    key_frames: int


def parse_numbers(fields: Sequence[str]) -> list[float]:
    """Reads numbers of a size that pixels and frames can have.

    Raises:
      ValueError: a field is not a number, not finite, or too large.
    """
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        numbers = []
    # Python takes 1_0 for 10; in a file it is more likely a typing error.
    if not numbers or any("_" in field for field in fields):
        raise ValueError(f"expected numbers, found: {' '.join(fields)}")
    if any(abs(number) > MOST for number in numbers):
        raise ValueError(f"too large: {' '.join(fields)}")
    if np.isnan(numbers).any():
        raise ValueError(f"not finite: {' '.join(fields)}")
    return numbers


def whole_number(number: float, what: str) -> int:
    """Returns a number that counts something.

    Raises:
      ValueError: it is not whole, below 0, or too large.
    """
    if not 0 <= number <= MOST or number % 1:
        raise ValueError(f"{what} {shown(number, 30)} is not a whole number from 0 to {MOST}")
    return int(number)


def check_name(name: str) -> None:
    """Checks that a match or clip can be a folder and part of a line of text.

    Raises:
      ValueError: it cannot.
    """
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name):
        raise ValueError(f"{shown(name)} is not the name of a folder")
    if _REPLACED in name:
        raise ValueError(f"the name {shown(name)} is not UTF-8; save the file as UTF-8")
    if len(name.encode()) > 255:
        raise ValueError(f"a name of {len(name)} characters is too long for a folder")


def read_lines(path: str | pathlib.Path) -> list[str]:
    """Reads the lines of a text file; bytes that are not UTF-8 are replaced.

    Raises:
      NotFound: there is no such file.
      UserError: it cannot be read.
      Damaged: it is too large.
    """
    # Some editors begin a file with a byte-order mark.
    return files.read_bytes(path, "a list").decode("utf-8-sig", "replace").splitlines()
