"""Clips of a raw folder as arrays, a few at a time: no prepared set, no TensorFlow."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from data.raw import RawClips
from stvh_jax.inference.clip_files import read_images


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedClip:
    """A clip as an encoder takes it, and what is known of it.

    Attributes:
      match: the source video.
      clip: the clip's number within it.
      activity: the group's, by name.
      frames: the pixels.
      boxes: in 0..1 of the frame.
    """

    match: int
    clip: int
    activity: str
    frames: UInt8[np.ndarray, "T H W 3"]
    boxes: Float[np.ndarray, "T N 4"]


def decode_clips(raw: RawClips, match: int) -> Iterator[DecodedClip]:
    """Reads the annotated clips of a match, in the order of its annotations.

    Raises:
      UserError: an annotation, a track file or a frame is missing or malformed.
    """
    scan = raw.scan(match)
    if scan.problems:
        raise scan.problems[0]
    for annotation in scan.clips:
        boxes, _, _ = raw.boxes(match, annotation)
        frames = read_images(raw.frame_paths(match, annotation.clip))
        yield DecodedClip(match, annotation.clip, annotation.activity, frames, boxes)
