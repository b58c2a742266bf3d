"""Reads the annotations of the Volleyball Dataset."""

import pathlib
import re

import numpy as np

from data.annotations import ClipAnnotation, Scan, check_class, parse_numbers, read_lines
from data.volleyball.constants import ACTIONS, ACTIVITIES
from stvh_jax.errors import UserError


def parse_volleyball_annotations(path: str | pathlib.Path) -> list[ClipAnnotation]:
    """Reads a Volleyball `annotations.txt`, in the order of its lines.

    A line is `<key>.jpg <activity> (X Y W H <action>)*` in native pixels; activities are spelled
    with `-` or `_`, blank lines are passed over.

    Raises:
      UserError: at the first malformed line, unknown class or repeated clip, with file and line.
    """
    scan = scan_volleyball_annotations(path)
    if scan.problems:
        raise scan.problems[0]
    return scan.clips


def scan_volleyball_annotations(path: str | pathlib.Path) -> Scan:
    """Reads what is readable of a Volleyball `annotations.txt` and collects what is not.

    Raises:
      UserError: if there is no such file.
    """
    clips, problems, seen = [], [], {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            annotation = _parse_annotation_line(line, number)
            if annotation.clip in seen:
                raise ValueError(
                    f"clip {annotation.clip} is already on line {seen[annotation.clip]}; "
                    "remove one of the two lines"
                )
        except ValueError as error:
            problems.append(UserError(f"{path}:{number}: {error}"))
            continue
        seen[annotation.clip] = number
        clips.append(annotation)
    return Scan(clips, problems, key_frames=len(clips))


def _parse_annotation_line(line: str, number: int) -> ClipAnnotation:
    key, *fields = line.split()
    name = re.fullmatch(r"(\d+)\.jpg", key)
    if not name:
        raise ValueError(f"expected <key frame>.jpg first, found {key!r}")
    if not fields:
        raise ValueError(f"no activity after {key}")
    activity, *people = fields
    activity = activity.replace("-", "_")
    check_class("activity", activity, ACTIVITIES)
    if not people or len(people) % 5:
        raise ValueError(
            f"expected 'X Y W H action' for each person, found {len(people)} fields after the "
            "activity"
        )
    actions = tuple(people[4::5])
    for action in actions:
        check_class("action", action, ACTIONS)
    corner_size = np.array([parse_numbers(people[i : i + 4]) for i in range(0, len(people), 5)])
    x, y, width, height = corner_size.T
    if (corner_size[:, 2:] <= 0).any():
        raise ValueError("a box has no positive width and height")
    boxes = np.stack([y, x, y + height, x + width], axis=-1)
    return ClipAnnotation(int(name[1]), activity, boxes, actions, number)
