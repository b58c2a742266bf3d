"""A moment of a video as a query: the clip of the index; others are in `encoded_queries`."""

import math
import os
import pathlib

import numpy as np

from stvh_jax.errors import NotFound
from stvh_jax.names import LONGEST_NAME
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_model import IndexOutline
from stvh_jax.retrieval.moments import step_of
from stvh_jax.retrieval.origin import RATE, media_of
from stvh_jax.retrieval.where import quoted
from stvh_jax.times import clock_tenths
from stvh_jax.video.footage import VideoFile

# What is less than this beside the end of a clip is rounding.
_ROUNDING = 1e-3


def match_of(index: Index, video: os.PathLike | str) -> tuple[str, bool]:
    """Says which match of an index a video is: by its whole path, or, if it was moved, by its name.

    Returns:
      The match, and whether it is in the index. What is not has the name of its file, or the whole
      path where a match of that name is of another video.
    """
    media, name = media_of(video), pathlib.Path(video).stem
    table = index.clips(f"media = {quoted(media)}")
    if len(table):
        return table["match"][0].as_py(), True
    of_name = index.clips(f"match = {quoted(name)}")["media"]
    if not len(of_name):
        return name, False
    before = of_name[0].as_py()
    moved = before is not None and not os.path.exists(before)
    return (name, True) if moved else (media[-LONGEST_NAME:], False)


def indexed_clip(index: Index, video: os.PathLike | str, at: float | int) -> tuple[str, str] | None:
    """Finds the clip of an index that shows a moment of a video.

    Args:
      index: where to look.
      video: the file.
      at: the moment, in seconds.

    Returns:
      (match, clip) of the clip that begins nearest to the moment; None if none lasts until it, or
      begins at most half a step after it.
    """
    match, known = match_of(index, video)
    if not known:
        return None
    step = step_of(index)
    latest = at + step / 2 + _ROUNDING
    lasts = f"(stop > {at + _ROUNDING} OR start > {at - step + _ROUNDING})"
    table = index.clips(f"match = {quoted(match)} AND start <= {latest} AND {lasts}")
    if not len(table):
        return None
    distances = np.abs(table["start"].to_numpy() - at)
    return match, table["clip"][int(distances.argmin())].as_py()


def rate_of(index: Index | IndexOutline) -> float:
    """Gives the frames per second that the clips of an index have."""
    return float(index.info.origin.get(RATE, 25.0))


def check_moment(video: VideoFile, at: float | int, *, seconds: float | int = 0.0) -> None:
    """Checks that a video has a moment, and so many seconds after it.

    Raises:
      NotFound: it has not.
    """
    last = float(video.times[-1]) - seconds
    if last < 0:
        raise NotFound(f"{video.path} is shorter than a clip, of {seconds:.4g} seconds")
    if not (math.isfinite(at) and 0 <= at <= last + _ROUNDING):
        latest = clock_tenths(math.floor(10 * last) / 10)  # its rounding is downwards
        raise NotFound(
            f"{video.path} has no clip at {clock_tenths(at) if math.isfinite(at) else at}; give a "
            f"time from 0:00:00.0 to {latest}"
        )
