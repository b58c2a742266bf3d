"""Decodes chosen frames of a video, each known by its time, in bounded memory."""

import bisect
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError, shown
from stvh_jax.video.containers import WHAT, cut_short, load_av, opened
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.pictures import Converter, deinterlaced

# Frames that are decoded in vain rather than seeking: a decoder with threads starts slowly.
_WORTH_SEEKING = 16
# How far before a key frame seeking is tried, in seconds, where it goes wrong.
_STEPS_BACK = (0.0, 1.0, 5.0, 20.0)
# Of so many packets after a place that was sought, one is the wanted.
_MOST_PACKETS = 2000
# After so many key frames that are none, the file's word is not taken any more.
_MOST_TRIES = 20

Picture = UInt8[np.ndarray, "H W 3"]


def read_frames(
    video: VideoFile,
    numbers: Iterable[int],
    *,
    size: tuple[int, int] | None = None,
    report: Callable[[str], None] | None = None,
) -> Iterator[tuple[int, Picture]]:
    """Decodes frames of a video as RGB, turned as they are displayed, one after the other.

    Interlaced frames are made whole. Where a frame cannot be decoded, it and those after it are
    left out until the next key frame.

    Args:
      video: as `open_video` gives it.
      numbers: of the frames, from 0, rising; may be made while the frames are read.
      size: height and width to resize to; None for the video's.
      report: called at the end with a line for what was left out or mended.

    Yields:
      The number of a frame and its picture.

    Raises:
      Damaged: none of the frames can be decoded.
      UserError: there is no such frame, the numbers do not rise, or the file cannot be read.
    """
    convert = Converter(size or (video.height, video.width), video.turn)
    asked, given, last = 0, 0, -1
    with contextlib.closing(_Decoder(video)) as decoder:
        for number in numbers:
            if not last < number < len(video):
                raise UserError(
                    f"{video.path} was asked for frame {shown(number)} after frame {last}; give "
                    f"rising numbers below {len(video)}, its number of frames"
                )
            last, asked = number, asked + 1
            with files.reading(video.path, WHAT):
                frame = decoder.frame(number)
                picture = None if frame is None else convert(frame)
            if picture is not None:
                given += 1
                yield number, picture
    if asked and not given:
        raise Damaged(f"{video.path}: none of {asked} frames can be decoded; the file is damaged")
    if report and given < asked:
        report(f"{video.path}: {asked - given} of {asked} frames cannot be decoded")
    if report and decoder.mended:
        report(f"{video.path}: {decoder.mended} frames are damaged; what they show is used")


class _Decoder:
    """Finds frames by their numbers, going on or seeking, whichever is less work.

    Attributes:
      mended: how many of the frames that were given are damaged.
    """

    def __init__(self, video: VideoFile):
        self._video = video
        self._keys = list(zip(video.keys.tolist(), video.key_stamps.tolist()))
        self._open = contextlib.ExitStack()
        self.mended = 0
        self._restart()

    def close(self) -> None:
        """Closes the file."""
        self._open.close()

    def frame(self, number: int) -> Any | None:
        """Decodes a frame; None if it is lost. Numbers must rise."""
        self._seek(number)
        while (now := self._take()) is not None and now[0] < number:
            pass
        if now is None or now[0] > number:
            self._ahead = now
            return None
        self.mended += bool(now[1].is_corrupt)
        return now[1]

    def _take(self) -> tuple[int, Any] | None:
        """Takes the next frame; None at the end."""
        now, self._ahead = self._ahead or next(self._frames, None), None
        self._next = len(self._video) if now is None else now[0] + 1
        return now

    def _seek(self, number: int) -> None:
        """Goes to the last key frame before a frame, if that saves work."""
        # What makes an interlaced frame whole is in the one before, too.
        latest, moved = number - self._video.interlaced, 0
        while moved < _MOST_TRIES:
            place = bisect.bisect_right(self._keys, latest, key=lambda each: each[0]) - 1
            if place < 0 or not (moved or self._keys[place][0] - self._next >= _WORTH_SEEKING):
                break
            if self._begin(*self._keys[place]):
                return
            del self._keys[place]  # some files mark frames that are none
            moved += 1
        if moved:
            self._restart()

    def _restart(self) -> None:
        """Begins with the first frame."""
        self._open.close()
        self._container, self._stream = self._open.enter_context(opened(self._video.path))
        self._frames = deinterlaced(self._decoded(self._container.demux(self._stream)))
        self._next, self._ahead = 0, None

    def _begin(self, key: int, stamp: int) -> bool:
        """Begins with a key frame; false if it turns out to be none, or cannot be found."""
        packets = self._packets_from(key, stamp)
        if packets is None:
            return False
        frames = self._decoded(packets)
        # Those before it refer to what was not decoded.
        first = next((each for each in frames if each[0] >= key), None)
        if first is None or first[0] != key or not first[1].key_frame:
            return False
        self._frames = deinterlaced(itertools.chain([first], frames))
        self._next, self._ahead = key, None
        return True

    def _packets_from(self, key: int, stamp: int) -> Iterator[Any] | None:
        """Seeks until a key frame's packet is the next; None if that does not succeed."""
        stamps, unit = self._video.stamps, float(self._stream.time_base)
        if stamps is None:
            return None
        for back in _STEPS_BACK:
            place = min(stamp, int(stamps[key])) - round(back / unit)
            try:
                self._container.seek(place, stream=self._stream)
                packets = self._container.demux(self._stream)
                for packet in itertools.islice(packets, _MOST_PACKETS):
                    if packet.pts == stamps[key]:
                        return itertools.chain([packet], packets)
                    if packet.dts is not None and packet.dts > stamp:
                        break
            except load_av().error.FFmpegError:
                continue
        return None

    def _decoded(self, packets: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """Decodes packets; after an error, what comes until the next key frame is left out."""
        error, broken, count = load_av().error.FFmpegError, False, itertools.count()
        while (packet := self._packet(packets)) is not None:
            try:
                frames = packet.decode()
            except error:
                broken = True
                continue
            for frame in frames:
                broken = broken and not frame.key_frame
                number = next(count) if self._video.stamps is None else self._number(frame.pts)
                if number is not None and number < len(self._video) and not broken:
                    yield number, frame

    def _packet(self, packets: Iterator[Any]) -> Any | None:
        """Reads the next packet that is whole; None at the end, or where reading fails."""
        try:
            whole = (each for each in packets if not cut_short(each, self._container))
            return next(whole, None)
        except load_av().error.FFmpegError:
            return None

    def _number(self, pts: int | None) -> int | None:
        """Finds the frame that is shown at a time; None if there is none."""
        if pts is None or self._video.stamps is None:
            return None
        place = int(np.searchsorted(self._video.stamps, pts))
        same = place < len(self._video) and self._video.stamps[place] == pts
        return place if same else None
