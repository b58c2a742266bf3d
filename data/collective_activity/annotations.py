"""Reads the annotations of Collective Activity and its Extended set."""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from data.annotations import parse_numbers, read_lines
from stvh_jax import files
from stvh_jax.errors import Damaged, UserError


@dataclasses.dataclass(frozen=True)
class KeyFrame:
    """The annotated people of a key frame.

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


def majority(names: Sequence[str]) -> str | None:
    """Returns the most frequent name; of equally frequent ones, the first; None if there is none.

    The order is that of the annotation, as in the literature's loaders.
    """
    # Counter counts in the order of first occurrence, and keeps it among equals.
    counts = collections.Counter(names).most_common(1)
    return counts[0][0] if counts else None


def scan_collective_annotations(
    path: str | pathlib.Path, *, num_classes: int
) -> tuple[list[KeyFrame], list[UserError]]:
    """Reads the key frames of a Collective Activity `annotations.txt`, and collects its bad lines.

    A row is `frame x y width height class pose`, separated by tabs. Key frames are those with
    frame % 10 == 1; rows of other frames, which some files have, and blank lines are ignored. The
    pose is not used.

    Args:
      path: the file.
      num_classes: classes are numbered from 1 to this.

    Returns:
      The key frames in the order of their numbers, the people of each in the order of their rows,
      and one error for each bad row.

    Raises:
      NotFound: there is no such file.
    """
    people: dict[int, list] = {}
    problems: list[UserError] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            fields = parse_numbers(line.split())
            if len(fields) != 7:
                raise ValueError(f"expected 7 fields, found {len(fields)}")
            frame, x, y, width, height, kind, _ = fields
            if frame < 1 or frame % 1:
                raise ValueError(f"frame {frame:g} is not a whole number from 1 on")
            if frame % 10 != 1:
                continue
            if kind not in range(1, num_classes + 1):
                raise ValueError(f"unknown class {kind:g}; known: 1 to {num_classes}")
            if width <= 0 or height <= 0:
                raise ValueError("the box has no positive width and height")
        except ValueError as error:
            problems.append(Damaged(f"{path}:{number}: {files.reason(error)}"))
            continue
        box = (y, x, y + height, x + width)
        people.setdefault(int(frame), []).append((box, int(kind), number))
    key_frames = []
    for frame in sorted(people):
        boxes, classes, lines = zip(*people[frame])
        key_frames.append(KeyFrame(frame, np.array(boxes), classes, lines[0]))
    return key_frames, problems
