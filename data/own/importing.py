"""Makes a prepared set of one's own videos, tracks and labels; no TensorFlow."""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data.own.clips import Cutting, Footage, OwnClip, cut, cut_without_labels
from data.variants import DATASETS
from stvh_jax import digests
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.fields import check_folder_name, check_number, check_whole
from stvh_jax.names import LONGEST_NAME, natural_key
from stvh_jax.unknown import NO_ACTIVITIES
from stvh_jax.video import own_files
from stvh_jax.video.footage import open_video
from stvh_jax.video.labels import Label, class_names, read_labels
from stvh_jax.video.people import TrackedPeople
from stvh_jax.video.tracks import Tracks
from stvh_jax.video.windows import repeating


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is imported.

    Attributes:
      videos: paths of videos, or patterns of them.
      tracks: the path of the tracks of a video, with `{match}` for its name.
      labels: the table of labels; None for clips without any.
      name: of the set.
      image_size: height and width of its frames; None for boxes alone.
      cutting: how videos are cut, its `split_by` "" for the default.
      min_confidence: see `read_tracks`.
      first_frame: likewise.
    """

    videos: Sequence[str]
    tracks: str
    labels: pathlib.Path | None
    name: str = "own"
    image_size: tuple[int, int] | None = None
    cutting: Cutting = Cutting()
    min_confidence: float = 0.0
    first_frame: int | None = None

    @property
    def variant(self) -> str:
        """The variant that the set is prepared in."""
        return "boxes_only" if self.image_size is None else "frames"


@dataclasses.dataclass(frozen=True)
class OwnSet:
    """The clips of a set, and what they are made from.

    Attributes:
      clips: by video and time.
      footage: the videos by name.
      activities: in the order of their numbers; a single one that no clip has without labels.
      actions: likewise, also where the table has none.
      cutting: how the videos were cut.
      image_size: of frames; None for boxes alone.
      sources: what tells whether another import makes the same.
    """

    clips: Sequence[OwnClip]
    footage: Mapping[str, Footage]
    activities: tuple[str, ...]
    actions: tuple[str, ...]
    cutting: Cutting
    image_size: tuple[int, int] | None
    sources: Mapping[str, Any]


def read_set(asked: Asked, report: Callable[[str], None]) -> OwnSet:
    """Reads labels, videos and tracks, and cuts the videos into clips.

    Args:
      asked: what, and how.
      report: called with lines about what was mended or left out, and how many clips there are.

    Raises:
      UserError: a file is missing or malformed, or they do not fit each other; one line says it.
    """
    _check(asked)
    paths = _find_videos(asked.videos)
    own_files.check_tracks_of_each(asked.tracks, len(paths))
    labels = []
    if asked.labels is not None:
        labels = read_labels(asked.labels, [path.name for path in paths.values()])
    cutting = dataclasses.replace(asked.cutting, split_by=_split_by(asked.cutting, labels, paths))
    wanted = paths
    if labels and not cutting.unlabelled:
        wanted = {label.video: paths[label.video] for label in labels}
    footage, digest = {}, {}
    for name in sorted(wanted, key=natural_key):
        video = open_video(paths[name], report=report)
        tracks = own_files.tracks_of(
            video,
            asked.tracks,
            min_confidence=asked.min_confidence,
            first_frame=asked.first_frame,
            report=report,
        )
        footage[name] = Footage(video, TrackedPeople.of(tracks))
        digest[name] = [paths[name].stat().st_size, _digest(tracks)]
        for line in repeating(video, cutting.rate):
            report(line)
    if labels:
        clips = cut(labels, footage, cutting, report)
    else:
        clips = cut_without_labels(footage, cutting, report)
    activities, actions = class_names(labels)
    for line in _table(clips):
        report(line)
    sources = {
        "labels": None if asked.labels is None else digests.of_file(asked.labels),
        "videos and tracks": digest,
        "options": dataclasses.asdict(cutting) | {"image size": _listed(asked.image_size)},
    }
    return OwnSet(
        clips,
        footage,
        activities or NO_ACTIVITIES,
        actions or ("person",),
        cutting,
        asked.image_size,
        sources,
    )


def _listed(size: tuple[int, int] | None) -> list[int] | None:
    return None if size is None else list(size)


def _check(asked: Asked) -> None:
    """Checks the numbers and the name that are asked for.

    Raises:
      UserError: one cannot be.
    """
    check_folder_name("--name", asked.name)
    if asked.name in DATASETS:
        raise UserError(f"--name {asked.name} is the name of a published data set; give another")
    for side in asked.image_size or ():
        check_whole("a side of --image-size", side, low=16, high=8192)
    cutting = asked.cutting
    check_whole("--num-frames", cutting.num_frames, low=1, high=1024)
    check_whole("--num-actors", cutting.num_actors, low=1, high=1024)
    check_whole("--seed", cutting.seed, low=0, high=2**32 - 1)
    for option, value in (("--fps", cutting.rate), ("--every", cutting.every)):
        check_number(option, value, high=1e4, positive=True)
    check_number("--gap", cutting.gap, high=1e6)
    if asked.labels is None and cutting.unlabelled:
        raise UserError(
            "--unlabelled adds clips to those of --labels; without labels all clips are taken: "
            "leave it out"
        )
    if asked.labels is None and cutting.split_by == "column":
        raise UserError(
            "--split-by column reads a column of --labels; give these, or --split-by video or time"
        )


def _find_videos(patterns: Sequence[str]) -> dict[str, pathlib.Path]:
    """Finds video files by their names without endings.

    Raises:
      NotFound: there is no such file.
      UserError: two have the same name, or no match can be called so.
    """
    paths = {path.stem: path for path in own_files.find_videos(patterns)}
    for name, path in paths.items():
        if not path.is_file():
            raise NotFound(f"there is no video {path}")
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise UserError(f"{shown(name)} cannot be the name of a match; rename it")
    return paths


def _split_by(cutting: Cutting, labels: Sequence[Label], videos: Collection[str]) -> str:
    """Chooses how the labels are divided, or without any the videos, where that is not said.

    Raises:
      UserError: it cannot be done as is asked.
    """
    has_column = bool(labels and labels[0].split)
    divided = {label.video for label in labels} if labels else videos
    asked = cutting.split_by or ("column" if has_column else "")
    if asked == "column" and not has_column:
        raise UserError("--split-by column: no column of the labels is called split; add one")
    if asked == "video" and len(divided) < 3:
        of_what = "labels of three videos" if labels else "three videos"
        raise UserError(
            f"--split-by video needs {of_what} or more, and there are {len(divided)}; use "
            "--split-by time"
        )
    return asked or ("video" if len(divided) >= 3 else "time")


def _digest(tracks: Tracks) -> str:
    hashed = hashlib.sha256()
    for array in (tracks.frames, tracks.people, tracks.boxes):
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def _table(clips: Sequence[OwnClip]) -> Iterator[str]:
    """Counts the clips of each split by activity."""
    counts = collections.Counter((clip.split, clip.activity) for clip in clips)
    for split in dict.fromkeys(clip.split for clip in clips):
        own = {activity: n for (one, activity), n in counts.items() if one == split and activity}
        listed = [f"{name} {own[name]}" for name in sorted(own, key=natural_key)]
        yield f"{split}: {', '.join(listed) or counts[split, None]}"
