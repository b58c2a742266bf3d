"""Cuts a video into clips: windows with the people in them, in batches for a model."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from stvh_jax.clips import Clips
from stvh_jax.errors import UserError, shown
from stvh_jax.names import LONGEST_NAME
from stvh_jax.unknown import UNKNOWN
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.frames import read_frames
from stvh_jax.video.people import TrackedPeople, people_of
from stvh_jax.video.tracks import Tracks
from stvh_jax.video.windows import repeating, windows

Picture = UInt8[np.ndarray, "H W 3"]


@dataclasses.dataclass(frozen=True)
class FootageBatch:
    """Clips of a video, and when they are in it.

    Attributes:
      clips: the clips; the last batch is filled with some that `clip_mask` leaves out.
      start: when the first frame of each begins, in seconds from the first of the video; NaN where
        a clip only fills the batch.
      stop: when the last ends, one frame of the model's rate long.
    """

    clips: Clips
    start: Float64[np.ndarray, "B"]
    stop: Float64[np.ndarray, "B"]


@dataclasses.dataclass(frozen=True)
class _Window:
    """A window that becomes a clip."""

    name: str
    start: float
    frames: Int64[np.ndarray, "T"]
    boxes: Float32[np.ndarray, "T n 4"]
    decoded: Int64[np.ndarray, "t"]


def clips(
    video: VideoFile,
    tracks: Tracks,
    *,
    num_frames: int,
    num_actors: int,
    rate: float | int = 25.0,
    every: float | int = 0.5,
    start: float | int = 0.0,
    stop: float | int | None = None,
    region: Float[np.ndarray, "P 2"] | None = None,
    frame_size: tuple[int, int] | None = None,
    middle_only: bool = False,
    batch_size: int = 16,
    match: str | None = None,
    skip: Collection[str] = (),
    report: Callable[[str], None] | None = None,
) -> Iterator[FootageBatch]:
    """Cuts a video into clips of those people whom its tracks know.

    A clip is named by when it begins, in milliseconds. Windows with nobody, or with a frame that
    cannot be decoded, are left out. No frame is decoded twice; two batches are in memory at once.

    Args:
      video: as `open_video` gives it.
      tracks: where its people are.
      num_frames: T, how many frames the model takes.
      num_actors: N, how many people it takes at most; see `people_of` for who is chosen.
      rate: how many frames per second the model takes.
      every: seconds between the beginnings of clips.
      start: where the first clip begins, in seconds.
      stop: where the last ends at the latest; None for the end.
      region: corners, `[x, y]` in 0..1 of the frame; people outside do not count.
      frame_size: height and width; None for boxes alone, for which nothing is decoded.
      middle_only: whether clips have only the middle one of their frames, T // 2; their boxes are
        those of all.
      batch_size: B; the last batch may have fewer clips.
      match: the name of the video; None for that of its file.
      skip: names of clips that are left out, because they are done.
      report: called at the end with a line for each kind of thing that was left out.

    Yields:
      Batches of B clips, by time.

    Raises:
      Damaged: no frame can be decoded.
      UserError: a number is not possible, or the video cannot be read.
    """
    match = _checked(video.path.stem if match is None else match, num_actors, batch_size)
    times = {"rate": rate, "every": every, "start": start, "stop": stop}
    chosen = windows(video.times, num_frames=num_frames, **times)
    begins = start + np.arange(len(chosen)) * every
    counts, lines = collections.Counter(), []
    people = TrackedPeople.of(tracks)
    middle = num_frames // 2
    shown = slice(middle, middle + 1) if middle_only else slice(None)
    each = _with_people(people, chosen, begins, num_actors, region, frozenset(skip), counts, shown)
    shot = _with_pictures(video, each, frame_size, counts, lines.append)
    pictures = frame_size and (1 if middle_only else num_frames, *frame_size, 3)
    new = functools.partial(_Batch, batch_size, num_frames, num_actors, pictures)
    for batch in _batched(shot, batch_size, new):
        yield batch.whole(match, rate)
        del batch  # or it would stay in memory while the next is made
    if report:
        for line in (*_left_out(counts, num_actors), *lines, *repeating(video, rate)):
            report(line)


def _checked(match: str, num_actors: int, batch_size: int) -> str:
    if not 0 < len(match) <= LONGEST_NAME:
        raise UserError(
            f"the name of the match is {shown(match)}; give 1 to {LONGEST_NAME} characters"
        )
    if num_actors < 1 or batch_size < 1:
        raise UserError(f"num_actors is {num_actors}, batch_size {batch_size}; give 1 or more")
    return match


def _with_people(
    people: TrackedPeople,
    chosen: Int64[np.ndarray, "W T"],
    begins: Float64[np.ndarray, "W"],
    most: int,
    region: Float[np.ndarray, "P 2"] | None,
    skip: Collection[str],
    counts: collections.Counter[str],
    decoded: slice,
) -> Iterator[_Window]:
    """Finds the people of windows, one window after the other; counts those left out."""
    for begin, frames in zip(begins.tolist(), chosen):
        name = str(math.floor(1000 * begin + 0.5))
        if name in skip:
            counts["done"] += 1
            continue
        boxes, left_out = people_of(people, frames, most=most, region=region)
        if not boxes.shape[1]:
            counts["empty"] += 1
            continue
        counts["crowded"] += left_out > 0
        counts["people"] += left_out
        yield _Window(name, begin, frames, boxes, frames[decoded])


class _Batch:
    """A batch that is being filled."""

    def __init__(
        self, size: int, num_frames: int, num_actors: int, pictures: tuple[int, ...] | None
    ):
        self.windows: list[_Window] = []
        self._boxes = np.zeros((size, num_frames, num_actors, 4), np.float32)
        self._mask = np.zeros((size, num_actors), bool)
        self._frames = None
        if pictures is not None:
            self._frames = np.zeros((size, *pictures), np.uint8)

    def add(self, window: _Window, pictures: list[Picture] | None) -> None:
        """Adds a clip."""
        place, count = len(self.windows), window.boxes.shape[1]
        self._boxes[place, :, :count] = window.boxes
        self._mask[place, :count] = True
        if self._frames is not None and pictures is not None:
            for frame, picture in zip(self._frames[place], pictures, strict=True):
                frame[...] = picture
        self.windows.append(window)

    def whole(self, match: str, rate: float | int) -> FootageBatch:
        """Gives the batch, filled with clips that do not count."""
        size, count = len(self._mask), len(self.windows)
        num_frames, num_actors = self._boxes.shape[1:3]
        rest = size - count
        start = np.array([window.start for window in self.windows] + [np.nan] * rest)
        keys = [int(window.frames[num_frames // 2]) for window in self.windows]
        return FootageBatch(
            Clips(
                boxes=self._boxes,
                actor_mask=self._mask,
                clip_mask=np.arange(size) < count,
                frames=self._frames,
                action=np.full((size, num_actors), UNKNOWN, np.int32),
                activity=np.full(size, UNKNOWN, np.int32),
                match=np.array([match] * count + [""] * rest, np.str_),
                clip=np.array([window.name for window in self.windows] + [""] * rest, np.str_),
                frame=np.array(keys + [UNKNOWN] * rest, np.int32),
            ),
            start,
            start + num_frames / rate,
        )


def _with_pictures(
    video: VideoFile,
    each: Iterator[_Window],
    size: tuple[int, int] | None,
    counts: collections.Counter[str],
    report: Callable[[str], None],
) -> Iterator[tuple[_Window, list[Picture] | None]]:
    """Adds the frames of windows, each decoded once and kept for as long as a window needs it."""
    if size is None:
        yield from ((window, None) for window in each)
        return
    waiting: collections.deque[_Window] = collections.deque()
    kept: dict[int, Picture] = {}

    def finished(until: float | int) -> Iterator[tuple[_Window, list[Picture]]]:
        while waiting and waiting[0].decoded[-1] <= until:
            window = waiting.popleft()
            # A frame that is not there was lost.
            if all(int(number) in kept for number in window.decoded):
                yield window, [kept[int(number)] for number in window.decoded]
            else:
                counts["lost"] += 1
            needed = waiting[0].decoded[0] if waiting else until + 1
            for number in [number for number in kept if number < needed]:
                del kept[number]

    for number, picture in read_frames(video, _numbers(each, waiting), size=size, report=report):
        kept[number] = picture
        yield from finished(number)
    yield from finished(math.inf)


def _numbers(each: Iterator[_Window], waiting: collections.deque[_Window]) -> Iterator[int]:
    """Gives the numbers of the frames of windows, rising, and puts the windows into a queue.

    A window is taken only when its frames are needed. Those of later windows begin no earlier, so
    that what lies before the next window is complete.
    """
    pending: set[int] = set()
    for window in each:
        yield from _taken(pending, int(window.decoded[0]))
        waiting.append(window)
        pending.update(window.decoded.tolist())
    yield from _taken(pending, None)


def _taken(pending: set[int], until: int | None) -> list[int]:
    """Takes the numbers below a limit out of a set, in order."""
    taken = sorted(number for number in pending if until is None or number < until)
    pending.difference_update(taken)
    return taken


def _batched(
    shot: Iterator[tuple[_Window, list[Picture] | None]], size: int, new: Callable[[], _Batch]
) -> Iterator[_Batch]:
    """Fills batches; keeps none that it has given."""
    for first in shot:
        batch = new()
        for window, pictures in itertools.chain([first], itertools.islice(shot, size - 1)):
            batch.add(window, pictures)
        del first, window, pictures
        yield batch
        del batch


def _left_out(counts: collections.Counter[str], most: int) -> Iterator[str]:
    """Says what was left out."""
    texts = {
        "done": "windows that were done before: {}",
        "empty": "windows without people: {}",
        "lost": "windows with frames that cannot be decoded: {}",
        "crowded": "windows with more than {most} people: {}; in all, {people} people are left out",
    }
    for kind, text in texts.items():
        if counts[kind]:
            yield text.format(counts[kind], most=most, people=counts["people"])
