"""Reads the annotations of the Volleyball Dataset, and of other footage in its layout."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from data.annotations import (
    ClipAnnotation,
    Scan,
    check_name,
    parse_numbers,
    read_lines,
    whole_number,
)
from data.volleyball.constants import ACTIONS, ACTIVITIES
from stvh_jax import files
from stvh_jax.errors import Damaged, UserError


def parse_volleyball_annotations(path: str | pathlib.Path) -> list[ClipAnnotation]:
    """Reads a Volleyball `annotations.txt`, in the order of its lines.

    A line is `<key>.jpg <activity> (X Y W H <action>)*` in native pixels, where `<key>` is the
    number of the key frame and also the name of the clip; or `<clip>/<key>.jpg <activity> ...` for
    a clip with a name of its own, which may contain spaces. Activities are spelled with `-` or
    `_`; blank lines are ignored.

    Raises:
      NotFound: there is no such file.
      Damaged: at the first malformed line, unknown class or repeated clip, with file and line.
    """
    scan = scan_volleyball_annotations(path)
    if scan.problems:
        raise scan.problems[0]
    return scan.clips


def scan_volleyball_annotations(path: str | pathlib.Path) -> Scan:
    """Reads the good lines of a Volleyball `annotations.txt` and collects the errors of the others.

    Raises:
      NotFound: there is no such file.
    """
    clips, problems, seen = [], [], {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            annotation = _parse_line(line, number)
            if annotation.clip in seen:
                raise ValueError(
                    f"clip {annotation.clip} is already on line {seen[annotation.clip]}; "
                    "remove one of the two lines"
                )
        except ValueError as error:
            problems.append(Damaged(f"{path}:{number}: {files.reason(error)}"))
            continue
        seen[annotation.clip] = number
        clips.append(annotation)
    return Scan(clips, problems, key_frames=len(clips))


def with_labels(scan: Scan, corrected: Scan, *, source: pathlib.Path, path: pathlib.Path) -> Scan:
    """Gives the clips of a video the activities and actions of another annotation of it.

    A clip that the other annotation lacks is left out, and still counts as a key frame. A clip that
    only the other has, or that has other boxes there, is a problem.

    Args:
      scan: the video's clips, whose order is kept.
      corrected: the same clips with other labels, in any order.
      source: the file of `scan`, for messages.
      path: the file of `corrected`, for messages.
    """
    known, others = ({clip.clip: clip for clip in each.clips} for each in (scan, corrected))
    faults = {name: _fault(known.get(name), other) for name, other in others.items()}
    problems: list[UserError] = [
        Damaged(f"{path}:{others[name].line}: clip {name} {fault} {source}; fetch both files again")
        for name, fault in faults.items()
        if fault
    ]
    clips = [
        dataclasses.replace(clip, activity=other.activity, actions=other.actions)
        for clip in scan.clips
        if (other := others.get(clip.clip)) and not faults[clip.clip]
    ]
    return Scan(clips, scan.problems + corrected.problems + problems, scan.key_frames)


def _fault(clip: ClipAnnotation | None, other: ClipAnnotation) -> str:
    """Says why another annotation is not one of this clip, "" if it is."""
    if clip is None:
        return "is not in"
    same = (clip.frame, clip.boxes.tolist()) == (other.frame, other.boxes.tolist())
    return "" if same else "has another key frame or other boxes than in"


def _parse_line(line: str, number: int) -> ClipAnnotation:
    clip, frame, fields = _parse_key_frame(line.strip())
    if not fields:
        raise ValueError(f"no activity after {frame}.jpg")
    activity, *people = fields
    activity = activity.replace("-", "_")
    _check_class("activity", activity, ACTIVITIES)
    if not people or len(people) % 5:
        raise ValueError(
            f"expected 'X Y W H action' for each person, found {len(people)} fields after the "
            "activity"
        )
    actions = tuple(people[4::5])
    for action in actions:
        _check_class("action", action, ACTIONS)
    corner_size = np.array([parse_numbers(people[i : i + 4]) for i in range(0, len(people), 5)])
    x, y, width, height = corner_size.T
    if (corner_size[:, 2:] <= 0).any():
        raise ValueError("a box has no positive width and height")
    boxes = np.stack([y, x, y + height, x + width], axis=-1)
    return ClipAnnotation(clip, frame, activity, boxes, actions, number)


def _parse_key_frame(line: str) -> tuple[str, int, list[str]]:
    """Splits a line into the clip's name, the number of the key frame, and the other fields."""
    found = re.match(r"(?:(?P<clip>[^/]+)/)?(?P<key>[0-9]+)\.jpg(?:\s+|$)", line)
    if not found or found["clip"] in (".", ".."):
        raise ValueError(
            f"expected <key frame>.jpg or <clip>/<key frame>.jpg first, found {line.split()[0]!r}"
        )
    (number,) = parse_numbers([found["key"]])
    frame = whole_number(number, "key frame")
    check_name(found["clip"] or str(frame))
    return found["clip"] or str(frame), frame, line[found.end() :].split()


def _check_class(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
