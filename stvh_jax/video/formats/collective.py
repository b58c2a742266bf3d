"""The tracks that the authors of the Collective Activity Dataset give: a block for each person."""

import re

import numpy as np

from stvh_jax.errors import Damaged
from stvh_jax.video.formats.text_table import cells_of, is_number
from stvh_jax.video.rows import Rows, frame_numbers, line_of

_TOTAL = re.compile(r"\s*total\s+frames\s+(\d{1,9})\b", re.I)
_TARGET = re.compile(r"\s*target\s+(\d{1,9})\b", re.I)
_COLUMNS = 5


def fits(text: str) -> bool:
    """Says whether a file begins as these do: `Total frames 301`."""
    return _TOTAL.match(text) is not None


def read(text: str) -> Rows:
    """Reads blocks of `Target 3 (...)`, a caption, and lines of `frame x y width height`.

    A second caption begins lines of places in the world, which are not read. Frames are numbered
    from 1.

    Raises:
      Damaged: a line is malformed.
    """
    person, caption, values, lines, people = None, "", [], [], []
    for number, line in enumerate(text.split("\n"), start=1):
        cells = cells_of(line)
        if not cells:
            continue
        if not is_number(cells[0]):
            target = _TARGET.match(line)
            person = int(target[1]) if target else person
            caption = "" if target else line.casefold()
            continue
        if person is None or "width" not in caption:
            continue
        if len(cells) < _COLUMNS or not all(map(is_number, cells[:_COLUMNS])):
            raise Damaged(f"{line_of(number)}: expected frame, x, y, width, height")
        values.append([float(cell) for cell in cells[:_COLUMNS]])
        lines.append(number)
        people.append(person)
    table = np.array(values, np.float64).reshape(-1, _COLUMNS)
    places = np.array(lines, np.int64)
    left, top, width, height = table[:, 1:].T
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = np.stack([top, left, top + height, left + width], axis=1)
    return Rows(
        frames=frame_numbers(table[:, 0], places, line_of),
        people=np.array(people, np.int64),
        boxes=boxes,
        confidences=np.full(len(places), np.nan),
        places=places,
        where=line_of,
        first_frame=1,
    )
