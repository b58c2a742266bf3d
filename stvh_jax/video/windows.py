"""Which frames of a video make a clip: windows at the model's rate, one every so often."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax.errors import UserError, shown
from stvh_jax.video.footage import VideoFile

# Times that differ by less are the same: Matroska rounds to milliseconds.
_SAME = 1.5e-3
# Of two frames as near as each other the earlier is taken; what is lost in sums is less than this.
_TIE = 1e-6
# A video whose rate is this much lower than that of clips repeats frames.
_SLOWER = 0.99
# Names of clips are whole milliseconds.
_LEAST_STEP = 1e-3


def windows(
    times: Float64[np.ndarray, "frames"],
    *,
    num_frames: int,
    rate: float | int,
    every: float | int,
    start: float | int = 0.0,
    stop: float | int | None = None,
) -> Int64[np.ndarray, "W T"]:
    """Chooses the frames of windows of T frames, window w beginning at `start + w * every`.

    Each frame is the video's nearest in time, so that a video with fewer frames per second than
    `rate` repeats some.

    Args:
      times: when each frame of the video is shown, in seconds, rising.
      num_frames: T.
      rate: how many frames per second the model takes.
      every: seconds between the beginnings of windows.
      start: where the first begins, in seconds.
      stop: where the last ends at the latest, in seconds; None for the end of the video.

    Returns:
      Numbers of frames from 0; of windows that lie wholly between the first frame, the last and
      `stop`, which may be none.

    Raises:
      UserError: a number is not possible.
    """
    numbers = {"start": start, "rate": rate, "every": every, "stop": 0.0 if stop is None else stop}
    for name, value in numbers.items():
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{name} is {shown(value)}; give a finite number, 0 or more")
    if num_frames < 1 or not rate > 0:
        raise UserError(f"num_frames is {num_frames}, rate {rate}; give more than 0")
    if every < _LEAST_STEP:
        raise UserError(f"every is {every} seconds; give {_LEAST_STEP} or more")
    if not len(times):
        return np.zeros((0, num_frames), np.int64)
    latest = float(times[-1]) - (num_frames - 1) / rate
    if stop is not None:
        latest = min(latest, stop - num_frames / rate)
    count = max(0, math.floor((latest + _SAME - start) / every) + 1)
    begins = start + every * np.arange(count)
    return _nearest(times, begins[:, None] + np.arange(num_frames) / rate)


def repeating(video: VideoFile, rate: float | int) -> Iterator[str]:
    """Says that a video has fewer frames per second than clips take, if that is so."""
    if video.rate < _SLOWER * rate:
        yield (
            f"{video.path.name} has {video.rate:.4g} frames per second, and clips take {rate:.4g}: "
            "some frames are repeated"
        )


def _nearest(
    times: Float64[np.ndarray, "frames"], wanted: Float64[np.ndarray, "W T"]
) -> Int64[np.ndarray, "W T"]:
    later = np.clip(np.searchsorted(times, wanted), 1, max(1, len(times) - 1))
    earlier = later - 1
    later = np.minimum(later, len(times) - 1)
    is_later = times[later] - wanted < wanted - times[earlier] - _TIE
    return np.where(is_later, later, earlier).astype(np.int64)
