"""What the annotations of all data sets have in common: clips, and how lines are read.

Boxes are `[y_min, x_min, y_max, x_max]` in native pixels, as the files have them.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stvh_jax.errors import NotFound, UserError

# T, the frames of a clip.
NUM_FRAMES = 10


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
    """Reads finite numbers.

    Raises:
      ValueError: a field is not a finite number.
    """
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"expected numbers, found: {' '.join(fields)}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"not finite: {' '.join(fields)}")
    return numbers


def read_lines(path: str | pathlib.Path) -> list[str]:
    """Reads the lines of a text file; bytes that are not UTF-8 are replaced.

    Raises:
      NotFound: there is no such file.
      UserError: it cannot be read.
    """
    try:
        # Some editors begin a file with a byte-order mark.
        return pathlib.Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
