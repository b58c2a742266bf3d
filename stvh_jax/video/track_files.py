"""Reads tracks as people have them: the format is told by what a file holds, not by its name."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Collection, Iterator

from etils import epath

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError, shown
from stvh_jax.video.formats import (
    coco,
    collective,
    cvat,
    mot,
    named_columns,
    own_parquet,
    text_table,
    ultralytics,
    vatic,
)
from stvh_jax.video.formats.own_parquet import write_tracks
from stvh_jax.video.rows import MOST_NUMBER, Rows
from stvh_jax.video.settling import settle
from stvh_jax.video.tracks import Tracks

__all__ = ["read_tracks", "write_tracks"]

_WHAT = "a readable file of tracks"
_ZIP = b"PK\x03\x04"


def read_tracks(
    path: os.PathLike | str,
    *,
    width: int,
    height: int,
    num_frames: int | None = None,
    min_confidence: float | int = 0.0,
    first_frame: int | None = None,
    video: str | None = None,
    classes: Collection[str] | None = None,
    report: Callable[[str], None] | None = None,
) -> Tracks:
    """Reads the tracks of one video.

    Boxes are clipped to the frame. Left out are boxes that are wholly beyond it or without area,
    those below the least confidence, those of other classes than people, and all but the most
    confident box of a person in a frame.

    Args:
      path: a file in one of the formats of docs/track_formats.md, or the folder of Ultralytics'
        `save_txt`.
      width: of the video, in pixels as it is displayed.
      height: likewise.
      num_frames: how many frames the video has; None if that is not known.
      min_confidence: boxes below it are left out, 0..1.
      first_frame: the number that the file gives the first frame of the video; None for what its
        format says, or, where it says nothing, 1 unless a frame 0 occurs.
      video: which video is meant, where the file holds the tracks of several.
      classes: names or numbers of the classes that are people; None for the usual ones.
      report: called with one line for each thing that was mended or left out.

    Returns:
      The boxes of people, in the order of frames and people; `UNTRACKED` where nobody followed
      them.

    Raises:
      NotFound: there is no such file, or no such video in it.
      Damaged: it is malformed, or of no known format.
      UserError: it is of another video, or no box is left.
      ModuleNotFoundError: it is a Parquet file, and pyarrow is not installed.
    """
    _check(width, height, num_frames, min_confidence, first_frame)
    with _naming(path):
        tracks, lines = settle(
            _rows(path, video, classes),
            width=width,
            height=height,
            num_frames=num_frames,
            min_confidence=float(min_confidence),
            first_frame=first_frame,
        )
    if report is not None:
        for line in lines:
            report(line)
    return tracks


def _check(
    width: int,
    height: int,
    num_frames: int | None,
    min_confidence: float | int,
    first_frame: int | None,
) -> None:
    """Raises a `UserError` for a number that cannot be one of a video or its tracks."""
    if width <= 0 or height <= 0 or (num_frames is not None and num_frames <= 0):
        raise UserError(
            f"the video has {width} x {height} pixels and {num_frames} frames; give more than 0"
        )
    if first_frame is not None and not 0 <= first_frame <= MOST_NUMBER:
        raise UserError(f"first_frame is {shown(first_frame)}; give 0 to {MOST_NUMBER}")
    if not 0 <= min_confidence <= 1 or math.isnan(min_confidence):
        raise UserError(f"the minimum confidence is {min_confidence}; give a number in 0..1")


def videos_in(path: os.PathLike | str) -> list[str]:
    """Names the videos of a file or folder of tracks; none where it does not say.

    Raises:
      NotFound: there is no such file.
      Damaged: it is malformed.
      UserError: it cannot be read.
    """
    with _naming(path), files.reading(path, _WHAT):
        if epath.Path(path).is_dir():
            return ultralytics.videos_in(path)
        content = files.read_bytes(path, _WHAT)
        text = "" if content.startswith(own_parquet.MAGIC) else text_table.decode(content)
        values = json.loads(text) if text.lstrip().startswith("{") else {}
        return coco.videos_in(values) if coco.fits(values) else []


@contextlib.contextmanager
def _naming(path: os.PathLike | str) -> Iterator[None]:
    """Puts the file's name in front of what the readers say."""
    try:
        yield
    except UserError as error:
        message = Exception.__str__(error)
        if str(path) in message:
            raise
        raise type(error)(f"{path}: {message}") from error


def _rows(path: os.PathLike | str, video: str | None, classes: Collection[str] | None) -> Rows:
    """Reads a file or folder, whatever its format."""
    place = epath.Path(path)
    with files.reading(path, _WHAT):
        if place.is_dir():
            return ultralytics.read(path, classes, video)
    content = files.read_bytes(path, _WHAT)
    with files.reading(path, _WHAT):
        if content.startswith(own_parquet.MAGIC):
            return own_parquet.read(content)
        if content.startswith(_ZIP):
            raise UserError("it is a ZIP archive; unpack it and give the file inside")
        text = text_table.decode(content)
        begin = text[:1000].lstrip()
        if begin.startswith("<"):
            return cvat.read(content, classes)
        del content  # of hours, memory counts
        if begin.startswith(("{", "[")):
            return _of_json(text, video, classes, place.stem)
        return _of_lines(text, classes)


def _of_json(text: str, video: str | None, classes: Collection[str] | None, stem: str) -> Rows:
    values = json.loads(text)
    if isinstance(values, list):
        return named_columns.read_objects(values, classes)
    if not coco.fits(values):
        raise Damaged("it is JSON, but does not have the lists images and annotations, as COCO")
    return coco.read(values, classes, video, stem)


def _of_lines(text: str, classes: Collection[str] | None) -> Rows:
    if collective.fits(text):
        return collective.read(text)
    if named_columns.header_of(text):
        return named_columns.read_table(text, classes)
    if vatic.fits(text.lstrip().split("\n", 1)[0]):
        return vatic.read(text, classes)
    return mot.read(text, classes)
