"""Clips of a raw folder as arrays, a few at a time: no prepared set, no TensorFlow."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from data.raw import RawClips, check_frame_size
from stvh_jax.images import read_images


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedClip:
    """A clip as an encoder takes it, with its names and label.

    Attributes:
      match: name of the source video.
      clip: the clip's name within it.
      frame: number of the key frame in the source video.
      activity: the group's, by name.
      frames: the pixels.
      boxes: in 0..1 of the frame.
    """

    match: str
    clip: str
    frame: int
    activity: str
    frames: UInt8[np.ndarray, "T H W 3"]
    boxes: Float[np.ndarray, "T N 4"]


def decode_clips(raw: RawClips, match: str) -> Iterator[DecodedClip]:
    """Reads the annotated clips of a match, in the order of its annotations.

    Raises:
      NotFound: the match has no annotations, or a frame is missing.
      Damaged: an annotation, a track file or a frame is malformed.
      UserError: a frame has another size than the match's others, or is to be turned.
    """
    scan = raw.scan(match)
    if scan.problems:
        raise scan.problems[0]
    for annotation in scan.clips:
        boxes, _, _ = raw.boxes(match, annotation)
        frames = raw.frame_paths(match, annotation)
        for path in frames:
            check_frame_size(path, raw.frame_size(match))
        yield DecodedClip(
            match=match,
            clip=annotation.clip,
            frame=annotation.frame,
            activity=annotation.activity,
            frames=read_images(frames),
            boxes=boxes,
        )
