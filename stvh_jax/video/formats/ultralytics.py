"""Ultralytics' `save_txt`: a folder with a file for each frame that has boxes, in 0..1."""

import os
import pathlib
import re
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax import files
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.video.formats.classes import listed, others_than_people
from stvh_jax.video.formats.mot import OTHERS
from stvh_jax.video.formats.text_table import Table, decode, parse_table
from stvh_jax.video.rows import Rows, check_count, frame_numbers, line_of, lowest, people_of_numbers

_NAME = re.compile(r"(?P<video>.*?)_?(?P<frame>\d{1,15})\.txt", re.I | re.S)
_COLUMNS = 7
LINE = "class, x, y, width, height, and perhaps confidence and person (no segments)"


def read(
    folder: os.PathLike | str, classes: Collection[str] | None, video: str | None = None
) -> Rows:
    """Reads the files `<video>_<frame>.txt` of a folder, or of the folder `labels` in it.

    Frames are numbered from 1, unless a frame 0 occurs. Where no line has seven columns, the sixth
    is the person if it is a whole number from 1 throughout, and the confidence otherwise.

    Args:
      folder: where the files are.
      classes: the numbers of the classes that are people; None for 0.
      video: whose files are read, where the folder has those of several.

    Raises:
      NotFound: there are no such files.
      Damaged: a line is malformed.
      UserError: the files are of several videos, or hold other things than boxes.
    """
    paths, numbers = _of_video(pathlib.Path(folder), video)
    table, file_of = _tables(paths)
    starts = np.cumsum([0, *np.bincount(file_of, minlength=len(paths))])[:-1]

    def where(place: int) -> str:
        file = int(np.searchsorted(starts, place, side="right")) - 1
        return f"{paths[file].name}, {line_of(int(table.lines[place]))}"

    places = np.arange(len(table.lines))
    wrong = (table.counts < 5) | (table.counts > _COLUMNS)
    if wrong.any():
        raise Damaged(f"{where(int(np.argmax(wrong)))}: expected {LINE}")
    confidences, people, note = _sixth_and_seventh(table)
    frames = frame_numbers(numbers[file_of].astype(np.float64), places, where)
    first_frame = lowest(numbers)
    x, y, width, height = table.values[:, 1:5].T
    with np.errstate(over="ignore", invalid="ignore"):
        corners = [y - height / 2, x - width / 2, y + height / 2, x + width / 2]
    rows = Rows(
        frames=frames,
        people=people_of_numbers(people, places, where),
        boxes=np.stack(corners, axis=1),
        confidences=confidences,
        places=places,
        where=where,
        first_frame=first_frame,
        in_pixels=False,
    ).noting(note, "" if first_frame else "there is a frame 0, so frames are numbered from 0")
    if not len(places):
        return rows
    labels = [f"{number:g}" for number in table.values[:, 0].tolist()]
    others, note = others_than_people(labels, classes)
    return rows.noting(note).without(others, OTHERS)


def videos_in(folder: os.PathLike | str) -> list[str]:
    """Names the videos whose files are in a folder, in their natural order."""
    return sorted(_files_of_videos(pathlib.Path(folder)), key=natural_key)


def _files_of_videos(folder: pathlib.Path) -> dict[str, list[tuple[int, pathlib.Path]]]:
    """Finds the files of each video, and the numbers of their frames."""
    with files.reading(folder, "a folder of tracks"):
        inner = folder / "labels"
        folder = inner if inner.is_dir() else folder
        names = [entry.name for entry in os.scandir(folder) if not files.is_hidden(entry.name)]
    videos: dict[str, list[tuple[int, pathlib.Path]]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match:
            videos.setdefault(match["video"], []).append((int(match["frame"]), folder / name))
    return videos


def _of_video(
    folder: pathlib.Path, video: str | None
) -> tuple[list[pathlib.Path], Int64[np.ndarray, "F"]]:
    """Finds the files of one video, and the numbers of their frames."""
    videos = _files_of_videos(folder)
    if not videos:
        raise NotFound(
            "it is a folder without files such as match_12.txt, one for each frame; if the tracks "
            "are in one file, give that file"
        )
    if video is None and len(videos) > 1:
        found = sorted(videos, key=natural_key)
        raise UserError(f"it has files of the videos {listed(found)}; choose one with video=")
    chosen = next(iter(videos)) if video is None or len(videos) == 1 else video
    if chosen not in videos:
        raise NotFound(f"it has no files of the video {chosen!r}, but of {listed(list(videos))}")
    found = sorted(videos[chosen])
    frames = np.array([frame for frame, _ in found], np.int64)
    return [path for _, path in found], frames


def _tables(paths: Sequence[pathlib.Path]) -> tuple[Table, Int64[np.ndarray, "M"]]:
    """Reads all files, and says which each line is of; lines are numbered by file."""
    tables, read, count = [], 0, 0
    for path in paths:
        content = files.read_bytes(path, "a readable file of tracks", most=files.MOST_BYTES - read)
        read += len(content)
        try:
            tables.append(parse_table(decode(content), _COLUMNS))
            count += len(tables[-1].lines)
            check_count(count)
        except Damaged as error:
            raise Damaged(f"{path.name}, {error}") from error
    fields = (tuple(getattr(table, name) for table in tables) for name in Table.__annotations__)
    file_of = np.repeat(np.arange(len(tables)), [len(table.lines) for table in tables])
    return Table(*map(np.concatenate, fields)), file_of


def _sixth_and_seventh(
    table: Table,
) -> tuple[Float64[np.ndarray, "M"], Float64[np.ndarray, "M"], str]:
    """Gives confidences and people, NaN where there are none, and what the sixth column is."""
    sixth, seventh = table.values[:, 5], table.values[:, 6]
    none = np.full(len(sixth), np.nan)
    six = table.counts == 6
    if not six.any() or (table.counts == _COLUMNS).any():
        return sixth, seventh, ""
    numbers = sixth[six]
    whole = bool(((numbers >= 1) & (numbers == np.floor(numbers))).all())
    if whole:
        return none, sixth, "the sixth column has only whole numbers, so it is taken as the person"
    return sixth, none, "the sixth column has fractions, so it is taken as the confidence"
