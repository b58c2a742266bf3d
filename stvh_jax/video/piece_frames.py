"""Reads the part of a video that a piece needs, from the key frame before it on."""

import contextlib
import dataclasses
import fractions
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError
from stvh_jax.times import clock_seconds
from stvh_jax.video import containers
from stvh_jax.video.pieces import Piece

if TYPE_CHECKING:
    import av
    import av.container
    import av.video.frame

# A frame this near to a time is the frame of that time: times are written to the millisecond.
CLOSE = 0.002
# How far before a piece a key frame is sought, in seconds, before all of the video is read.
_BACK = (0.0, 2.0, 10.0, 60.0)
# Few frames are on display for so many seconds, or for as long as so many usual frames.
_NEAR, _NEAR_FRAMES = 0.5, 5
# Pieces may end so many seconds after the video, for lengths of videos are known roughly.
_BEYOND = 1.0
# What a video without a frame rate is taken to have.
_USUAL_RATE = fractions.Fraction(25)
# YCbCr by the standard of HDTV, and by that of television before it, as FFmpeg numbers them.
BT_709, BT_601 = 1, (5, 6)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A frame, and when it is on display within a piece.

    Attributes:
      at: since when, in seconds from the start of the piece.
      lasts: for how long.
      frame: the frame, as decoded.
    """

    at: float
    lasts: float
    frame: "av.video.frame.VideoFrame"


class Footage:
    """The first video stream of a file; times are seconds from its first frame.

    Attributes:
      path: the file.
      container: PyAV's.
      stream: the video stream.
      rate: frames per second, on average.
    """

    path: pathlib.Path
    container: "av.container.InputContainer"
    stream: Any
    rate: fractions.Fraction

    def __init__(self, path: os.PathLike | str):
        """Opens a file; see `opened`."""
        self.path = pathlib.Path(os.path.abspath(path))
        self._open()
        self._begin = self.stream.start_time or 0
        if self.container.format.name == "avi":  # its start is not always that of a frame
            first = next(self.container.demux(self.stream)).pts
            self._begin = self._begin if first is None else first

    def _open(self) -> None:
        self._opened = contextlib.ExitStack()
        self.container, self.stream = self._opened.enter_context(containers.opened(self.path))
        self.rate = self.stream.average_rate or self.stream.guessed_rate or _USUAL_RATE

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()

    def time_of(self, ticks: int) -> float:
        """Turns a time stamp of the stream into seconds."""
        return float((ticks - self._begin) * self.stream.time_base)

    def packets(self, time: float | int) -> Iterator[Any]:
        """Gives the packets from a key frame on that is at `time` or not far before it."""
        for back in _BACK:
            if time - back <= 0:
                break
            ticks = int((time + CLOSE - back) / self.stream.time_base)
            # A file without an index.
            with contextlib.suppress(containers.load_av().error.PermissionError):
                self.container.seek(ticks + self._begin, stream=self.stream)
                packets = self.container.demux(self.stream)
                key = self._first_key(packets, time)
                if key is not None:
                    yield key
                    yield from packets
                    return
        self.close()
        self._open()
        yield from self.container.demux(self.stream)

    def _first_key(self, packets: Iterator[Any], time: float | int) -> Any:
        """Gives the first packet of a key frame; None if none is there before `time`."""
        for packet in packets:
            ticks = packet.dts if packet.pts is None else packet.pts
            if ticks is None or self.time_of(ticks) > time + CLOSE:
                return None
            if packet.is_keyframe:
                return packet
        return None

    def frames(
        self, time: float | int, *, quick: bool = False
    ) -> Iterator[tuple[float, "av.video.frame.VideoFrame"]]:
        """Gives the frames, each with its time, from one before `time` or the first on.

        Args:
          time: in seconds.
          quick: whether frames well before `time` that no other refers to may be left out.
        """
        half, earliest = float(1 / self.rate / 2), -float("inf")
        near = time - max(_NEAR, float(_NEAR_FRAMES / self.rate)) if quick else earliest
        for packet in self.packets(time):
            far = packet.pts is not None and self.time_of(packet.pts) < near
            self.stream.codec_context.skip_frame = "NONREF" if far else "DEFAULT"
            for frame in packet.decode():
                if frame.pts is not None:
                    # An AVI file mixes up the times of frames that it stores out of order.
                    shown = max(self.time_of(frame.pts), earliest)
                    earliest = shown + min(half, CLOSE)
                    yield shown, frame


@contextlib.contextmanager
def opened(media: os.PathLike | str) -> Iterator[Footage]:
    """Opens a video for as long as the context.

    Raises:
      NotFound: there is no such file.
      Damaged: it is no video.
      UserError: it cannot be read, or PyAV is not installed.
    """
    footage = Footage(media)
    try:
        yield footage
    finally:
        footage.close()


def shown_frames(footage: Footage, piece: Piece, *, quick: bool = False) -> Iterator[Shown]:
    """Gives what is on display in a piece: from exactly its start to exactly its stop.

    The first is the frame that is on display at the start, if it appeared before it, too.

    Args:
      footage: the video.
      piece: of it.
      quick: whether to read faster, which may miss a first frame that is on display for longer
        than half a second.

    Raises:
      Damaged: the video cannot be decoded.
      UserError: it ends long before the piece does.
    """
    start, stop = float(piece.start), float(piece.stop)
    since, last = start, None  # the frame that is on display, and since when
    end = 0.0
    with files.reading(footage.path, "a readable video"):
        for time, frame in footage.frames(start, quick=quick):
            if last is not None and time > start + CLOSE:
                yield Shown(since - start, min(time, stop) - since, last)
                since = time
            if time >= stop - CLOSE:
                return
            last, end = frame, time + _duration(frame, footage)
        if last is None:
            raise Damaged(f"{footage.path} has no frame that can be decoded")
        if end <= start + CLOSE or end < stop - _BEYOND:
            raise UserError(
                f"{footage.path} ends at {clock_seconds(end)}; there is no piece of it from "
                f"{clock_seconds(start)} to {clock_seconds(stop)}"
            )
        yield Shown(since - start, max(0.0, min(end, stop) - since), last)


def _duration(frame: Any, footage: Footage) -> float:
    ticks = getattr(frame, "duration", 0) or 0
    return float(ticks * footage.stream.time_base) or float(1 / footage.rate)


def upright_size(footage: Footage, rotation: int) -> tuple[int, int]:
    """Gives the width and height of a video as it is displayed, with square pixels."""
    context = footage.stream.codec_context
    ratio = footage.stream.sample_aspect_ratio or 1
    width, height = max(1, round(context.width * ratio)), context.height
    return (height, width) if rotation % 180 else (width, height)


def even(value: float | int) -> int:
    """Gives the even number next to a length, 2 at least: colours have half as many pixels."""
    return max(2, round(value / 2) * 2)


def upright(
    frame: Any, size: tuple[int, int], *, high_definition: bool = False
) -> UInt8[np.ndarray, "R W"]:
    """Turns a frame the right way up, in 8 bits of brightness and colour, "yuv420p".

    Args:
      frame: as decoded.
      size: the even width and height that it gets, once it is upright.
      high_definition: whether the colours are turned into those of BT.709; else they stay.

    Returns:
      The planes one below another, of R = 3/2 H rows.
    """
    width, height = size[::-1] if frame.rotation % 180 else size
    colours = {}
    if high_definition:
        source = int(frame.colorspace)
        known = source == BT_709 or source in BT_601
        old = BT_709 if frame.height >= 720 else BT_601[0]
        colours = {"src_colorspace": source if known else old, "dst_colorspace": BT_709}
    frame_out = frame.reformat(
        width=width, height=height, format="yuv420p", dst_color_range=1, **colours
    )
    planes = frame_out.to_ndarray()
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    if not turns:
        return planes
    turned = [np.rot90(plane, turns).ravel() for plane in split_planes(planes)]
    return np.concatenate(turned).reshape(-1, size[0])


def split_planes(planes: UInt8[np.ndarray, "R W"]) -> list[UInt8[np.ndarray, "h w"]]:
    """Gives views of brightness and the two colours of a "yuv420p" frame."""
    width, height = planes.shape[1], planes.shape[0] * 2 // 3
    pixels, flat = width * height, planes.reshape(-1)
    half = (height // 2, width // 2)
    return [
        flat[:pixels].reshape(height, width),
        flat[pixels : pixels * 5 // 4].reshape(half),
        flat[pixels * 5 // 4 :].reshape(half),
    ]
