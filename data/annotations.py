"""Parsers of the datasets' own annotation files, NumPy only.

Boxes are `[y_min, x_min, y_max, x_max]` in native pixels, as the files have them.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stvh_jax.errors import UserError

# T, the frames of a clip.
NUM_FRAMES = 10


@dataclasses.dataclass(frozen=True)
class ClipFormat:
    """What the clips of a dataset have in common.

    Attributes:
      activities: names of the activities.
      actions: names of the actions.
      max_actors: N, the most people of a clip.
      key_frame: the key frame's place among a clip's T frames.
    """

    activities: tuple[str, ...]
    actions: tuple[str, ...]
    max_actors: int
    key_frame: int


@dataclasses.dataclass(frozen=True)
class ClipAnnotation:
    """The annotated people of a clip's key frame, and what they do.

    Attributes:
      clip: number of the key frame, which names the clip within its video.
      activity: name of the activity.
      boxes: native pixels.
      actions: name of the action of each box.
      line: number of the first line of the file that says so, from 1.
    """

    clip: int
    activity: str
    boxes: Float[np.ndarray, "n 4"]
    actions: tuple[str, ...]
    line: int


@dataclasses.dataclass(frozen=True)
class KeyFrame:
    """The annotated people of a key frame of Collective Activity.

    Attributes:
      frame: its number.
      boxes: native pixels; they may leave the frame.
      classes: numbers of the people's classes, from 1.
      line: number of its first line in the file, from 1.
    """

    frame: int
    boxes: Float[np.ndarray, "n 4"]
    classes: tuple[int, ...]
    line: int


class Scan(NamedTuple):
    """What the annotations of a match hold.

    Attributes:
      clips: the good clips.
      problems: one error for each bad line.
      key_frames: the good annotated key frames, of which some may make no clip.
    """

    clips: list[ClipAnnotation]
    problems: list[UserError]
    key_frames: int


def majority(names: Sequence[str]) -> str | None:
    """Returns the most frequent name; of equally frequent ones, that which comes first.

    None if there is no name. The order is that of the annotation, as in the literature's loaders.
    """
    # Counter keeps the order of first occurrence, and max the first of equals.
    counts = collections.Counter(names)
    return max(counts, key=counts.get, default=None)


def check_class(kind: str, name: str, known: Sequence[str]) -> None:
    """Raises a `ValueError` for a class that is not known."""
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def parse_numbers(fields: Sequence[str]) -> list[float]:
    """Reads finite numbers.

    Raises:
      ValueError: if a field is none.
    """
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"expected numbers, found: {' '.join(fields)}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"not finite: {' '.join(fields)}")
    return numbers


def read_lines(path: str | pathlib.Path) -> list[str]:
    """Reads the lines of a text file, bytes that are no text replaced.

    Raises:
      UserError: if there is no such file, or it cannot be read.
    """
    try:
        # Some editors begin a file with a byte-order mark.
        return pathlib.Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
