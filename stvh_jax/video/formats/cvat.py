"""CVAT's "CVAT for video 1.1": an XML file with a track for each person."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any
from xml.parsers import expat

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.formats.classes import listed, others_than_people
from stvh_jax.video.formats.mot import OTHERS
from stvh_jax.video.formats.text_table import is_number
from stvh_jax.video.rows import Rows, frame_numbers, line_of

OUTSIDE = "outside the picture"
OTHER_SHAPES = "of other shapes than boxes"

# Boxes between keyframes that are filled in, so that a few lines cannot ask for all memory.
MOST_FILLED = 2_000_000

_CORNERS = ("ytl", "xtl", "ybr", "xbr")
_SHAPES = frozenset(["polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"])


class _Handler:
    """Gathers boxes while expat reads."""

    def __init__(self, parser: Any):
        self._parser = parser
        self._path: list[str] = []
        self._text = ""
        self._track: tuple[int, str] | None = None
        self._tasks: set[str] = set()
        self.labels: list[str] = []
        self.meta: dict[str, str] = {}
        self.boxes: list[tuple] = []
        self.other_shapes = 0

    def doctype(self, *_: Any) -> None:
        raise Damaged("it has a DOCTYPE, which CVAT does not write and which could be harmful")

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._path and name != "annotations":
            raise Damaged(f"its XML begins with <{name[:40]}>, not with CVAT's <annotations>")
        self._path.append(name)
        self._text = ""
        if len(self._path) > 100:
            raise Damaged("it is nested too deeply")
        if name == "image" and len(self._path) == 2:
            raise UserError('it is "CVAT for images", without tracks; export "CVAT for video 1.1"')
        if name == "track":
            self._track = (len(self.labels), attributes.get("id", ""))
            self.labels.append(attributes.get("label", ""))
            self._tasks.add(attributes.get("task_id", ""))
            if len(self._tasks) > 1:
                raise UserError(
                    f"it has the tasks {listed(sorted(self._tasks))}; export each by itself"
                )
        elif name == "box" and self._track:
            self._box(attributes)
        elif name in _SHAPES and self._track:
            self.other_shapes += 1

    def text(self, data: str) -> None:
        if self._path[:2] == ["annotations", "meta"] and len(self._text) < 100:
            self._text += data[:100]

    def end(self, name: str) -> None:
        if self._path[:2] == ["annotations", "meta"]:
            if "original_size" in self._path:
                self.meta.setdefault(name, self._text.strip())
            self._text = ""
        self._path.pop()
        if name == "track":
            self._track = None

    def _box(self, attributes: Mapping[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        cells = [attributes.get(name, "") for name in ("frame", *_CORNERS)]
        if not all(map(is_number, cells)):
            raise Damaged(f"{line_of(line)}: expected a box with frame, xtl, ytl, xbr, ybr")
        outside = attributes.get("outside", "0").strip().casefold() in ("1", "true")
        track = self._track[0] if self._track else 0
        self.boxes.append((line, track, outside, *map(float, cells)))


def read(content: bytes, classes: Collection[str] | None) -> Rows:
    """Reads the boxes of all tracks of people; frames are numbered from 0.

    Between two boxes of a track the boxes are interpolated linearly, as CVAT does, unless the
    earlier one is outside the picture. Nothing is added behind the last box of a track. Each track
    is one person, numbered in the order of the file.

    Args:
      content: the file.
      classes: the labels that are people's.

    Raises:
      Damaged: it is malformed, or has a DOCTYPE.
      UserError: it is another of CVAT's formats, or it is not clear which labels are people's.
    """
    parser = expat.ParserCreate()
    handler = _Handler(parser)
    parser.StartDoctypeDeclHandler = handler.doctype
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Damaged(f"it is not well-formed XML ({error})") from error
    table = np.array(handler.boxes, np.float64).reshape(-1, 8)
    rows = _keyframes(table)
    if handler.other_shapes:
        rows = dataclasses.replace(rows, left_out={OTHER_SHAPES: handler.other_shapes})
    width, height = (handler.meta.get(name, "") for name in ("width", "height"))
    if width.isdecimal() and height.isdecimal() and len(width + height) < 20:
        rows = dataclasses.replace(rows, size=(int(width), int(height)))
    outside = table[:, 2] != 0
    if len(table):
        labels = [handler.labels[track] for track in rows.people.tolist()]
        others, note = others_than_people(labels, classes)
        rows = rows.noting(note).without(others, OTHERS)
        outside = outside[~others]
    return _filled(rows, outside)


def _keyframes(table: Float64[np.ndarray, "M 8"]) -> Rows:
    """Gives the boxes that the file has, each track's in the order of its frames."""
    table = np.ascontiguousarray(table)
    lines = table[:, 0].astype(np.int64)
    return Rows(
        frames=frame_numbers(table[:, 3], lines, line_of),
        people=table[:, 1].astype(np.int64),
        boxes=table[:, 4:],
        confidences=np.full(len(table), np.nan),
        places=lines,
        where=line_of,
        first_frame=0,
    )


def _filled(rows: Rows, outside: np.ndarray) -> Rows:
    """Interpolates between the boxes of each track, and leaves out those that are outside."""
    order = np.lexsort([rows.frames, rows.people])
    rows, outside = rows.at(order), outside[order]
    gaps = np.zeros(len(order), np.int64)
    if len(order):
        going_on = (rows.people[1:] == rows.people[:-1]) & ~outside[:-1]
        gaps[:-1] = np.where(going_on, np.maximum(np.diff(rows.frames) - 1, 0), 0)
    # As floats, for the sum of huge gaps.
    if gaps.astype(np.float64).sum() > MOST_FILLED:
        raise UserError(
            f"{line_of(int(rows.places[np.argmax(gaps)]))}: {gaps.max()} frames are missing after "
            "this box, too many to be filled in; export every frame"
        )
    before, step = _between(gaps)
    share = (step / (gaps + 1)[before])[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = rows.boxes[before] * (1 - share) + rows.boxes[before + 1] * share
    seen = rows.without(outside, OUTSIDE)
    between = rows.at(before)
    filled = dataclasses.replace(
        seen,
        frames=np.concatenate([seen.frames, between.frames + step]),
        people=np.concatenate([seen.people, between.people]),
        boxes=np.concatenate([seen.boxes, boxes]),
        confidences=np.concatenate([seen.confidences, between.confidences]),
        places=np.concatenate([seen.places, between.places]),
    )
    count = len(before)
    return filled.noting(f"{count} boxes between keyframes are filled in" if count else "")


def _between(
    gaps: Int64[np.ndarray, "M"],
) -> tuple[Int64[np.ndarray, "K"], Int64[np.ndarray, "K"]]:
    """Gives the place of the box before each missing one, and how many frames it is behind it."""
    before = np.repeat(np.arange(len(gaps)), gaps)
    starts = np.repeat(np.cumsum(gaps) - gaps, gaps)
    return before, np.arange(len(before)) - starts + 1
