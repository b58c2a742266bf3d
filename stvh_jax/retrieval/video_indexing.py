"""From videos and the tracks of their people to the clips of an index."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float

from stvh_jax.errors import Exists, UserError, shown
from stvh_jax.inference.colour_encoder import ColourEncoder
from stvh_jax.inference.encoded_clips import EncodedClips, encode_clips, predictions
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models import colour
from stvh_jax.names import LONGEST_NAME, printable
from stvh_jax.retrieval import kept_tracks, moved_videos
from stvh_jax.retrieval.ahead import Ahead
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import check_visual, origin_of
from stvh_jax.retrieval.origin import EVERY, RATE, media_of
from stvh_jax.retrieval.where import quoted
from stvh_jax.times import clock_tenths
from stvh_jax.video.batches import FootageBatch, clips
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.labels import Label, activities_of, check_in_video
from stvh_jax.video.tracks import Tracks
from stvh_jax.video.windows import windows

# Clips are added when there are so many, or after so many seconds: what a killed indexing has to
# do again.
_CLIPS_AT_ONCE, _SECONDS = 512, 60.0


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

    rate: float | int = 25.0
    every: float | int = 0.5
    start: float | int = 0.0
    stop: float | int | None = None
    region: Float[np.ndarray, "P 2"] | None = None


@dataclasses.dataclass(frozen=True)
class Footage:
    """A video, the tracks of its people, and what its match is called.

    Attributes:
      video: as `open_video` gives it.
      tracks: where its people are.
      match: what its match is called in the index.
      keep: whether the tracks are new, so that they are to be kept with the index.
      labels: what is done in it when; empty if nobody labelled it.
    """

    video: VideoFile
    tracks: Tracks
    match: str
    keep: bool = False
    labels: Sequence[Label] = ()


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
    footage: float | int
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


class Archive:
    """An index for the codes of a model, which is made when the first clip is there.

    Attributes:
      uri: where it is.
      index: what is there; None as long as there is nothing.
      encoder: the model, adapted to the index.
    """

    def __init__(
        self, run: epath.PathLike, encoder: Encoder, uri: epath.PathLike, cutting: Cutting
    ):
        """Opens the index that is there.

        Args:
          run: the model's run.
          encoder: the model.
          uri: where the index is, or is to be.
          cutting: how the videos are cut.

        Raises:
          UserError: the index there is of another model or rate, or the model takes what is in no
            video.
        """
        frame_size(encoder)
        self.uri, self.encoder = str(uri), encoder
        self.index: Index | None = None
        self._origin = origin_of(run, encoder) | {RATE: cutting.rate, EVERY: cutting.every}
        self._cutting = cutting
        if Index.exists(uri):
            self._open()

    def made(self) -> Index:
        """Gives the index, which it makes if there is none.

        Raises:
          UserError: it cannot be made, or another process has made one of another model or rate.
        """
        if self.index is None:
            try:
                self.index = Index.create(self.uri, **self.encoder.code_format, origin=self._origin)
            except Exists:  # another job of the same array was quicker
                return self._open()
        return self.index

    def _open(self) -> Index:
        index = Index.open(self.uri)
        _check_same(index, self.encoder, self._cutting)
        self.index, self.encoder = index, self.encoder.adapted(index.adaptation)
        return index


def _check_same(index: Index, encoder: Encoder, cutting: Cutting) -> None:
    """Checks that an index has the codes of a model, of clips with the same rate.

    Raises:
      UserError: it has not.
    """
    check_visual(index, encoder)
    there = index.info.origin.get("checkpoint")
    if there != encoder.name:
        raise UserError(
            f"{index.uri} holds codes of checkpoint {there}, and this model is {encoder.name}; "
            "give another place, or delete it"
        )
    rate = index.info.origin.get(RATE, cutting.rate)
    if rate != cutting.rate:
        raise UserError(
            f"the clips in {index.uri} have {rate:g} frames per second, not {cutting.rate:g}; give "
            f"--fps {rate:g}, or another place"
        )


def index_video(
    archive: Archive,
    footage: Footage,
    cutting: Cutting,
    *,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Adds the clips of a video to an index; those that are there are left as they are.

    Where the video was moved since they were added, they are first told its new place.

    The next clips are made while the model encodes the last. Nothing is written, and no index is
    made, before there is a clip.

    Args:
      archive: the index, and the model.
      footage: the video.
      cutting: how it is cut.
      report: called with a line for each kind of thing that was left out.
      progress: called with how many windows are done, and how many there are.

    Raises:
      UserError: another video of the same name is in the index, or this one cannot be read, or
        has no clip, or a label is beyond its end.
    """
    for label in footage.labels:
        check_in_video(label, footage.video)
    held, before = _held(archive, footage, cutting)
    count = _count_windows(archive.encoder, footage, cutting)
    begun, lines = time.perf_counter(), []
    if before is not None:
        moved_videos.move(archive.made(), footage.match, media_of(footage.video.path))
        lines.append(f"was moved from {printable(before)}; the index knows its new place now")
    adding = _Adding(archive, footage)
    with Ahead(_batches(archive.encoder, footage, cutting, held, lines.append)) as batches:
        for batch in batches:
            adding.take(batch)
            if progress:
                progress(_windows_until(batch, cutting), count)
        adding.write()
    if not (adding.added or held):
        raise UserError(f"{footage.video.path} has no clip: {'; '.join(lines)}")
    if report:
        for line in lines:
            report(line)
    if progress:
        progress(count, count)
    return Indexed(
        added=adding.added,
        held=len(held),
        windows=count,
        footage=adding.added * cutting.every,
        seconds=time.perf_counter() - begun,
        waited=batches.waited,
    )


def _held(archive: Archive, footage: Footage, cutting: Cutting) -> tuple[set[str], str | None]:
    """Names the clips of a video that are in the index.

    Returns:
      Their names, and where the video was before, if it was moved.

    Raises:
      UserError: they are of another video, or no match can be called so.
    """
    match = footage.match
    if printable(match) != match or len(match) > LONGEST_NAME:
        raise UserError(
            f"no match can be called {shown(match)}; rename the file, with at most {LONGEST_NAME} "
            "characters that can be printed"
        )
    if archive.index is None:
        return set(), None
    table = archive.index.clips(f"match = {quoted(match)}")
    others = set(table["media"].to_pylist()) - {media_of(footage.video.path)}
    before = None
    if others:
        before = moved_videos.check_moved(
            archive.index, match, footage.video, table, others, rate=cutting.rate
        )
    return set(table["clip"].to_pylist()), before


def _count_windows(encoder: Encoder, footage: Footage, cutting: Cutting) -> int:
    """Counts the windows of a video.

    Raises:
      UserError: there is none.
    """
    num_frames, video = encoder.config.model.num_frames, footage.video
    chosen = windows(
        video.times,
        num_frames=num_frames,
        rate=cutting.rate,
        every=cutting.every,
        start=cutting.start,
        stop=cutting.stop,
    )
    if not len(chosen):
        until = video.duration if cutting.stop is None else min(cutting.stop, video.duration)
        raise UserError(
            f"{video.path} has no {num_frames} frames at {cutting.rate:g} per second from "
            f"{clock_tenths(cutting.start)} to {clock_tenths(until)}"
        )
    return len(chosen)


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

    def __init__(self, archive: Archive, footage: Footage):
        self._archive, self._footage = archive, footage
        self._encoded: list[EncodedClips] = []
        self._times: list[Any] = []
        self._since, self.added = time.perf_counter(), 0

    def take(self, batch: FootageBatch) -> None:
        """Encodes a batch."""
        valid = np.asarray(batch.clips.clip_mask, bool)
        self._encoded.append(encode_clips(self._archive.encoder, [batch.clips]))
        self._times.append(np.stack([batch.start, batch.stop])[:, valid])
        waiting = sum(map(len, self._encoded))
        if waiting >= _CLIPS_AT_ONCE or time.perf_counter() - self._since > _SECONDS:
            self.write()

    def write(self) -> None:
        """Adds what was encoded; with the first clips the tracks are kept."""
        if self._encoded:
            index, footage = self._archive.made(), self._footage
            if footage.keep and not self.added:
                kept_tracks.keep(index.uri, footage.match, footage.tracks, footage.video)
            encoded = EncodedClips.concatenate(self._encoded)
            start, stop = np.concatenate(self._times, axis=1)
            predicted, confidence = predictions(self._archive.encoder, encoded)
            index.add(
                encoded.codes,
                match=footage.match,
                clip=encoded.clip.tolist(),
                start=start,
                stop=stop,
                predicted=predicted,
                confidence=confidence,
                activity=activities_of(footage.labels, start, stop),
                media=media_of(footage.video.path),
            )
            self.added += len(encoded)
        self._encoded, self._times, self._since = [], [], time.perf_counter()
