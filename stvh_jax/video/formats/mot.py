"""MOTChallenge's lines, and the shorter ones of most trackers: frame, person, left, top, ..."""

import dataclasses
from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float64

from stvh_jax.errors import Damaged
from stvh_jax.video.formats.classes import PERSON_NUMBER, others_than_people
from stvh_jax.video.formats.text_table import Table, cells_of, is_number, parse_table
from stvh_jax.video.rows import Rows, frame_numbers, line_of, lowest, people_of_numbers

LINE = "frame, person, left, top, width, height"
IGNORED = "marked to be ignored"
OTHERS = "of classes other than people"

_BOX = slice(2, 6)
_CONFIDENCE, _CLASS = 6, 7
_MOST_CLASS = 10_000

# The class of MOTChallenge's pedestrians; its others are vehicles, statues and reflections.
_PEDESTRIAN = "1"

# Boxes that reach no further than this are in 0..1 of the frame: as pixels they would be dots.
_FARTHEST_SHARE = 1.5


def read(text: str, classes: Collection[str] | None) -> Rows:
    """Reads lines of `frame, person, left, top, width, height[, confidence[, class, ...]]`.

    A seventh column of 0 and 1 alone, with at least one 1, is the mark of ground truth that says
    which boxes count. Of 8 or 9 columns the eighth is a class, of 10 a place in the world.

    Args:
      text: the file.
      classes: the classes that are people; None for MOTChallenge's 1, or 0 where that occurs.

    Raises:
      Damaged: a line is malformed.
      UserError: no box is of these classes.
    """
    skipped, first = _first_line(text)
    columns = 0
    while columns < min(len(first), _CLASS + 2) and is_number(first[columns]):
        columns += 1
    if columns < 6:
        raise Damaged(f"{line_of(skipped + 1)}: expected {LINE}, or another known format")
    table = parse_table(text, columns, skipped=skipped)
    if (table.counts < 6).any():
        short = int(np.argmax(table.counts < 6))
        raise Damaged(f"{line_of(int(table.lines[short]))}: expected {LINE}")
    frames = frame_numbers(table.values[:, 0], table.lines, line_of)
    first_frame = lowest(frames)
    rows = Rows(
        frames=frames,
        people=people_of_numbers(table.values[:, 1], table.lines, line_of),
        boxes=_corners(table.values[:, _BOX]),
        confidences=np.full(len(frames), np.nan),
        places=table.lines,
        where=line_of,
        first_frame=first_frame,
        notes=() if first_frame else ("there is a frame 0, so frames are numbered from 0",),
    )
    return _in_share(_people_alone(_with_confidence(rows, table), table, classes))


def _first_line(text: str) -> tuple[int, list[str]]:
    """Gives the number of lines before the first that is no header, and the cells of that."""
    header = False
    for number, line in enumerate(text.split("\n", 100)[:100]):
        cells = cells_of(line[:10_000].lstrip("# "))
        if set(cells) <= {"nan"}:
            continue
        if not header and not is_number(cells[0]):
            header = True
            continue
        return number, cells
    raise Damaged("it has no box")


def _corners(boxes: Float64[np.ndarray, "M 4"]) -> Float64[np.ndarray, "M 4"]:
    corners = boxes[:, [1, 0, 3, 2]]
    with np.errstate(over="ignore", invalid="ignore"):
        corners[:, 2:] += corners[:, :2]
    return corners


def _with_confidence(rows: Rows, table: Table) -> Rows:
    """Reads the seventh column, unless it is the mark of ground truth; -1 is no confidence."""
    if table.values.shape[1] <= _CONFIDENCE:
        return rows
    confidences = table.values[:, _CONFIDENCE]
    confidences = np.where(confidences == -1, np.nan, confidences)
    if (confidences == 0).all():
        # Some trackers write whole numbers alone, and so cut every confidence to 0.
        return rows.noting("all confidences are 0, so they are taken as missing")
    if np.isin(confidences, (0, 1)).all():
        return rows
    return dataclasses.replace(rows, confidences=confidences)


def _ignored(table: Table) -> Bool[np.ndarray, "M"]:
    """Finds the boxes that ground truth marks to be ignored."""
    if table.values.shape[1] > _CONFIDENCE:
        marks = table.values[:, _CONFIDENCE]
        if np.isin(marks, (0, 1)).all() and marks.any():
            return marks == 0
    return np.zeros(len(table.values), bool)


def _people_alone(rows: Rows, table: Table, classes: Collection[str] | None) -> Rows:
    """Leaves out what ground truth says is to be ignored, and what is of other classes."""
    ignored = _ignored(table)
    rows = rows.without(ignored, IGNORED)
    if table.values.shape[1] <= _CLASS or (table.counts > _CLASS + 2).any() or not len(rows.frames):
        return rows
    numbers = table.values[~ignored, _CLASS]
    if not np.isin(numbers, np.arange(_MOST_CLASS)).all():
        return rows
    found, class_of = np.unique(numbers, return_inverse=True)
    labels = [f"{number:.0f}" for number in found.tolist()]
    if classes is None and PERSON_NUMBER not in labels and _PEDESTRIAN in labels:
        classes = [_PEDESTRIAN]
    others, note = others_than_people(labels, classes)
    return rows.noting(note).without(others[class_of], OTHERS)


def _in_share(rows: Rows) -> Rows:
    """Sees boxes that are in 0..1 of the frame."""
    ends = rows.boxes[:, 2:]
    if not len(ends) or not (ends <= _FARTHEST_SHARE).all():
        return rows
    rows = dataclasses.replace(rows, in_pixels=False)
    return rows.noting(
        f"no box reaches beyond {_FARTHEST_SHARE}, so all are taken to be in 0..1 of the frame"
    )
