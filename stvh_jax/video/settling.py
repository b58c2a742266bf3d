"""Fits what a file of tracks says to a video: numbers of frames, the frame's edges, confidences."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.rows import Rows
from stvh_jax.video.tracks import UNTRACKED, Tracks

BEYOND = "beyond the frame"
NO_AREA = "without area"
TWICE = "less confident than another box of the same person in the frame"

# Boxes that reach beyond the frame by no more than this were rounded, nothing else.
_ROUNDING = 1e-5


def settle(
    rows: Rows,
    *,
    width: int,
    height: int,
    num_frames: int | None,
    min_confidence: float,
    first_frame: int | None,
) -> tuple[Tracks, list[str]]:
    """Fits rows to a video.

    Args:
      rows: what the file says.
      width: of the video, in pixels as it is displayed.
      height: likewise.
      num_frames: how many frames the video has; None if that is not known.
      min_confidence: boxes below it are left out.
      first_frame: what the file calls the first frame; None for what its format says.

    Returns:
      The tracks, in the order of frames and people; and a line for each thing that was mended or
      left out.

    Raises:
      Damaged: a box is not finite.
      UserError: the file is of another video, or no box is left.
    """
    if not len(rows.frames):
        raise UserError(f"it has no box of a person{_reasons(rows)}")
    _check_video(rows, width, height, num_frames)
    frames = _frames(rows, num_frames, first_frame)
    confidences, note = _confidences(rows, min_confidence)
    boxes = _in_frame(rows, width, height)
    # Without another copy in 64 bits, for of hours, memory counts.
    clipped = np.empty(boxes.shape, np.float32)
    np.clip(boxes, 0, 1, out=clipped, casting="same_kind")
    reasons = _reasons_to_drop(boxes, clipped, confidences, min_confidence)
    dropped = np.any(np.stack(list(reasons.values())), axis=0)
    reasons[TWICE] = _twice(frames, rows.people, confidences, np.logical_not(dropped))
    left = np.ones(len(frames), bool)
    kept = rows
    for reason, dropped in reasons.items():
        kept = kept.without(dropped[left], reason)
        left &= ~dropped
    if not left.any():
        raise UserError(f"it has no box of a person in this video{_reasons(kept)}")
    beyond = np.any((boxes < -_ROUNDING) | (boxes > 1 + _ROUNDING), axis=1) & left
    places = np.flatnonzero(left)
    places = places[np.lexsort([rows.people[places], frames[places]])]
    tracks = Tracks(
        frames=frames[places],
        people=np.maximum(rows.people[places], UNTRACKED),
        boxes=clipped[places],
        confidences=confidences[places].astype(np.float32),
    )
    return tracks, _lines(kept, note, int(beyond.sum()), len(rows.frames))


def _check_video(rows: Rows, width: int, height: int, num_frames: int | None) -> None:
    """Compares what the file says of its video.

    Raises:
      UserError: it is of another one.
    """
    if rows.size is not None and rows.size != (width, height):
        raise UserError(
            f"its video has {rows.size[0]} x {rows.size[1]} pixels, but this video has "
            f"{width} x {height}; are these the tracks of another video?"
        )
    if None not in (rows.num_frames, num_frames) and rows.num_frames != num_frames:
        raise UserError(
            f"its video has {rows.num_frames} frames, but this video has {num_frames}; are these "
            "the tracks of another video?"
        )


def _frames(rows: Rows, num_frames: int | None, first_frame: int | None) -> Int64[np.ndarray, "M"]:
    """Numbers the frames from 0."""
    first = rows.first_frame if first_frame is None else first_frame
    frames = rows.frames - first
    if (frames < 0).any():
        row = int(np.argmin(frames))
        raise UserError(
            f"{rows.where(int(rows.places[row]))}: there is no frame {rows.frames[row]}, because "
            f"frames are numbered from {first}"
        )
    if num_frames is not None and (frames >= num_frames).any():
        row = int(np.argmax(frames >= num_frames))
        raise UserError(
            f"{rows.where(int(rows.places[row]))}: there is no frame {rows.frames[row]}, because "
            f"the video has {num_frames} frames, numbered from {first}; are these the tracks of "
            "another video?"
        )
    return frames


def _confidences(rows: Rows, min_confidence: float) -> tuple[Float64[np.ndarray, "M"], str]:
    """Fills in the confidences that the file does not say, and sees those of another scale."""
    confidences = rows.confidences
    said = confidences[~np.isnan(confidences)]
    if not len(said) or (said.min() >= 0 and said.max() <= 1):
        return np.where(np.isnan(confidences), 1.0, confidences), ""
    scale = f"its confidences go from {said.min():.4g} to {said.max():.4g}, but must be in 0..1"
    if min_confidence > 0:
        raise UserError(f"{scale}; read it without a minimum confidence")
    return np.ones(len(confidences)), f"{scale}; all are taken as 1"


def _in_frame(rows: Rows, width: int, height: int) -> Float64[np.ndarray, "M 4"]:
    """Gives the boxes in 0..1 of the frame."""
    finite = np.isfinite(rows.boxes).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise Damaged(
            f"{rows.where(int(rows.places[row]))}: the box has a number that is not finite"
        )
    if not rows.in_pixels:
        return rows.boxes
    return rows.boxes / np.array([height, width, height, width], np.float64)


def _reasons_to_drop(
    boxes: Float64[np.ndarray, "M 4"],
    clipped: Float32[np.ndarray, "M 4"],
    confidences: Float64[np.ndarray, "M"],
    min_confidence: float,
) -> dict[str, Bool[np.ndarray, "M"]]:
    """Finds the boxes that are left out, each for one reason."""
    unsure = confidences < min_confidence
    empty = ~unsure & ~(boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    # As floats of 32 bits, for so they are kept: there, too, a box shall have an area.
    beyond = ~unsure & ~empty & ~(clipped[:, :2] < clipped[:, 2:]).all(axis=1)
    return {
        f"below the confidence of {min_confidence:g}": unsure,
        NO_AREA: empty,
        BEYOND: beyond,
    }


def _twice(
    frames: Int64[np.ndarray, "M"],
    people: Int64[np.ndarray, "M"],
    confidences: Float64[np.ndarray, "M"],
    left: Bool[np.ndarray, "M"],
) -> Bool[np.ndarray, "M"]:
    """Finds further boxes of a person in a frame, all but the most confident and first."""
    places = np.flatnonzero(left & (people > UNTRACKED))
    order = places[np.lexsort([-confidences[places], people[places], frames[places]])]
    again = (frames[order[1:]] == frames[order[:-1]]) & (people[order[1:]] == people[order[:-1]])
    twice = np.zeros(len(frames), bool)
    twice[order[1:][again]] = True
    return twice


def _reasons(rows: Rows) -> str:
    """Says why boxes are left out: " (5 lost)", or ""."""
    return f" ({_listed(rows)})" if rows.left_out else ""


def _listed(rows: Rows) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in rows.left_out.items())


def _lines(rows: Rows, note: str, clipped: int, count: int) -> list[str]:
    """Writes what was mended or left out, a line each."""
    lines = [*rows.notes]
    if note:
        lines.append(note)
    total = sum(rows.left_out.values())
    if total:
        lines.append(f"{_boxes(total)} left out: {_listed(rows)}")
    if rows.left_out.get(BEYOND, 0) * 2 > count:
        lines.append("most boxes are beyond the frame; are these the tracks of another video?")
    if clipped:
        lines.append(f"{_boxes(clipped)} clipped to the frame")
    return lines


def _boxes(count: int) -> str:
    return "1 box was" if count == 1 else f"{count} boxes were"
