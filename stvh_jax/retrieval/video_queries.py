"""A moment of a video as a query: a clip of the index, or one that is encoded for it."""

import math
import os
import pathlib
from collections.abc import Callable

import numpy as np

from stvh_jax.errors import NotFound
from stvh_jax.inference.colour_encoder import ColourEncoder
from stvh_jax.inference.encoded_clips import encode_clips
from stvh_jax.inference.encoder import Encoder
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import step_of
from stvh_jax.retrieval.queries import Query, encoder_of
from stvh_jax.retrieval.video_indexing import RATE, Footage, frame_size
from stvh_jax.retrieval.where import quoted
from stvh_jax.times import clock
from stvh_jax.video.batches import clips
from stvh_jax.video.footage import VideoFile

# What is less than this beside the end of a clip is rounding.
_ROUNDING = 1e-3


def match_of(index: Index, video: os.PathLike | str) -> str:
    """Gives the match that a video is in an index: by its whole path, or by its name."""
    path = pathlib.Path(video)
    table = index.clips(f"media = {quoted(str(path.absolute()))}")
    return table["match"][0].as_py() if len(table) else path.stem


def indexed_clip(index: Index, video: os.PathLike | str, at: float) -> tuple[str, str] | None:
    """Finds the clip of an index that shows a moment of a video.

    Args:
      index: where to look.
      video: the file.
      at: the moment, in seconds.

    Returns:
      (match, clip) of the clip that begins nearest to it; None if none is within one step of it.
    """
    match = match_of(index, video)
    step = step_of(index)
    near = f"start <= {at + step + _ROUNDING} AND stop > {at - step - _ROUNDING}"
    table = index.clips(f"match = {quoted(match)} AND {near}")
    if not len(table):
        return None
    distances = np.abs(table["start"].to_numpy() - at)
    return match, table["clip"][int(distances.argmin())].as_py()


def moment_query(
    index: Index,
    open_encoder: Callable[[], Encoder],
    footage: Footage,
    at: float,
) -> Query:
    """Encodes the clip of a video that begins at a moment.

    Args:
      index: what is to be searched.
      open_encoder: gives its model.
      footage: the video.
      at: the moment, in seconds.

    Raises:
      NotFound: the video has no such moment, or nobody is there.
      UserError: the model is another than the index's.
    """
    encoder = encoder_of(index, open_encoder())
    config = encoder.config.model
    rate = float(index.info.origin.get(RATE, 25.0))
    check_moment(footage.video, at, seconds=(config.num_frames - 1) / rate)
    batches = clips(
        footage.video,
        footage.tracks,
        num_frames=config.num_frames,
        num_actors=config.num_actors,
        rate=rate,
        every=footage.video.duration + 1,
        start=at,
        frame_size=frame_size(encoder),
        middle_only=isinstance(encoder, ColourEncoder),
        batch_size=1,
        match=footage.match,
    )
    batch = next(batches, None)
    if batch is None:
        raise NotFound(f"nobody is tracked in {footage.video.path} at {clock(at)}")
    encoded = encode_clips(encoder, [batch.clips], keep_relaxed=True)
    label = int(encoded.activity_scores[0].argmax())
    record = {
        "match": footage.match,
        "clip": str(encoded.clip[0]),
        "start": float(batch.start[0]),
        "stop": float(batch.stop[0]),
        "activity": None,
        "predicted": encoder.activity_names[label],
        "split": None,
        "media": str(footage.video.path.absolute()),
    }
    frames = batch.clips.frames
    image = None if frames is None else frames[0, frames.shape[1] // 2]
    return Query(encoded.codes, [record], relaxed=encoded.relaxed, image=image)


def check_moment(video: VideoFile, at: float, *, seconds: float = 0.0) -> None:
    """Checks that a video has a moment, and so many seconds after it.

    Raises:
      NotFound: it has not.
    """
    last = float(video.times[-1]) - seconds
    if not (math.isfinite(at) and 0 <= at <= last + _ROUNDING):
        raise NotFound(
            f"{video.path} has no clip at {clock(at) if math.isfinite(at) else at}; give a time "
            f"from 0:00:00.0 to {clock(max(0.0, last))}"
        )
