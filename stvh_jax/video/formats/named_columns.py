"""Tables and lists of objects whose columns have names: supervision's sinks, and others' CSV."""

import csv
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax.errors import Damaged, UserError, shown
from stvh_jax.video.formats.classes import others_than_people
from stvh_jax.video.formats.mot import OTHERS
from stvh_jax.video.rows import (
    Rows,
    Where,
    check_count,
    frame_numbers,
    line_of,
    lowest,
    people_of_names,
)

# What a column may be called, in small letters, the best name first.
_NAMES = {
    "x_min": ("x_min", "xmin", "x1", "left", "bb_left", "bbox_left", "xtl", "x"),
    "y_min": ("y_min", "ymin", "y1", "top", "bb_top", "bbox_top", "ytl", "y"),
    "x_max": ("x_max", "xmax", "x2", "right", "bb_right", "bbox_right", "xbr"),
    "y_max": ("y_max", "ymax", "y2", "bottom", "bb_bottom", "bbox_bottom", "ybr"),
    "width": ("width", "w", "bb_width", "bbox_width"),
    "height": ("height", "h", "bb_height", "bbox_height"),
    "confidence": ("confidence", "conf", "score"),
    "class": ("class_name", "label", "category", "class", "class_id", "category_id", "cls"),
    "person": (
        *("tracker_id", "track_id", "tracking_id", "person", "person_id", "player", "player_id"),
        *("instance_id", "object_id", "identity", "id"),
    ),
}
_FRAMES = ("frame_number", "frame_index", "frame_id", "frame")
_CHUNK = 20_000


def roles_of(names: Sequence[str]) -> dict[str, str] | None:
    """Finds which column is what.

    Args:
      names: of the columns.

    Returns:
      From what it is, such as "x_min", to the name of the column; None if these are no columns of
      boxes.
    """
    known = {name.strip().casefold(): name for name in reversed(names)}
    roles = {}
    for role, wanted in _NAMES.items():
        name = next((known[name] for name in wanted if name in known), None)
        if name is not None:
            roles[role] = name
    frames = [name for name in _FRAMES if name in known]
    frames += [name.strip().casefold() for name in names if "frame" in name.casefold()]
    if frames:
        roles["frame"] = known[frames[0]]
    corners = {"x_min", "y_min", "x_max", "y_max"}
    sizes = {"x_min", "y_min", "width", "height"}
    return roles if corners <= roles.keys() or sizes <= roles.keys() else None


def header_of(text: str) -> tuple[list[str], str] | None:
    """Gives the names and the separator of a table whose first line names its columns, or None."""
    line = text.lstrip("\n").split("\n", 1)[0][:10_000].lstrip("# ").rstrip()
    separator = next((sign for sign in ",;\t" if sign in line), " ")
    try:
        names = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return None
    return (names, separator) if roles_of(names) else None


def read_table(text: str, classes: Collection[str] | None) -> Rows:
    """Reads a table whose first line names its columns, as supervision's CSVSink writes it.

    Raises:
      Damaged: a line is malformed.
      UserError: there is no column of frames, or it is not clear which classes are people.
    """
    names, separator = header_of(text) or ([], ",")
    roles = _with_frame(roles_of(names) or {}, names)
    places = {role: names.index(name) for role, name in roles.items()}
    needed = max(places.values()) + 1
    columns: dict[str, list] = {role: [] for role in places}
    lines: list[int] = []
    reader = csv.reader(text.split("\n"), delimiter=separator, skipinitialspace=separator == " ")
    header = False
    for cells in reader:
        if not cells or not any(map(str.strip, cells)):
            continue
        if not header:
            header = True
            continue
        if len(cells) < needed:
            raise Damaged(f"{line_of(reader.line_num)}: expected at least {needed} cells")
        for role, place in places.items():
            columns[role].append(cells[place])
        lines.append(reader.line_num)
        check_count(len(lines))
    return _rows(columns, np.array(lines, np.int64), line_of, classes)


def read_objects(objects: Sequence[Any], classes: Collection[str] | None) -> Rows:
    """Reads a list of objects, one for each box, as supervision's JSONSink writes it.

    Raises:
      Damaged: an entry is malformed.
      UserError: there is no key of frames, or it is not clear which classes are people.
    """
    if not objects:
        raise UserError("it has no box")
    first = objects[0]
    roles = roles_of(list(first)) if isinstance(first, Mapping) else None
    if roles is None:
        raise Damaged("it is a list, but not one of boxes, as supervision's JSONSink writes it")
    roles = _with_frame(roles, list(first))
    for number, entry in enumerate(objects, start=1):
        if not isinstance(entry, Mapping) or not all(name in entry for name in roles.values()):
            raise Damaged(f"{_entry(number)}: expected {', '.join(roles.values())}")
    columns = {role: [entry[name] for entry in objects] for role, name in roles.items()}
    return _rows(columns, np.arange(1, len(objects) + 1), _entry, classes)


def _entry(place: int) -> str:
    return f"entry {place}"


def _with_frame(roles: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    if "frame" not in roles:
        raise UserError(
            f"no column has the number of the frame; the columns are {shown(', '.join(names))}; "
            "add one whose name has frame in it (with supervision: custom_data={'frame_index': "
            "...})"
        )
    return roles


def _rows(
    columns: Mapping[str, Sequence[Any]],
    places: Int64[np.ndarray, "M"],
    where: Where,
    classes: Collection[str] | None,
) -> Rows:
    numbers = {
        role: _floats(column, role, places, where)
        for role, column in columns.items()
        if role not in ("person", "class")
    }
    left, top = numbers["x_min"], numbers["y_min"]
    with np.errstate(over="ignore", invalid="ignore"):
        if "x_max" in numbers and "y_max" in numbers:
            right, bottom = numbers["x_max"], numbers["y_max"]
        else:
            right, bottom = left + numbers["width"], top + numbers["height"]
    frames = frame_numbers(numbers["frame"], places, where)
    people, note = people_of_names(columns.get("person", [None] * len(places)), places, where)
    first_frame = lowest(frames)
    rows = Rows(
        frames=frames,
        people=people,
        boxes=np.stack([top, left, bottom, right], axis=1),
        confidences=numbers.get("confidence", np.full(len(places), np.nan)),
        places=places,
        where=where,
        first_frame=first_frame,
    ).noting(note, numbered_from(first_frame))
    labels = ["" if label is None else str(label).strip() for label in columns.get("class", ())]
    if not any(labels):
        return rows
    others, note = others_than_people(labels, classes)
    return rows.noting(note).without(others, OTHERS)


def numbered_from(first_frame: int) -> str:
    """Says how frames are counted where the format leaves it open."""
    there = "no" if first_frame else "a"
    return f"there is {there} frame 0, so frames are taken to be numbered from {first_frame}"


def _floats(
    cells: Sequence[Any], what: str, places: Int64[np.ndarray, "M"], where: Where
) -> Float64[np.ndarray, "M"]:
    """Reads numbers, or texts of numbers; empty ones are NaN.

    Raises:
      Damaged: one is neither.
    """
    parts = []
    for start in range(0, len(cells), _CHUNK):
        part = cells[start : start + _CHUNK]
        try:
            parts.append(np.array(["nan" if cell in ("", None) else cell for cell in part], float))
        except (TypeError, ValueError, OverflowError) as error:
            for place, cell in zip(places[start:].tolist(), part):
                if not _is_number(cell):
                    raise Damaged(
                        f"{where(place)}: {what} {shown(cell, 40)} is not a number"
                    ) from error
            raise Damaged(f"the column of {what} has cells that are not numbers") from error
    return np.concatenate([np.zeros(0), *parts])


def _is_number(cell: Any) -> bool:
    try:
        return cell in ("", None) or np.ndim(float(cell)) == 0
    except (TypeError, ValueError, OverflowError):
        return False
