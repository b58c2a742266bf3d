"""Parsers of the datasets' own annotation files, NumPy only.

Boxes are `[y_min, x_min, y_max, x_max]` in native pixels, as the files have them.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data.volleyball.constants import ACTIONS, ACTIVITIES
from stvh_jax.errors import UserError

# T, the frames of a clip.
NUM_FRAMES = 10


@dataclasses.dataclass(frozen=True)
class ClipFormat:
    """What the clips of a dataset have in common.

    Attributes:
      activities: names of the activities.
      actions: names of the actions.
      max_actors: N, the most people of a clip.
      key_frame: the key frame's place among a clip's T frames.
    """

    activities: tuple[str, ...]
    actions: tuple[str, ...]
    max_actors: int
    key_frame: int


@dataclasses.dataclass(frozen=True)
class ClipAnnotation:
    """The annotated people of a clip's key frame, and what they do.

    Attributes:
      clip: number of the key frame, which names the clip within its video.
      activity: name of the activity.
      boxes: native pixels.
      actions: name of the action of each box.
      line: number of the first line of the file that says so, from 1.
    """

    clip: int
    activity: str
    boxes: Float[np.ndarray, "n 4"]
    actions: tuple[str, ...]
    line: int


@dataclasses.dataclass(frozen=True)
class KeyFrame:
    """The annotated people of a key frame of Collective Activity.

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


class Scan(NamedTuple):
    """What the annotations of a match hold.

    Attributes:
      clips: the good clips.
      problems: one error for each bad line.
      key_frames: the good annotated key frames, of which some may make no clip.
    """

    clips: list[ClipAnnotation]
    problems: list[UserError]
    key_frames: int


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
    return ClipAnnotation(int(name[1]), activity, boxes, actions, number)


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


def majority(names: Sequence[str]) -> str | None:
    """Returns the most frequent name; of equally frequent ones, that which comes first.

    None if there is no name. The order is that of the annotation, as in the literature's loaders.
    """
    # Counter keeps the order of first occurrence, and max the first of equals.
    counts = collections.Counter(names)
    return max(counts, key=counts.get, default=None)


def _check_class(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def parse_numbers(fields: Sequence[str]) -> list[float]:
    """Reads finite numbers.

    Raises:
      ValueError: if a field is none.
    """
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"expected numbers, found: {' '.join(fields)}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"not finite: {' '.join(fields)}")
    return numbers


def read_lines(path: str | pathlib.Path) -> list[str]:
    """Reads the lines of a text file, bytes that are no text replaced.

    Raises:
      UserError: if there is no such file, or it cannot be read.
    """
    try:
        # Some editors begin a file with a byte-order mark.
        return pathlib.Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
