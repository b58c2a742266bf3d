"""From videos and the tracks of their people to the clips of an index."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Float

from stvh_jax.errors import UserError
from stvh_jax.inference.colour_encoder import ColourEncoder
from stvh_jax.inference.encoded_clips import EncodedClips, encode_clips
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models import colour
from stvh_jax.names import printable
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import EVERY, check_visual, origin_of
from stvh_jax.retrieval.where import quoted
from stvh_jax.video.batches import FootageBatch, clips
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.tracks import Tracks
from stvh_jax.video.windows import windows

# Where the index's origin says how many frames per second its clips have.
RATE = "frames_per_second"

# Clips are added when there are so many, or after so many seconds: what a killed indexing has to
# do again.
_CLIPS_AT_ONCE, _SECONDS = 512, 10.0

# Batches that are made ahead of the model.
_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cutting:
    """How videos are cut into clips.

    Attributes:
      rate: frames per second, as the model takes them.
      every: seconds between the beginnings of clips.
      start: where the first begins, in seconds.
      stop: where the last ends at the latest; None for the end of the video.
      region: corners `[x, y]` in 0..1 of the frame; people outside do not count; None for all.
    """

    rate: float = 25.0
    every: float = 0.5
    start: float = 0.0
    stop: float | None = None
    region: Float[np.ndarray, "P 2"] | None = None


@dataclasses.dataclass(frozen=True)
class Footage:
    """A video, the tracks of its people, and what its match is called."""

    video: VideoFile
    tracks: Tracks
    match: str


@dataclasses.dataclass(frozen=True)
class Indexed:
    """What became of a video.

    Attributes:
      added: the clips that were added.
      held: those that had been in the index before.
      windows: the windows there are; some may hold nobody.
      footage: seconds of the video that the new clips cover.
      seconds: how long it took.
      waited: of these, how long the model waited for clips.
    """

    added: int
    held: int
    windows: int
    footage: float
    seconds: float
    waited: float

    def summary(self, *, decoded: bool) -> str:
        """Says it in a line: how many clips, how fast, and what bounds the rate."""
        held = f", {self.held} were there" if self.held else ""
        if not self.added:
            return f"no new clips{held}"
        slower = "decoding" if decoded else "reading the tracks"
        bound = slower if self.waited > self.seconds / 2 else "the model"
        return (
            f"{self.added} clips{held}; {self.added / self.seconds:.1f} clips/s, "
            f"{self.footage / self.seconds:.1f} times real time, bounded by {bound}"
        )


def open_index(run: epath.Path, encoder: Encoder, uri: epath.PathLike, cutting: Cutting) -> Index:
    """Opens the index of a model's codes, or makes it.

    Raises:
      UserError: the index there is of another model, or its clips are cut in another way.
    """
    origin = origin_of(run, encoder) | {RATE: cutting.rate, EVERY: cutting.every}
    if not Index.exists(uri):
        return Index.create(uri, **encoder.code_format, origin=origin)
    index = Index.open(uri)
    check_visual(index, encoder)
    there = index.info.origin.get("checkpoint")
    if there != encoder.name:
        raise UserError(
            f"{uri} holds codes of checkpoint {there}, and this model is {encoder.name}; give "
            "another place, or delete it"
        )
    rate = index.info.origin.get(RATE, cutting.rate)
    if rate != cutting.rate:
        raise UserError(
            f"the clips in {uri} have {rate:g} frames per second, not {cutting.rate:g}; give "
            f"--fps {rate:g}, or another place"
        )
    return index


def index_video(
    index: Index,
    encoder: Encoder,
    footage: Footage,
    cutting: Cutting,
    *,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Adds the clips of a video to an index; those that are there are left as they are.

    The next clips are made while the model encodes the last.

    Args:
      index: of codes of this model.
      encoder: the model.
      footage: the video.
      cutting: how it is cut.
      report: called with a line for each kind of thing that was left out.
      progress: called with how many windows are done, and how many there are.

    Raises:
      UserError: another video of the same name is in the index, or this one cannot be read.
    """
    held = _held(index, footage)
    chosen = windows(
        footage.video.times,
        num_frames=encoder.config.model.num_frames,
        rate=cutting.rate,
        every=cutting.every,
        start=cutting.start,
        stop=cutting.stop,
    )
    begun = time.perf_counter()
    adding = _Adding(index, encoder.adapted(index.adaptation), footage)
    batches = _Ahead(_batches(encoder, footage, cutting, held, report))
    with batches:
        for batch in batches:
            adding.take(batch)
            if progress:
                progress(_windows_until(batch, cutting), len(chosen))
        adding.write()
    if progress:
        progress(len(chosen), len(chosen))
    return Indexed(
        added=adding.added,
        held=len(held),
        windows=len(chosen),
        footage=adding.added * cutting.every,
        seconds=time.perf_counter() - begun,
        waited=batches.waited,
    )


def _held(index: Index, footage: Footage) -> set[str]:
    """Names the clips of a video that are in the index.

    Raises:
      UserError: they are of another video.
    """
    table = index.clips(f"match = {quoted(footage.match)}")
    media = str(footage.video.path.absolute())
    others = {each for each in table["media"].to_pylist() if each != media}
    if others:
        other = next(iter(others))
        raise UserError(
            f"{index.uri} has clips of a match {printable(footage.match)} already, "
            f"{'of a prepared set' if other is None else f'from {printable(other)}'}; give "
            f"{footage.video.path.name} another name, or delete those clips"
        )
    return set(table["clip"].to_pylist())


def _batches(
    encoder: Encoder, footage: Footage, cutting: Cutting, held: set[str], report
) -> Iterator[FootageBatch]:
    """Cuts a video into the batches that a model takes."""
    config = encoder.config
    return clips(
        footage.video,
        footage.tracks,
        num_frames=config.model.num_frames,
        num_actors=config.model.num_actors,
        rate=cutting.rate,
        every=cutting.every,
        start=cutting.start,
        stop=cutting.stop,
        region=cutting.region,
        frame_size=frame_size(encoder),
        middle_only=isinstance(encoder, ColourEncoder),
        batch_size=config.train.evaluation_batch_size,
        match=footage.match,
        skip=held,
        report=report,
    )


def frame_size(encoder: Encoder) -> tuple[int, int] | None:
    """Gives the height and width of the frames that a model takes; None if boxes are enough.

    Raises:
      UserError: it takes something else.
    """
    if isinstance(encoder, ColourEncoder):
        return colour.FRAME_SIZE
    source = encoder.config.model.source
    if source == "boxes":
        return None
    if source == "frames":
        height, width = encoder.config.data.image_size
        return int(height), int(width)
    raise UserError(
        f"this model takes {source.replace('_', ' ')}, which are not in a video; choose a model of "
        "frames or of boxes"
    )


def _windows_until(batch: FootageBatch, cutting: Cutting) -> int:
    """Counts the windows up to the last of a batch."""
    last = float(np.nanmax(batch.start))
    return round((last - cutting.start) / cutting.every) + 1


class _Adding:
    """Encodes batches, and adds their clips to the index, many at a time."""

    def __init__(self, index: Index, encoder: Encoder, footage: Footage):
        self._index, self._encoder, self._footage = index, encoder, footage
        self._encoded: list[EncodedClips] = []
        self._times: list[Any] = []
        self._since, self.added = time.perf_counter(), 0

    def take(self, batch: FootageBatch) -> None:
        """Encodes a batch."""
        valid = np.asarray(batch.clips.clip_mask, bool)
        self._encoded.append(encode_clips(self._encoder, [batch.clips]))
        self._times.append(np.stack([batch.start, batch.stop])[:, valid])
        waiting = sum(map(len, self._encoded))
        if waiting >= _CLIPS_AT_ONCE or time.perf_counter() - self._since > _SECONDS:
            self.write()

    def write(self) -> None:
        """Adds what was encoded."""
        if self._encoded:
            encoded = EncodedClips.concatenate(self._encoded)
            start, stop = np.concatenate(self._times, axis=1)
            probabilities = np.asarray(jax.nn.softmax(encoded.activity_scores))
            names = self._encoder.activity_names
            self._index.add(
                encoded.codes,
                match=self._footage.match,
                clip=encoded.clip.tolist(),
                start=start,
                stop=stop,
                predicted=[names[label] for label in probabilities.argmax(axis=1)],
                confidence=probabilities.max(axis=1),
                media=str(self._footage.video.path.absolute()),
            )
            self.added += len(encoded)
        self._encoded, self._times, self._since = [], [], time.perf_counter()


class _Ahead:
    """Makes what an iterator gives in a thread of its own, a little ahead.

    Attributes:
      waited: the seconds spent in waiting for it.
    """

    def __init__(self, iterator: Iterator[FootageBatch]):
        self._iterator, self.waited = iterator, 0.0
        self._made: queue.Queue = queue.Queue(_AHEAD)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, daemon=True)

    def __enter__(self) -> "_Ahead":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._unwanted.set()
        while self._thread.is_alive():  # it may wait for room
            with_room = not self._made.empty()
            if with_room:
                self._made.get()
            self._thread.join(0.05)

    def __iter__(self) -> Iterator[FootageBatch]:
        """Gives what is made; an error of the thread is raised here."""
        while True:
            begun = time.perf_counter()
            made = self._made.get()
            self.waited += time.perf_counter() - begun
            if made is None:
                return
            if isinstance(made, BaseException):
                raise made
            yield made

    def _make(self) -> None:
        try:
            for each in self._iterator:
                if self._unwanted.is_set():
                    return
                self._made.put(each)
            self._made.put(None)
        except BaseException as error:  # it is raised where the clips are taken
            self._made.put(error)
