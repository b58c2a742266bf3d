"""Queries that a model encodes: clips of an index's prepared set, of videos, of your own files."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax.errors import NotFound, UserError
from stvh_jax.inference.colour_encoder import ColourEncoder, with_colours
from stvh_jax.inference.encoded_clips import encode_clips, predictions
from stvh_jax.inference.encoder import Encoder
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_model import IndexOutline
from stvh_jax.retrieval.indexing import encode_clip, record_of
from stvh_jax.retrieval.origin import COLOUR, VISUAL, media_of
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.video_indexing import Footage, frame_size
from stvh_jax.retrieval.video_queries import check_moment, rate_of
from stvh_jax.times import clock_tenths
from stvh_jax.video.batches import clips


def prepared_query(index: Index, name: Name, encoder: Encoder, dataset: Any) -> Query:
    """Encodes a clip of the prepared set.

    Args:
      index: what is to be searched.
      name: (match, clip).
      encoder: its model.
      dataset: the prepared set, opened.

    Raises:
      NotFound: it is not there.
      UserError: the model is another than the index's.
    """
    own = encoder_of(index, encoder)
    match, clip = name
    encoded = encode_clip(own, dataset, match, clip)
    if encoded is None:
        raise NotFound(
            f"clip {match}/{clip} is neither in the index nor in the prepared set of its run; give "
            "another, or --frames and --boxes"
        )
    split, encoding = encoded
    rate = index.info.origin.get("frames_per_second")
    record = record_of(encoder, dataset, encoding, split=split, frames_per_second=rate)
    known = {field: values[0] for field, values in record.items()}
    return Query(encoding.codes, [known], relaxed=encoding.relaxed)


def encoder_of(index: Index | IndexOutline, encoder: Encoder) -> Encoder:
    """Adapts a model to an index, if it made that: codes of two models cannot be compared.

    Raises:
      UserError: another made it.
    """
    if index.info.origin.get(VISUAL) == COLOUR:
        encoder = with_colours(encoder)
    made_by = index.info.origin.get("checkpoint", encoder.name)
    if encoder.name != made_by:
        raise UserError(
            f"the index was made with checkpoint {made_by}, but this run has checkpoint "
            f"{encoder.name}; give --run with the run that made it, or index the clips again"
        )
    return encoder.adapted(index.adaptation)


def files_query(
    index: Index,
    encoder: Encoder,
    frames: UInt8[np.ndarray, "T H W 3"] | None,
    boxes: Float[np.ndarray, "T N 4"],
    actor_mask: Bool[np.ndarray, "N"],
    appearance: Float[np.ndarray, "S C"] | None = None,
) -> Query:
    """Encodes a clip from elsewhere.

    Args:
      index: what is to be searched.
      encoder: its model.
      frames: see `Encoder.encode`, as the rest.
      boxes: see there.
      actor_mask: see there.
      appearance: see there.

    Raises:
      UserError: it does not fit the model, or the model is another than the index's.
    """
    encoding = encoder_of(index, encoder).encode(frames, boxes, actor_mask, appearance=appearance)
    activity, probabilities = None, encoding.activity_probabilities
    if probabilities is not None:
        activity = encoder.activity_names[int(probabilities[0].argmax())]
    unknown = dict.fromkeys(("match", "clip", "start", "stop", "activity", "split"))
    image = None if frames is None else frames[encoder.config.model.key_frame]
    known = unknown | {"predicted": activity}
    return Query(encoding.codes, [known], relaxed=encoding.relaxed, image=image)


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
    record = {
        "match": footage.match,
        "clip": str(encoded.clip[0]),
        "start": float(batch.start[0]),
        "stop": float(batch.stop[0]),
        "activity": None,
        "predicted": predictions(encoder, encoded)[0][0],
        "split": None,
        "media": media_of(footage.video.path),
    }
    frames = batch.clips.frames
    image = None if frames is None else frames[0, frames.shape[1] // 2]
    return Query(encoded.codes, [record], relaxed=encoded.relaxed, image=image)


def clip_seconds(index: Index | IndexOutline, encoder: Encoder) -> float:
    """Gives the seconds from the first frame of a clip to its last."""
    return (encoder.config.model.num_frames - 1) / rate_of(index)
