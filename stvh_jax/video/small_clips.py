"""Small clips and pictures of pieces of videos, as pages show them."""

import dataclasses
import fractions
import io
import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stvh_jax.errors import UserError
from stvh_jax.video.containers import load_av
from stvh_jax.video.piece_frames import (
    BT_709,
    Footage,
    even,
    opened,
    shown_frames,
    upright,
    upright_size,
)
from stvh_jax.video.pieces import Piece
from stvh_jax.video.video_files import Encoded, encoder, new_mp4

# Clips and pictures are small, so that many fit into a page: in pixels.
HEIGHT, WIDTH = 240, 640
# A clip holds so many seconds of a piece.
MOST_SECONDS = 30.0
_MOST_RATE = 30
# Baseline H.264 plays in every browser.
_OPTIONS = {"crf": "30", "preset": "medium", "profile": "baseline"}
_TICK = fractions.Fraction(1, 60000)
# What is shown at a time is read from a piece of so many seconds.
_MOMENT = 0.02

Planes = UInt8[np.ndarray, "R W"]


def check_encoder() -> None:
    """Checks that clips can be encoded as every browser plays them.

    Raises:
      UserError: they cannot, or PyAV is not installed.
    """
    if encoder() != "libx264":
        raise UserError("this build of PyAV cannot encode H.264, which pages need; pip install av")


def shortened(piece: Piece) -> Piece:
    """Gives the part of a piece that its clip holds: its first 30 seconds."""
    if piece.length <= MOST_SECONDS:
        return piece
    return dataclasses.replace(piece, stop=piece.start + MOST_SECONDS)


def write_small_clip(path: os.PathLike | str, piece: Piece) -> tuple[tuple[int, int], Planes]:
    """Encodes a piece small, without sound, as H.264 that every browser plays at once.

    Args:
      path: the MP4 file to write, whole or not at all.
      piece: what to show; see `shortened`.

    Returns:
      The width and height of the clip, and its first frame as "yuv420p".

    Raises:
      UserError: the piece is beyond the end of its video, or a file cannot be read or written.
      NotFound: the video is missing.
      Damaged: it is no video.
    """
    video, first, size, due = None, None, (0, 0), 0.0
    with opened(piece.media) as footage, new_mp4(path) as container:
        for shown in shown_frames(footage, shortened(piece)):
            # Every second frame of 50 or 60 is left out.
            if shown.at < due:
                continue
            due = shown.at + 0.9 / _MOST_RATE
            if video is None:
                size = small_size(footage, shown.frame.rotation)
                rate = min(footage.rate, fractions.Fraction(_MOST_RATE))
                video = Encoded(container, size, rate, _TICK, options=_OPTIONS)
                for name in ("colorspace", "color_primaries", "color_trc"):
                    setattr(video.context, name, BT_709)
            planes = upright(shown.frame, size, high_definition=True)
            first = planes if first is None else first
            video.put(planes, shown.at, shown.lasts)
        assert video is not None and first is not None  # a piece has a frame
        video.finish()
    return size, first


def small_size(footage: Footage, rotation: int) -> tuple[int, int]:
    """Gives the width and height of clips and pictures: the video's as displayed, or smaller.

    Args:
      footage: the video.
      rotation: of its frames, in degrees.
    """
    width, height = upright_size(footage, rotation)
    scale = min(1.0, HEIGHT / height, WIDTH / width)
    return even(width * scale), even(height * scale)


def picture_at(media: os.PathLike | str, time: float | int) -> Planes:
    """Reads what a video shows at a time, small, as "yuv420p".

    Only what stands between the key frame before it and the time is read.

    Raises:
      UserError: the video ends before, or cannot be read.
      NotFound: it is missing.
      Damaged: it is no video, or cannot be decoded there.
    """
    with opened(media) as footage:
        shown = next(shown_frames(footage, Piece(media, time, time + _MOMENT), quick=True))
        size = small_size(footage, shown.frame.rotation)
        return upright(shown.frame, size, high_definition=True)


def planes_jpeg(planes: Planes, *, quality: int) -> bytes:
    """Writes a frame of a small clip as JPEG."""
    frame = load_av().VideoFrame.from_ndarray(planes, format="yuv420p")
    pixels = frame.to_ndarray(format="rgb24", src_colorspace=BT_709, src_color_range=1)
    return jpeg(Image.fromarray(pixels), quality=quality)


def jpeg(picture: Image.Image, *, quality: int) -> bytes:
    """Writes a picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
