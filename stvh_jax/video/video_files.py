"""Writes MP4 files, whole or not at all."""

import contextlib
import fractions
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.video.containers import load_av

# Encoders in the order in which they are taken, with what makes their pictures good.
_ENCODERS = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "mpeg4": {"qmin": "2", "qmax": "5"},
}
# MPEG-4 counts time in so many ticks a second at most.
_MOST_TICKS = 65535
# Whole numbers of these are the frame of every usual rate, 30000/1001 included.
_USUAL_TICKS = fractions.Fraction(1, 60000)


def encoder() -> str:
    """Names the encoder of MP4 files that this PyAV has.

    Raises:
      UserError: it has none, or PyAV is not installed.
    """
    available = load_av().codecs_available
    for name in _ENCODERS:
        if name in available:
            return name
    raise UserError("this build of PyAV cannot encode MP4 files; pip install av")


def usable_time_base(time_base: fractions.Fraction | None) -> fractions.Fraction:
    """Gives the unit in which times are written that were read in another."""
    if time_base is None or time_base.numerator != 1:
        return _USUAL_TICKS
    return time_base if 100 <= time_base.denominator <= _MOST_TICKS else _USUAL_TICKS


@contextlib.contextmanager
def new_mp4(path: os.PathLike | str) -> Iterator[Any]:
    """Gives a container to write to; the file takes its name once it is whole.

    Raises:
      UserError: it cannot be written.
    """
    av = load_av()
    path = local_path(path)
    options = {"movflags": "+faststart"}  # it plays before it is loaded whole
    with files.writing(path), files.replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4", options=options) as container:
                yield container
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise
            raise UserError(f"cannot write {path} ({files.reason(error)})") from error


def local_path(path: os.PathLike | str) -> pathlib.Path:
    """Gives the path of a video to write.

    Raises:
      UserError: it is in a bucket.
    """
    if "://" in str(path):
        raise UserError(f"{path} cannot be written; videos are written to folders of this computer")
    return pathlib.Path(os.path.abspath(path))


class Encoded:
    """A video stream of a new file, encoded frame by frame."""

    def __init__(
        self,
        container: Any,
        size: tuple[int, int],
        rate: fractions.Fraction,
        time_base: fractions.Fraction,
        *,
        options: Mapping[str, str] | None = None,
    ):
        """Adds the stream.

        Args:
          container: of `new_mp4`.
          size: width and height, both even.
          rate: frames per second, about.
          time_base: the unit of its times.
          options: of libx264, in the place of the usual ones.
        """
        name = encoder()
        chosen = options if options and name == "libx264" else _ENCODERS[name]
        self._container, self._time_base = container, time_base
        self._stream = container.add_stream(name, rate=rate, options=dict(chosen))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        if name == "mpeg4":
            self._stream.bit_rate = 20 * size[0] * size[1]
        self.context = self._stream.codec_context
        self.context.time_base = time_base
        self.context.color_range = 1  # black is 16 and white 235
        self._lasts: dict[int, int] = {}
        self._next = 0

    def put(self, planes: UInt8[np.ndarray, "R W"], at: float, lasts: float) -> None:
        """Adds a "yuv420p" frame that is on display from `at` on, in seconds."""
        ticks = round(at / self._time_base)
        if ticks < self._next:  # two frames within one tick
            return
        av = load_av()
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = ticks, self._time_base
        frame.color_range = 1
        self._lasts[ticks] = max(1, round((at + lasts) / self._time_base) - ticks)
        self._next = ticks + 1
        self._write(self._stream.encode(frame))

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self._write(self._stream.encode(None))

    def _write(self, packets: list[Any]) -> None:
        for packet in packets:
            # The muxer would end the video with the beginning of its last frame.
            packet.duration = self._lasts.pop(packet.pts, packet.duration)
            self._container.mux(packet)
