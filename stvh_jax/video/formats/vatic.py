"""VATIC's lines, as the Volleyball Dataset's tracks: person, corners, frame, lost, ..."""

from collections.abc import Collection

import numpy as np

from stvh_jax.errors import Damaged
from stvh_jax.video.formats.classes import others_than_people
from stvh_jax.video.formats.mot import OTHERS
from stvh_jax.video.formats.text_table import is_number, parse_table
from stvh_jax.video.rows import Rows, frame_numbers, line_of, people_of_numbers

LOST = "lost"

_NUMBERS = 9
LINE = "person xmin ymin xmax ymax frame lost occluded generated label"


def fits(line: str) -> bool:
    """Says whether a line is one of these: nine numbers, of them three marks, and a label."""
    cells = line.split()
    return (
        len(cells) > _NUMBERS
        and all(map(is_number, cells[:_NUMBERS]))
        and set(cells[6:_NUMBERS]) <= {"0", "1"}
        and (cells[_NUMBERS][0] == '"' or cells[_NUMBERS][0].isalpha())
    )


def read(text: str, classes: Collection[str] | None) -> Rows:
    """Reads lines of `person xmin ymin xmax ymax frame lost occluded generated label ...`.

    Frames are numbered from 0. Rows that are lost are left out: their boxes are not reliable.
    VATIC's own labels, in quotes, are classes; those without are the Volleyball Dataset's actions.

    Raises:
      Damaged: a line is malformed.
      UserError: it is not clear which labels are people.
    """
    table = parse_table(text, _NUMBERS)
    if (table.counts <= _NUMBERS).any():
        short = int(np.argmax(table.counts <= _NUMBERS))
        raise Damaged(f"{line_of(int(table.lines[short]))}: expected {LINE}")
    rows = Rows(
        frames=frame_numbers(table.values[:, 5], table.lines, line_of),
        people=people_of_numbers(table.values[:, 0], table.lines, line_of),
        boxes=table.values[:, [2, 1, 4, 3]],
        confidences=np.full(len(table.lines), np.nan),
        places=table.lines,
        where=line_of,
        first_frame=0,
    )
    lost = table.values[:, 6] != 0
    rows = rows.without(lost, LOST)
    if '"' not in text or not len(rows.frames):
        return rows
    lines = text.split("\n")
    labels = [_label(lines[place - 1]) for place in rows.places.tolist()]
    others, note = others_than_people(labels, classes)
    return rows.noting(note).without(others, OTHERS)


def _label(line: str) -> str:
    """Gives the label of a line, without its quotes."""
    rest = line.split(maxsplit=_NUMBERS)[_NUMBERS]
    end = rest.find('"', 1)
    return rest[1:end] if rest.startswith('"') and end > 0 else rest.split()[0]
