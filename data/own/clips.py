"""The clips of one's own videos: windows within labels, and of what nobody labelled."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int64

from data.own import splits
from stvh_jax import times
from stvh_jax.errors import UserError, shown
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.labels import Label, check_in_video
from stvh_jax.video.people import TrackedPeople, numbered_people_of
from stvh_jax.video.windows import windows

UNLABELLED = "unlabelled"


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How videos are cut into clips, and these divided into splits.

    Attributes:
      num_frames: T.
      num_actors: N.
      rate: frames per second.
      every: seconds between the beginnings of clips.
      split_by: "video", "time" or "column".
      gap: seconds that are left out between splits.
      seed: of the draw of videos.
      unlabelled: whether there are clips of what has no label.
    """

    num_frames: int = 10
    num_actors: int = 12
    rate: float = 25.0
    every: float = 0.5
    split_by: str = "video"
    gap: float = 10.0
    seed: int = 0
    unlabelled: bool = False

    @property
    def length(self) -> float:
        """How long a clip is, in seconds."""
        return self.num_frames / self.rate


@dataclasses.dataclass(frozen=True)
class Footage:
    """A video and the people in it.

    Attributes:
      video: the file, read without decoding.
      people: where they are.
    """

    video: VideoFile
    people: TrackedPeople


@dataclasses.dataclass(frozen=True)
class OwnClip:
    """A clip, without its pixels.

    Attributes:
      match: the name of the video.
      clip: when it begins, in milliseconds.
      split: where it belongs.
      activity: what the group does; None where that is not known.
      frames: numbers of its frames in the video.
      boxes: of the n people.
      actions: what each of them does; None where that is not known.
      tracked: whether the people were followed.
    """

    match: str
    clip: str
    split: str
    activity: str | None
    frames: Int64[np.ndarray, "T"]
    boxes: Float32[np.ndarray, "T n 4"]
    actions: tuple[str | None, ...]
    tracked: bool


def cut(
    labels: Sequence[Label],
    footage: Mapping[str, Footage],
    cutting: Cutting,
    report: Callable[[str], None],
) -> list[OwnClip]:
    """Cuts videos into clips, by video and time.

    Args:
      labels: what is done when.
      footage: the videos by name.
      cutting: how.
      report: called with a line for each kind of thing that was left out.

    Raises:
      UserError: a label does not fit its video, or an activity has no clip to train on.
    """
    for label in labels:
        _check(label, footage[label.video], cutting)
    drawn = splits.by_video(labels, cutting.seed) if cutting.split_by == "video" else {}
    counts: collections.Counter[str] = collections.Counter()
    clips: list[OwnClip] = []
    for name, one in footage.items():
        own = [label for label in labels if label.video == name]
        clips += _labelled(own, one, cutting, drawn, counts)
        if cutting.unlabelled:
            clips += _unlabelled(own, name, one, cutting, drawn, counts)
    for line in _left_out(counts, cutting):
        report(line)
    _refuse_untrained(labels, clips, cutting)
    return clips


def cut_without_labels(
    footage: Mapping[str, Footage], cutting: Cutting, report: Callable[[str], None]
) -> list[OwnClip]:
    """Cuts whole videos into clips of unknown activity, by video and time.

    Args:
      footage: the videos by name.
      cutting: how; by "video" or "time".
      report: called with a line for each kind of thing that was left out.

    Raises:
      UserError: a video is shorter than a clip, or no clip is left to train on.
    """
    drawn = {}
    if cutting.split_by == "video":
        drawn = splits.without_labels(footage, cutting.seed)
    counts: collections.Counter[str] = collections.Counter()
    clips: list[OwnClip] = []
    for name, one in footage.items():
        _check_length(one.video, cutting)
        ends = (1 - splits.SHARE) * one.video.duration, math.inf
        for begin, frames in _begins(one.video, cutting, 0.0, one.video.duration):
            split = drawn.get(name) or splits.in_time(
                begin, begin + cutting.length, ends, cutting.gap
            )
            if not split:
                counts["gap"] += 1
                continue
            clip = _clip((name, _name(begin), split, None), frames, one, cutting, {}, counts)
            clips += [] if clip is None else [clip]
    for line in _left_out(counts, cutting):
        report(line)
    if not any(clip.split == splits.SPLITS[0] for clip in clips):
        raise UserError(
            "there is no clip to train on: nobody is tracked in the part for training, or it is "
            f"shorter than the gap; give longer videos, or lower --gap {cutting.gap:g}"
        )
    return clips


def _check_length(video: VideoFile, cutting: Cutting) -> None:
    """Refuses a video that is shorter than a clip.

    Raises:
      UserError: it is.
    """
    if video.times[-1] < (cutting.num_frames - 1) / cutting.rate:
        raise UserError(
            f"{video.path} is shorter than a clip of {cutting.num_frames} frames at "
            f"{cutting.rate:g} per second; lower --num-frames or leave it out"
        )


def _check(label: Label, footage: Footage, cutting: Cutting) -> None:
    """Refuses a label that its video, or its tracks, do not fit.

    Raises:
      UserError: says which.
    """
    video = footage.video
    check_in_video(label, video)
    _check_length(video, cutting)
    if label.actions and not footage.people.tracked:
        raise UserError(
            f"{label.place}: actions need the numbers of a tracker, and the people of "
            f"{video.path.name} have none; leave the actions out"
        )
    for person in label.actions:
        frames = footage.people.frames[footage.people.people == person]
        frames = frames[frames < len(video)]
        seen = video.times[frames]
        if not ((seen >= label.start) & (seen <= label.stop)).any():
            raise UserError(
                f"{label.place}: person {person} is not in {video.path.name} from "
                f"{times.clock_tenths(label.start)} to {times.clock_tenths(label.stop)}; see its "
                "tracks"
            )


def _begins(
    video: VideoFile, cutting: Cutting, start: float, stop: float
) -> Iterator[tuple[float, Int64[np.ndarray, "T"]]]:
    """Gives when windows begin, and their frames; the middle one where a span is too short."""
    shape = {"num_frames": cutting.num_frames, "rate": cutting.rate, "every": cutting.every}
    chosen = windows(video.times, start=start, stop=stop, **shape)
    if not len(chosen):
        last = float(video.times[-1]) - (cutting.num_frames - 1) / cutting.rate
        start = min(max((start + stop - cutting.length) / 2, 0.0), last)
        chosen = windows(video.times, start=max(start, 0.0), **shape)[:1]
    for place, frames in enumerate(chosen):
        yield start + place * cutting.every, frames


def _labelled(
    labels: Sequence[Label],
    footage: Footage,
    cutting: Cutting,
    drawn: Mapping[str, str],
    counts: collections.Counter[str],
) -> list[OwnClip]:
    """Cuts the labels of a video into clips, each once."""
    ends = splits.cuts(labels) if cutting.split_by == "time" and labels else (0.0, 0.0)
    clips: dict[str, OwnClip] = {}
    for label in sorted(labels, key=lambda label: label.start):
        for begin, frames in _begins(footage.video, cutting, label.start, label.stop):
            split = label.split if cutting.split_by == "column" else drawn.get(label.video, "")
            if cutting.split_by == "time":
                split = splits.in_time(begin, begin + cutting.length, ends, cutting.gap)
            if not split:
                counts["gap"] += 1
                continue
            named = (label.video, _name(begin), split, label.activity)
            clip = _clip(named, frames, footage, cutting, label.actions, counts)
            if clip is not None:
                clips.setdefault(clip.clip, clip)
    return list(clips.values())


def _unlabelled(
    labels: Sequence[Label],
    name: str,
    footage: Footage,
    cutting: Cutting,
    drawn: Mapping[str, str],
    counts: collections.Counter[str],
) -> Iterator[OwnClip]:
    """Cuts what has no label into clips; what is near clips that judge a model is left out."""
    video, spans = footage.video, np.array([(one.start, one.stop) for one in labels])
    spans = spans.reshape(-1, 2)
    held_out = np.array([one.split not in ("", splits.SPLITS[0]) for one in labels], bool)
    latest = math.inf
    if drawn.get(name, splits.SPLITS[0]) != splits.SPLITS[0]:
        return
    if cutting.split_by == "time" and labels:
        latest = splits.cuts(labels)[0] - cutting.gap / 2
    if cutting.split_by == "column" and len(labels) and held_out.all():
        return
    for begin, frames in _begins(video, cutting, 0.0, video.duration):
        end = begin + cutting.length
        apart = cutting.split_by != "column" or splits.is_apart(
            begin, end, spans[held_out], cutting.gap
        )
        if end <= latest and apart and splits.is_apart(begin, end, spans, 0.0):
            clip = _clip(
                (name, _name(begin), UNLABELLED, None), frames, footage, cutting, {}, counts
            )
            if clip is not None:
                yield clip


def _name(begin: float) -> str:
    """Names a clip as those are named that a video is searched by (stvh_jax/video/batches.py)."""
    return str(math.floor(1000 * begin + 0.5))


def _clip(
    named: tuple[str, str, str, str | None],
    frames: Int64[np.ndarray, "T"],
    footage: Footage,
    cutting: Cutting,
    actions: Mapping[int, str],
    counts: collections.Counter[str],
) -> OwnClip | None:
    """Makes the clip of a window; None where nobody is in it."""
    found = numbered_people_of(footage.people, frames, most=cutting.num_actors)
    if not len(found.numbers):
        counts["empty"] += 1
        return None
    counts["crowded"] += found.left_out > 0
    done = tuple(actions.get(person) for person in found.numbers.tolist())
    return OwnClip(*named, frames, found.boxes, done, footage.people.tracked)


def _left_out(counts: collections.Counter[str], cutting: Cutting) -> Iterator[str]:
    texts = {
        "gap": f"{{}} clips lie within {cutting.gap:g} seconds between two splits: left out",
        "empty": "{} clips have nobody in them: left out",
        "crowded": f"{{}} clips have more than {cutting.num_actors} people: the rest is left out",
    }
    for kind, text in texts.items():
        if counts[kind]:
            yield text.format(counts[kind])


def _refuse_untrained(labels: Sequence[Label], clips: Sequence[OwnClip], cutting: Cutting) -> None:
    """Refuses an activity that nothing is trained on.

    Raises:
      UserError: names it and where its labels are.
    """
    trained = {clip.activity for clip in clips if clip.split == splits.SPLITS[0]}
    for label in labels:
        if label.activity not in trained:
            where = {clip.split for clip in clips if clip.activity == label.activity}
            there = f"only some in {' and '.join(sorted(where))}" if where else "none at all"
            cure = {
                "video": "label it in a second video, or divide by --split-by time",
                "time": "label an earlier moment, lower --gap, or add a column split",
                "column": "give one of its labels the split train",
            }
            raise UserError(
                f"{label.place}: activity {shown(label.activity)} has no training example, "
                f"{there}; {cure[cutting.split_by]}"
            )
