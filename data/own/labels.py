"""The table of labels of one's own videos: what is done from when to when."""

import collections
import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from data.raw import SPLITS
from stvh_jax import files, times
from stvh_jax.config import MOST_CLASSES
from stvh_jax.errors import UserError, shown
from stvh_jax.names import LONGEST_NAME, natural_key

NEEDED = ("video", "start", "stop", "activity")
OPTIONAL = ("actions", "split")
# Far more than anybody labels by hand.
_MOST_BYTES = 64 << 20
_WHAT = "a table of labels, in UTF-8"


@dataclasses.dataclass(frozen=True)
class Label:
    """A line of the table.

    Attributes:
      place: the file and line, for messages.
      video: the name of the video, without its ending.
      start: in seconds.
      stop: in seconds.
      activity: what the group does.
      actions: what people do, by the number that the tracker gives them.
      split: "" where the table does not say.
    """

    place: str
    video: str
    start: float
    stop: float
    activity: str
    actions: Mapping[int, str]
    split: str


def read_labels(path: os.PathLike | str, videos: Collection[str]) -> list[Label]:
    """Reads a table of labels, with a line of names and cells parted by commas, semicolons or tabs.

    Args:
      path: of the file.
      videos: the names of the video files, with their endings.

    Returns:
      The labels, in the order of the file.

    Raises:
      NotFound: there is no such file.
      Damaged: it is not a table.
      UserError: a line is not what it should be, or two contradict each other.
    """
    content = files.read_bytes(path, _WHAT, most=_MOST_BYTES)
    with files.reading(path, _WHAT):
        text = content.decode("utf-8-sig")
        first = text.lstrip().partition("\n")[0]
        comma = max(",;\t", key=first.count)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
        table = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    if not table:
        raise UserError(
            f"{path} is empty; write {','.join(NEEDED)}, and below it a line for each label"
        )
    names = _columns(f"{path}:{table[0][0]}", table[0][1])
    if len(table) == 1:
        raise UserError(
            f"{path} has no labels; add a line for each, below the names of the columns"
        )
    known = _by_name(videos)
    labels = [_label(f"{path}:{line}", names, row, known) for line, row in table[1:]]
    for kind in (_names_of_activities(labels), _names_of_actions(labels)):
        if len(kind) > MOST_CLASSES:
            raise UserError(f"{path} has {len(kind)} different names; use {MOST_CLASSES} at most")
    _refuse_contradictions(labels)
    return labels


def class_names(labels: Sequence[Label]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lists the activities and the actions of a table, each in natural order."""
    activities, actions = _names_of_activities(labels), _names_of_actions(labels)
    ordered = (tuple(sorted(names, key=natural_key)) for names in (activities, actions))
    return next(ordered), next(ordered)


def _names_of_activities(labels: Sequence[Label]) -> set[str]:
    return {label.activity for label in labels}


def _names_of_actions(labels: Sequence[Label]) -> set[str]:
    return {action for label in labels for action in label.actions.values()}


def _columns(place: str, row: Sequence[str]) -> list[str]:
    names = [cell.strip().lower() for cell in row]
    for name, count in collections.Counter(names).items():
        if name not in NEEDED + OPTIONAL:
            raise UserError(
                f"{place}: unknown column {shown(name)}; the columns are {', '.join(NEEDED)} and, "
                f"if you like, {', '.join(OPTIONAL)}"
            )
        if count > 1:
            raise UserError(f"{place}: the column {name} is there {count} times; keep one")
    for name in NEEDED:
        if name not in names:
            raise UserError(
                f"{place}: no column is called {name}; the first line must name the columns"
            )
    return names


def _by_name(videos: Collection[str]) -> dict[str, str]:
    """Finds the name of a video by the name of its file, with its ending or without."""
    stems = {video: os.path.splitext(video)[0] for video in videos}
    return {stem: stem for stem in stems.values()} | stems


def _label(place: str, names: Sequence[str], row: Sequence[str], known: Mapping[str, str]) -> Label:
    if len(row) != len(names):
        raise UserError(f"{place}: it has {len(row)} cells, but the first line has {len(names)}")
    cells = {name: cell.strip() for name, cell in zip(names, row)}
    if cells["video"] not in known:
        raise UserError(
            f"{place}: unknown video {shown(cells['video'])}; --video gives "
            f"{', '.join(sorted(set(known.values()), key=natural_key)[:5])}"
        )
    start, stop = (_time(place, name, cells[name]) for name in ("start", "stop"))
    if stop <= start:
        raise UserError(
            f"{place}: it stops at {times.clock_tenths(stop)}, not after its start at "
            f"{times.clock_tenths(start)}"
        )
    split = cells.get("split", "")
    if "split" in cells and split not in SPLITS:
        raise UserError(f"{place}: split {shown(split)}; give one of {', '.join(SPLITS)}")
    actions = dict(_actions(place, cells.get("actions", "")))
    activity = _class_name(place, "activity", cells["activity"])
    return Label(place, known[cells["video"]], start, stop, activity, actions, split)


def _time(place: str, name: str, text: str) -> float:
    try:
        return times.seconds(text)
    except UserError as error:
        raise UserError(f"{place}: {name} {error}") from error


def _class_name(place: str, kind: str, name: str) -> str:
    """Checks the name of a class; a number would look like that of a class without a name."""
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise UserError(
            f"{place}: {kind} {shown(name)}; give a name of 1 to {LONGEST_NAME} letters"
        )
    if name.isdecimal():
        raise UserError(f"{place}: {kind} {shown(name)} is a number; give it a name")
    return name


def _actions(place: str, text: str) -> Iterator[tuple[int, str]]:
    """Reads `person:action;person:action`."""
    seen = set()
    for part in filter(None, map(str.strip, text.split(";"))):
        person, colon, action = part.partition(":")
        if not colon or not re.fullmatch(r"\s*[0-9]{1,9}\s*", person):
            raise UserError(
                f"{place}: actions {shown(part)}; give person:action, as in 3:jumping;7:standing"
            )
        if int(person) in seen:
            raise UserError(f"{place}: person {int(person)} has two actions; give one")
        seen.add(int(person))
        yield int(person), _class_name(place, "action", action.strip())


def _refuse_contradictions(labels: Sequence[Label]) -> None:
    """Refuses labels that overlap and say different things.

    Raises:
      UserError: names the two lines.
    """
    for _, group in itertools.groupby(sorted(labels, key=_order), key=lambda label: label.video):
        latest: list[Label] = []
        for label in group:
            latest = [before for before in latest if before.stop > label.start]
            for before in latest:
                for name in ("activity", "split"):
                    one, other = getattr(before, name), getattr(label, name)
                    if one != other:
                        raise UserError(
                            f"{label.place}: {name} {other} overlaps {one} of {before.place}; give "
                            "both the same, or end one before the other starts"
                        )
            latest.append(label)


def _order(label: Label) -> tuple:
    return label.video, label.start, label.stop
