"""A highlight reel: pieces of several videos one after another, each with its name on it."""

import fractions
import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from stvh_jax.errors import UserError
from stvh_jax.images import MOST_PIXELS
from stvh_jax.video.piece_frames import (
    BT_709,
    CLOSE,
    Shown,
    even,
    opened,
    shown_frames,
    split_planes,
    upright,
    upright_size,
)
from stvh_jax.video.pieces import Piece, caption, check_pieces
from stvh_jax.video.video_files import Encoded, new_mp4

# The sizes of what cannot be filmed, or is too small for a line of text.
_LEAST, _SMALL = 16, 64
_USUAL_SIZE, _USUAL_RATE, _MOST_RATE = (1280, 720), fractions.Fraction(25), 60
# Black and white of brightness, and the colour of both.
_BLACK, _WHITE, _GREY = 16, 235, 128
# How much of the picture is seen through the band behind the text.
_THROUGH = 0.3


def reel(
    pieces: Sequence[Piece],
    path: os.PathLike | str,
    *,
    size: tuple[int, int] | None = None,
    report: Callable[[str], None] | None = None,
) -> None:
    """Joins pieces to one MP4 file, in order, with rank, match, time and label at the bottom.

    Every piece is scaled to fit, with black beside or above it, and shown at a constant rate: that
    of the first piece's video, or 25 frames a second if that is below 1 or above 60. Piece by piece
    the reel is as long as the pieces are; see `write_chapters`. Sound is left out. The text is in
    Pillow's own font, which has the letters of European languages in the Latin script.

    Args:
      pieces: what to show.
      path: the file to write, in the place of one that is there.
      size: width and height; by default that of the first video, or 1280 x 720 if that is too
        small for text.
      report: called with a line for each piece that is written.

    Raises:
      UserError: there is no piece, or it is beyond the end of its video, or a file cannot be read
        or written.
      NotFound: a video is missing.
      Damaged: a file is no video.
    """
    check_pieces(pieces)
    width, height, rate = _format(pieces[0], size)
    ticks, elapsed = 0, 0.0
    with new_mp4(path) as container:
        video = Encoded(container, (width, height), rate, 1 / rate)
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(video.context, name, BT_709)
        for rank, piece in enumerate(pieces, start=1):
            text = _text(caption(rank, piece), width, height)
            elapsed += piece.length
            # Rounded from the beginning of the reel, so that errors do not add up.
            count = max(1, round(elapsed * rate) - ticks)
            for canvas in _canvases(piece, (width, height), rate, count):
                _lay(text, canvas)
                video.put(canvas, float(ticks / rate), float(1 / rate))
                ticks += 1
            if report:
                report(f"piece {rank} of {len(pieces)}")
        video.finish()


def _format(piece: Piece, size: tuple[int, int] | None) -> tuple[int, int, fractions.Fraction]:
    """Gives the width, height and rate of a reel that begins with a piece."""
    with opened(piece.media) as footage:
        rate = footage.rate.limit_denominator(1001)
        if size is None:
            first = next(shown_frames(footage, piece))
            size = upright_size(footage, first.frame.rotation)
            size = _USUAL_SIZE if min(size) < _SMALL else size
    width, height = size
    if min(size) < _LEAST or width * height > MOST_PIXELS:
        raise UserError(f"a reel of {width} x {height} pixels cannot be made; give another size")
    return even(width), even(height), rate if 1 <= rate <= _MOST_RATE else _USUAL_RATE


def _canvases(
    piece: Piece, size: tuple[int, int], rate: fractions.Fraction, count: int
) -> Iterator[UInt8[np.ndarray, "R W"]]:
    """Gives so many frames of a piece at a constant rate; the last is held if the video ends."""
    given, last = 0, None
    with opened(piece.media) as footage:
        for shown in shown_frames(footage, piece):
            # Every tick of the reel shows the frame that is on display when it begins.
            until = min(count, math.ceil((shown.at + shown.lasts - CLOSE) * rate))
            last = shown
            if until > given:
                canvas = _fitted(shown, upright_size(footage, shown.frame.rotation), size)
                for _ in range(until - given):
                    yield canvas.copy()
                given = until
        if given < count and last is not None:
            canvas = _fitted(last, upright_size(footage, last.frame.rotation), size)
            for _ in range(count - given):
                yield canvas.copy()


def _fitted(
    shown: Shown, source: tuple[int, int], size: tuple[int, int]
) -> UInt8[np.ndarray, "R W"]:
    """Scales a frame to fit into a size, in the middle of black."""
    width, height = size
    scale = min(width / source[0], height / source[1])
    inner = min(width, even(source[0] * scale)), min(height, even(source[1] * scale))
    planes = upright(shown.frame, inner, high_definition=True)
    if inner == size:
        return planes
    canvas = np.full((height * 3 // 2, width), _GREY, np.uint8)
    canvas[:height] = _BLACK
    # Even, so that the colours begin at a whole pixel of theirs.
    left, top = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
    for whole, plane in zip(split_planes(canvas), split_planes(planes)):
        half = 1 if whole.shape[1] == width else 2
        rows, columns = plane.shape
        whole[top // half :, left // half :][:rows, :columns] = plane
    return canvas


def _text(line: str, width: int, height: int) -> UInt8[np.ndarray, "h W"]:
    """Draws a line of text as wide as the reel: how much of each pixel is covered, 0 to 255."""
    letters = max(10, min(height // 20, width // 24))
    font = ImageFont.load_default(letters)
    band = even(letters * 1.8)
    edge = letters // 2
    if font.getlength(line) > width - 2 * edge:
        while line and font.getlength(line + "...") > width - 2 * edge:
            line = line[:-1]
        line += "..."
    image = Image.new("L", (width, min(band, height // 2 * 2)))
    ImageDraw.Draw(image).text((edge, band // 2), line, fill=255, font=font, anchor="lm")
    return np.asarray(image)


def _lay(text: UInt8[np.ndarray, "h W"], canvas: UInt8[np.ndarray, "R W"]) -> None:
    """Lays white text on a darkened band over the bottom of a frame."""
    bright, *colours = split_planes(canvas)
    rows = len(text)
    cover = text.astype(np.float32) / 255
    below = (bright[-rows:].astype(np.float32) - _BLACK) * _THROUGH + _BLACK
    bright[-rows:] = np.rint(below + (_WHITE - below) * cover).astype(np.uint8)
    for colour in colours:
        part = colour[-(rows // 2) :].astype(np.float32)
        part = (part - _GREY) * _THROUGH * (1 - cover[::2, ::2])
        colour[-(rows // 2) :] = np.rint(part + _GREY).astype(np.uint8)
