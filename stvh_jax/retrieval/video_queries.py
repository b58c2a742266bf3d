"""A moment of a video as a query: a clip of the index, or one that is encoded for it."""

import math
import os
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from stvh_jax.errors import NotFound
from stvh_jax.inference.colour_encoder import ColourEncoder
from stvh_jax.inference.encoded_clips import encode_clips
from stvh_jax.inference.encoder import Encoder
from stvh_jax.names import LONGEST_NAME
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_model import IndexOutline
from stvh_jax.retrieval.moments import step_of
from stvh_jax.retrieval.queries import Query, encoder_of
from stvh_jax.retrieval.video_indexing import RATE, Footage, frame_size, media_of
from stvh_jax.retrieval.where import quoted
from stvh_jax.times import clock_tenths
from stvh_jax.video.batches import clips
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


def moment_query(
    index: Index | IndexOutline,
    open_encoder: Callable[[], Encoder],
    footage: Footage,
    at: float | int,
    *,
    region: Float[np.ndarray, "P 2"] | None = None,
) -> Query:
    """Encodes the clip of a video that begins at a moment.

    Args:
      index: what is to be searched.
      open_encoder: gives its model.
      footage: the video.
      at: the moment, in seconds.
      region: corners `[x, y]` in 0..1 of the frame; people outside do not count; None for all.

    Raises:
      NotFound: the video has no such moment, or nobody is there.
      UserError: the model is another than the index's.
    """
    encoder = encoder_of(index, open_encoder())
    config = encoder.config.model
    rate = rate_of(index)
    check_moment(footage.video, at, seconds=clip_seconds(index, encoder))
    batches = clips(
        footage.video,
        footage.tracks,
        num_frames=config.num_frames,
        num_actors=config.num_actors,
        rate=rate,
        every=footage.video.duration + 1,
        start=at,
        region=region,
        frame_size=frame_size(encoder),
        middle_only=isinstance(encoder, ColourEncoder),
        batch_size=1,
        match=footage.match,
    )
    batch = next(batches, None)
    if batch is None:
        raise NotFound(f"nobody is tracked in {footage.video.path} at {clock_tenths(at)}")
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
        "media": media_of(footage.video.path),
    }
    frames = batch.clips.frames
    image = None if frames is None else frames[0, frames.shape[1] // 2]
    return Query(encoded.codes, [record], relaxed=encoded.relaxed, image=image)


def rate_of(index: Index | IndexOutline) -> float:
    """Gives the frames per second that the clips of an index have."""
    return float(index.info.origin.get(RATE, 25.0))


def clip_seconds(index: Index | IndexOutline, encoder: Encoder) -> float:
    """Gives the seconds from the first frame of a clip to its last."""
    return (encoder.config.model.num_frames - 1) / rate_of(index)


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
