"""Reads the person tracks of the Volleyball Dataset, in both formats they come in."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data import plain_pickle
from data.annotations import parse_numbers, read_lines, whole_number
from data.plain_pickle import PickledArray
from data.tracks import MOST_PLACES, Tracks, tracks_from_boxes
from stvh_jax import files
from stvh_jax.errors import Damaged

# The tracks of the whole data set take an eighth.
_MOST_BYTES = 512 << 20

# How far a normalized box may reach, in heights and widths of the frame.
_FARTHEST = 10.0


def parse_volleyball_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads a text track file of one Volleyball clip.

    A row is `player xmin ymin xmax ymax frame lost grouping generated action`, native pixels. The
    boxes of rows marked `lost` are not reliable; these people count as not visible.

    Raises:
      NotFound: there is no such file.
      Damaged: at a malformed row, with file and line, or where no person is ever visible.
    """
    boxes = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) != 10:
                raise ValueError(f"expected 10 fields, found {len(fields)}")
            player, x_min, y_min, x_max, y_max, frame, lost = parse_numbers(fields[:7])
            frame = whole_number(frame, "frame")
            if x_max < x_min or y_max < y_min:
                raise ValueError("the box ends before it starts")
            if (frame, player) in boxes:
                raise ValueError(f"player {player:g} already has a box in frame {frame}")
        except ValueError as error:
            raise Damaged(f"{path}:{number}: {files.reason(error)}") from None
        boxes[frame, player] = None if lost else (y_min, x_min, y_max, x_max)
    boxes = {place: box for place, box in boxes.items() if box is not None}
    if not boxes:
        raise Damaged(f"{path}: no person is visible in any row; remove or replace the file")
    with files.reading(path, "a list of tracks"):
        return tracks_from_boxes(boxes)


def load_normalized_tracks(path: str | pathlib.Path) -> dict[tuple[str, str], Tracks]:
    """Reads `tracks_normalized.pkl`: (video, clip) -> tracks with boxes in 0..1 of the frame.

    The pickle holds `{(video, clip): {frame: (n, 4) boxes}}`, its names as texts or numbers; row i
    is the same person in every frame. Nothing that the file names is run, see `plain_pickle`.

    Raises:
      NotFound: there is no such file.
      UserError: it cannot be read.
      Damaged: it is too large or malformed, or has another layout or impossible boxes.
    """
    content = files.read_bytes(path, "a pickle of plain arrays", most=_MOST_BYTES)
    with files.reading(path, "a pickle of plain arrays"):
        table = plain_pickle.load(content)
    with files.reading(path, "{(video, clip): {frame: (n, 4) boxes}}"):
        return _tracks_of_clips(table)


def _tracks_of_clips(table: Mapping[Any, Any]) -> dict[tuple[str, str], Tracks]:
    tracks, places = {}, 0
    for key, frames in table.items():
        if not isinstance(key, tuple) or [isinstance(part, bytes) for part in key] != [False] * 2:
            raise ValueError(f"the key {str(key):.60} is not (video, clip)")
        video, clip = name = str(key[0]), str(key[1])
        with _naming(f"video {video:.40}, clip {clip:.40}"):
            if name in tracks:
                raise ValueError("it is there twice")
            rows = {_frame_number(frame): _rows(frame, boxes) for frame, boxes in frames.items()}
            # Many clips of a file may refer to the same boxes, which would then be copied for each.
            places += len(rows) * max(map(len, rows.values()), default=0)
            if places > MOST_PLACES:
                raise ValueError(f"the file has more than {MOST_PLACES:,} boxes")
            tracks[name] = _tracks_from_rows(rows)
    return tracks


@contextlib.contextmanager
def _naming(place: str) -> Iterator[None]:
    """Begins the message of an error with the place that it is of."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from None


def _frame_number(frame: Any) -> int:
    if not isinstance(frame, int | float):
        raise ValueError(f"frame {str(frame):.40} is not a whole number")
    return whole_number(frame, "frame")


def _rows(frame: float, boxes: Any) -> Any:
    """Returns the boxes of a frame, whose shape is right, as NumPy can copy them."""
    if isinstance(boxes, PickledArray):
        if boxes.values is None or boxes.values.ndim != 2 or boxes.values.shape[1] != 4:
            shape = None if boxes.values is None else boxes.values.shape
            raise ValueError(f"frame {frame} holds an array of shape {shape}")
        return boxes.values
    for box in boxes:
        if not isinstance(box, list | tuple) or len(box) != 4:
            raise ValueError(f"frame {frame} holds something other than boxes of four numbers")
        if not all(isinstance(number, int | float) for number in box):
            raise ValueError(f"frame {frame} holds a box of something other than numbers")
    return boxes


def _tracks_from_rows(rows: Mapping[int, Any]) -> Tracks:
    """Lays out the boxes of a clip; frames without a box are left out."""
    frames = sorted(frame for frame in rows if len(rows[frame]))
    if not frames:
        raise ValueError("it has no box")
    people = max(len(rows[frame]) for frame in frames)
    table = np.zeros((len(frames), people, 4))
    visible = np.zeros((len(frames), people), bool)
    for place, frame in enumerate(frames):
        table[place, : len(rows[frame])] = rows[frame]
        visible[place, : len(rows[frame])] = True
    # People leave the frame, but not by many times its size; NaN is not less than anything.
    possible = (np.abs(table) <= _FARTHEST).all(-1) & (table[..., :2] <= table[..., 2:]).all(-1)
    wrong = np.argwhere(visible & ~possible)
    if len(wrong):
        frame, person = wrong[0]
        raise ValueError(
            f"frame {frames[frame]}, row {person}: {table[frame, person].tolist()} is not a box "
            "[y_min, x_min, y_max, x_max] in 0..1 of the frame"
        )
    return Tracks(np.array(frames), table, visible)
