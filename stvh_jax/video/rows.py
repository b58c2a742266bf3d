"""What a file of tracks says, before it is fitted to a video: the common tongue of the readers."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from stvh_jax.errors import Damaged, UserError, shown
from stvh_jax.video.tracks import UNTRACKED

# The boxes of one video that are held in memory: a hundred people in each of 100,000 frames.
MOST_BOXES = 10_000_000

# A float holds all whole numbers up to here.
MOST_NUMBER = 2**53

Where = Callable[[int], str]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The boxes of a file, as they stand in it.

    Attributes:
      frames: numbers of frames, as the file counts them.
      people: `UNTRACKED` where nobody was followed.
      boxes: `[y_min, x_min, y_max, x_max]`, whatever the file says: they may be inverted, beyond
        the frame or not finite.
      confidences: NaN where the file does not say.
      places: where each box stands, a number that `where` turns into text.
      where: gives a place for a message, "line 3".
      first_frame: the number of the first frame of the video.
      in_pixels: whether the boxes are in pixels, or in 0..1 of the frame.
      size: width and height of the video, if the file says.
      num_frames: how many frames the video has, if the file says.
      left_out: how many boxes the reader has left out, by the reason: "lost".
      notes: what a user should know of how the file was read, a line each.
    """

    frames: Int64[np.ndarray, "M"]
    people: Int64[np.ndarray, "M"]
    boxes: Float64[np.ndarray, "M 4"]
    confidences: Float64[np.ndarray, "M"]
    places: Int64[np.ndarray, "M"]
    where: Where
    first_frame: int
    in_pixels: bool = True
    size: tuple[int, int] | None = None
    num_frames: int | None = None
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def without(self, dropped: Bool[np.ndarray, "M"], reason: str) -> "Rows":
        """Leaves boxes out, and counts them under the reason."""
        count = int(dropped.sum())
        if not count:
            return self
        left_out = {**self.left_out, reason: self.left_out.get(reason, 0) + count}
        kept = self.at(np.flatnonzero(~dropped))
        return dataclasses.replace(kept, left_out=left_out)

    def at(self, places: Int64[np.ndarray, "K"]) -> "Rows":
        """Takes some of the boxes, in this order."""
        names = ("frames", "people", "boxes", "confidences", "places")
        return dataclasses.replace(self, **{name: getattr(self, name)[places] for name in names})

    def noting(self, *notes: str) -> "Rows":
        """Adds lines to what a user should know; empty ones are none."""
        return dataclasses.replace(self, notes=(*self.notes, *filter(None, notes)))


def check_count(count: int) -> None:
    """Sees to it that a file's boxes fit the memory.

    Raises:
      UserError: there are too many.
    """
    if count > MOST_BOXES:
        raise UserError(f"it has more than {MOST_BOXES} boxes, the most for one video")


def line_of(place: int) -> str:
    """Names a line of a file, for a message."""
    return f"line {place}"


def lowest(frames: Int64[np.ndarray, "M"]) -> int:
    """Says what the first frame is called where a format does not: 1, unless a frame 0 occurs."""
    return 0 if (frames == 0).any() else 1


def whole_numbers(
    values: Float64[np.ndarray, "M"], what: str, places: Int64[np.ndarray, "M"], where: Where
) -> Int64[np.ndarray, "M"]:
    """Turns numbers into whole ones.

    Raises:
      Damaged: one is not whole, or so large that a float does not hold it; the message says where.
    """
    with np.errstate(invalid="ignore"):
        sound = (values == np.floor(values)) & (np.abs(values) <= MOST_NUMBER)
    if not sound.all():
        bad = int(np.argmin(sound))
        raise Damaged(f"{where(int(places[bad]))}: {what} {values[bad]:.10g} is not a whole number")
    return values.astype(np.int64)


def frame_numbers(
    values: Float64[np.ndarray, "M"], places: Int64[np.ndarray, "M"], where: Where
) -> Int64[np.ndarray, "M"]:
    """Turns numbers of frames into whole ones.

    Raises:
      Damaged: one is not whole, or negative.
    """
    frames = whole_numbers(values, "frame", places, where)
    if (frames < 0).any():
        bad = int(np.argmax(frames < 0))
        raise Damaged(f"{where(int(places[bad]))}: there is no frame {frames[bad]}")
    return frames


def people_of_numbers(
    values: Float64[np.ndarray, "M"], places: Int64[np.ndarray, "M"], where: Where
) -> Int64[np.ndarray, "M"]:
    """Turns a tracker's numbers into people: negative ones and none (NaN) are `UNTRACKED`.

    Raises:
      Damaged: one is not whole.
    """
    values = np.where(np.isnan(values), UNTRACKED, values)
    return np.maximum(whole_numbers(values, "person", places, where), UNTRACKED)


def people_of_names(
    names: Sequence[Any], places: Int64[np.ndarray, "M"], where: Where
) -> tuple[Int64[np.ndarray, "M"], str]:
    """Turns what a file calls its people into numbers.

    Args:
      names: numbers or texts; None and "" are `UNTRACKED`.
      places: where they stand.
      where: gives a place for a message.

    Returns:
      The people: the numbers themselves if all are numbers, otherwise numbers from 0 in the order
      in which the names first occur; and a note about that, or "".

    Raises:
      Damaged: a number is not whole, or a name is neither a number nor a text.
    """
    try:
        numbers = np.array([math.nan if _nobody(name) else float(name) for name in names])
    except OverflowError as error:
        raise Damaged("a person's number is too large") from error
    except (TypeError, ValueError):
        pass
    else:
        return people_of_numbers(numbers, places, where), ""
    known: dict[str, int] = {}
    people = np.full(len(names), UNTRACKED, np.int64)
    for row, name in enumerate(names):
        if _nobody(name):
            continue
        if not isinstance(name, str | int | float):
            raise Damaged(f"{where(int(places[row]))}: {shown(name, 40)} cannot be a person's name")
        people[row] = known.setdefault(str(name), len(known))
    return people, f"{len(known)} people have names, not numbers; they are numbered from 0"


def _nobody(name: Any) -> bool:
    return name is None or (isinstance(name, str) and not name.strip())
