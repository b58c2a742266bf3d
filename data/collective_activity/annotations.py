"""Reads the annotations of Collective Activity and its Extended set."""

import pathlib

import numpy as np

from data.annotations import KeyFrame, parse_numbers, read_lines
from stvh_jax.errors import UserError


def scan_collective_annotations(
    path: str | pathlib.Path, *, num_classes: int
) -> tuple[list[KeyFrame], list[UserError]]:
    """Reads the key frames of a Collective Activity `annotations.txt`, and its bad lines' errors.

    A row is `frame x y width height class pose`, separated by tabs. Key frames are those with
    frame % 10 == 1; some files have rows of others as well, which are passed over. The pose is not
    used. Blank lines are passed over.

    Args:
      path: the file.
      num_classes: classes are numbered from 1 to this.

    Returns:
      The key frames by their numbers, the people of each in the order of their rows, and one error
      for each bad row.

    Raises:
      UserError: if there is no such file.
    """
    people, problems = {}, []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            fields = parse_numbers(line.split())
            if len(fields) != 7:
                raise ValueError(f"expected 7 fields, found {len(fields)}")
            frame, x, y, width, height, kind, _ = fields
            if frame < 1 or frame != int(frame):
                raise ValueError(f"frame {frame:g} is no number from 1 on")
            if frame % 10 != 1:
                continue
            if kind not in range(1, num_classes + 1):
                raise ValueError(f"unknown class {kind:g}; known: 1 to {num_classes}")
            if width <= 0 or height <= 0:
                raise ValueError("the box has no positive width and height")
        except ValueError as error:
            problems.append(UserError(f"{path}:{number}: {error}"))
            continue
        box = (y, x, y + height, x + width)
        people.setdefault(int(frame), []).append((box, int(kind), number))
    key_frames = []
    for frame in sorted(people):
        boxes, classes, lines = zip(*people[frame])
        key_frames.append(KeyFrame(frame, np.array(boxes), classes, lines[0]))
    return key_frames, problems
