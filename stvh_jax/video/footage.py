"""What a video file is: its size, and when each of its frames is shown, read without decoding."""

import array
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError
from stvh_jax.times import clock_tenths
from stvh_jax.video.containers import WHAT, cut_short, load_av, opened
from stvh_jax.video.pictures import Turn, turn_of

# Stands for a time that a file does not give.
_NONE = -(2**63)
# Frames that end this much earlier than the file says are too few, in seconds and as a share.
_TOO_EARLY, _TOO_EARLY_SHARE = 0.5, 0.01
# What is assumed of a file that says nothing, as FFmpeg does.
_RATE = 25.0


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """A video, and when its frames are shown.

    Attributes:
      path: the file.
      width: of its frames in pixels as they are displayed, which a phone held upright turns.
      height: likewise.
      codec: the name that FFmpeg gives it.
      times: when each frame is shown, in seconds from the first, in this order.
      rate: frames per second, on average.
      duration: in seconds, until the end of the last frame.
      turn: how the stored frames are turned to be displayed.
      interlaced: whether the first frame is.
      stamps: the times in the units of the file, strictly rising; None where the file has none to
        know a frame by, so that frames are counted from the beginning.
      keys: the numbers of the frames that decoding may begin with.
      key_stamps: when each of them is decoded, in the units of the file.
    """

    path: pathlib.Path
    width: int
    height: int
    codec: str
    times: Float64[np.ndarray, "frames"]
    rate: float
    duration: float
    turn: Turn
    interlaced: bool
    stamps: Int64[np.ndarray, "frames"] | None
    keys: Int64[np.ndarray, "K"]
    key_stamps: Int64[np.ndarray, "K"]

    def __len__(self) -> int:
        """Counts the frames."""
        return len(self.times)


def open_video(
    path: os.PathLike | str, *, report: Callable[[str], None] | None = None
) -> VideoFile:
    """Reads when the frames of a video are shown, decoding only the first.

    Frames that a cut at the beginning leaves without what they refer to do not count, as they do
    not for other programs.

    Args:
      path: a file on a disk, of any kind that FFmpeg reads.
      report: called with one line where the file is cut.

    Raises:
      NotFound: there is no such file.
      Damaged: it is no video, or no frame of it can be decoded.
      UserError: it cannot be read, is encrypted, has sound alone or an unknown codec, or PyAV is
        not installed.
    """
    path = pathlib.Path(path)
    with opened(path, threads=1) as (container, stream), files.reading(path, WHAT):
        first = _first_frame(path, container, stream)
        base, codec = stream.time_base, stream.codec_context.name
        stated = float(stream.average_rate or stream.guessed_rate or 0) or _RATE
        turn = turn_of(first)
        height, width = turn.size(first.height, first.width)
    with opened(path, threads=1) as (container, stream), files.reading(path, WHAT):
        packets = _scan(path, container, stream)
        if first.pts is None or not packets.tells_frames():
            index = _counted(packets, stated)
        else:
            index = _stamped(packets, first.pts, float(base))
        times, stamps, keys, key_stamps = index
        span = float(times[-1])
        rate = (len(times) - 1) / span if span > 0 else stated
        duration = span + 1 / rate
        cut = _cut(packets, container, stream, duration)
    if report and cut:
        report(f"{path} {cut}; the {len(times)} frames that can be read are used")
    return VideoFile(
        path, width, height, codec, times, rate, duration, turn,
        bool(first.interlaced_frame), stamps, keys, key_stamps,
    )  # fmt: skip


@dataclasses.dataclass
class _Packets:
    """What the packets of a stream say, in the order of the file; hidden ones are left out.

    Attributes:
      shown: when each is shown, `_NONE` if it does not say.
      decoded: when each is decoded.
      keys: whether decoding may begin with it.
      all: how many there are, with hidden ones.
      cut: whether the last lacks its end.
    """

    kind: str
    shown: array.array = dataclasses.field(default_factory=lambda: array.array("q"))
    decoded: array.array = dataclasses.field(default_factory=lambda: array.array("q"))
    keys: array.array = dataclasses.field(default_factory=lambda: array.array("b"))
    all: int = 0
    cut: bool = False

    def tells_frames(self) -> bool:
        """Says whether a frame is known by when it is shown."""
        shown = np.array(self.shown, np.int64)
        if not len(shown) or (shown == _NONE).any() or len(np.unique(shown)) < len(shown):
            return False
        # AVI stores the order of decoding alone, and with frames that refer to later ones what
        # FFmpeg makes of it is wrong.
        return self.kind != "avi" or bool((shown == np.array(self.decoded, np.int64)).all())


def _first_frame(path: pathlib.Path, container: Any, stream: Any) -> Any:
    """Decodes the first frame that can be decoded.

    Raises:
      Damaged: there is none.
      UserError: the file is encrypted, or its codec is unknown.
    """
    av = load_av()
    problem = None
    for packet in container.demux(stream):
        _refuse_encrypted(path, packet)
        try:
            frames = packet.decode()
        except (av.error.LookupError, av.error.NotImplementedError) as error:
            raise UserError(
                f"{path} has a codec that PyAV cannot decode ({error}); convert it to H.264"
            ) from error
        except av.error.FFmpegError as error:
            problem = error
            continue
        if frames:
            return frames[0]
    reason = getattr(problem, "strerror", None) or "it is cut off or empty"
    raise Damaged(f"{path} has no frame that can be decoded ({reason})")


def _refuse_encrypted(path: pathlib.Path, packet: Any) -> None:
    """Stops before what is encrypted is decoded: now and then a decoder takes it for a picture.

    Raises:
      UserError: the packet is encrypted.
    """
    if packet.size and packet.has_sidedata("encryption_info"):
        raise UserError(f"{path} is encrypted; give a copy without copy protection")


def _scan(path: pathlib.Path, container: Any, stream: Any) -> _Packets:
    """Reads what the packets say; where the file cannot be read further, it ends.

    Raises:
      UserError: a part of the file is encrypted.
    """
    av = load_av()
    packets = _Packets(container.format.name)
    hides = stream.codec_context.name in ("vp8", "libvpx")
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            _refuse_encrypted(path, packet)
            if cut_short(packet, container):
                packets.cut = True
                continue
            packets.all += 1
            # Edit lists hide frames, and VP8 has some that others alone refer to.
            if packet.is_discard or (hides and not memoryview(packet)[0] & 0x10):
                continue
            packets.shown.append(_NONE if packet.pts is None else packet.pts)
            packets.decoded.append(_NONE if packet.dts is None else packet.dts)
            packets.keys.append(packet.is_keyframe)
    except av.error.FFmpegError:
        packets.cut = True
    return packets


def _stamped(packets: _Packets, first: int, base: float) -> tuple:
    """Orders frames by when they are shown, from the first that can be decoded."""
    shown, decoded = (np.array(each, np.int64) for each in (packets.shown, packets.decoded))
    keys = np.array(packets.keys, bool)
    stamps = np.sort(shown[shown >= first])
    keys &= shown >= first
    decoded = np.where(decoded == _NONE, shown, decoded)
    order = np.argsort(shown[keys])
    numbers = np.searchsorted(stamps, shown[keys][order])
    times = (stamps - stamps[:1]).astype(np.float64) * base
    return times, stamps, numbers, decoded[keys][order]


def _counted(packets: _Packets, rate: float) -> tuple:
    """Spaces frames evenly, where the file does not say when they are shown."""
    times = np.arange(len(packets.shown)) / rate
    return times, None, np.zeros(0, np.int64), np.zeros(0, np.int64)


def _cut(packets: _Packets, container: Any, stream: Any, duration: float) -> str:
    """Says what is missing at the end of a file; nothing if it seems whole."""
    announced = stream.frames
    if announced > packets.all:
        return f"is cut off: it should have {announced} frames and has {packets.all}"
    if packets.cut:
        return "is cut off in the middle of a frame"
    whole = (container.duration or 0) / 1e6
    if stream.duration is not None:
        whole = float(stream.duration * stream.time_base)
    if whole - duration > max(_TOO_EARLY, _TOO_EARLY_SHARE * whole):
        return f"should last {clock_tenths(whole)}, but its frames end at {clock_tenths(duration)}"
    return ""
