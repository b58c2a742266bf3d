"""The Collective Activity datasets' files on disk, as their authors lay them out; no TensorFlow.

ActivityDataset/seq<NN>/annotations.txt   people of every tenth frame
ActivityDataset/seq<NN>/frame<NNNN>.jpg   frames, from 1 on
ActivityDataset2/seq<NN>/...              the further sequences of the Extended set
ActivityTracks/track<N>.dat               tracks, optional; the folder may be called tracks
splits.json                               in place of the named splits, optional

Sequence 7 is the folder seq07 with the tracks track7.dat. With a `splits.json`, a sequence may have
any other name, which is that of its folder, and its tracks are <name>.dat.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from data.annotations import ClipAnnotation, ClipFormat, Scan
from data.collective_activity import constants
from data.collective_activity.annotations import (
    KeyFrame,
    majority,
    scan_collective_annotations,
)
from data.collective_activity.tracks import parse_collective_tracks
from data.raw import RawClips, corner_scale, find_in, named, named_splits, read_splits
from data.tracks import Tracks
from stvh_jax.errors import NotFound, UserError

_FOLDERS = ("ActivityDataset", "ActivityDataset2")


@dataclasses.dataclass(frozen=True, eq=False)
class RawCollective(RawClips):
    """A folder that holds Collective Activity or its Extended set, or footage in their layout.

    Attributes:
      num_classes: the number of classes in the files.
      label: makes a clip of a key frame; None if it makes none.
      known_lengths: sequence -> number of frames, where this is known without images.
    """

    num_classes: int
    label: Callable[[KeyFrame], ClipAnnotation | None]
    known_lengths: Mapping[str, int]

    match_name = "sequence"

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _sequence(self, match: str) -> pathlib.Path:
        """Returns the folder of a sequence, or the place where it should be.

        Raises:
          UserError: there are two.
        """
        names = dict.fromkeys([_folder_name(match), match])
        places = [self.folder / top / name for name in names for top in (*_FOLDERS, "")]
        found = [place for place in places if (place / "annotations.txt").exists()]
        if len(found) > 1:
            raise UserError(f"{found[0]} and {found[1]} are the same sequence; remove one of them")
        return (found or [place for place in places if place.exists()] or places)[0]

    def annotation_path(self, match: str) -> pathlib.Path:
        """Returns the path of the sequence's annotations, whether or not they exist."""
        return self._sequence(match) / "annotations.txt"

    def scan(self, match: str) -> Scan:
        """Reads the sequence's clips, and collects the errors of its bad lines.

        A key frame makes a clip if the sequence has all T frames around it and it has a label.

        Raises:
          NotFound: the sequence has no annotations.
        """
        path = self.annotation_path(match)
        key_frames, problems = scan_collective_annotations(path, num_classes=self.num_classes)
        length = self.num_frames(match) if key_frames else 0
        whole = [
            key_frame
            for key_frame in key_frames
            if self.clip_frames(key_frame.frame).start >= 1
            and self.clip_frames(key_frame.frame).stop - 1 <= length
        ]
        clips = [clip for key_frame in whole if (clip := self.label(key_frame))]
        return self.check_crowd(path, Scan(clips, problems, key_frames=len(key_frames)))

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def num_frames(self, match: str) -> int:
        """Returns the number of frames of a sequence.

        For an official sequence it is known, so that no clip is lost unnoticed where files are
        missing. For others, and where there are more images, it is the number of the last image.

        Raises:
          UserError: a sequence that is not an official one has no image.
        """
        images, known = self._images(match), self.known_lengths.get(match, 0)
        if not images and not known:
            raise UserError(
                f"{self._sequence(match)}: no frame<NNNN>.jpg to tell how long the sequence is"
            )
        return max([known, *images])

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _images(self, match: str) -> dict[int, pathlib.Path]:
        """Finds the images of a sequence, by their numbers."""
        found = {}
        for path in sorted(self._sequence(match).glob("frame*.jpg")):
            if name := re.fullmatch(r"frame([0-9]{1,20})", path.stem):
                found.setdefault(int(name[1]), path)
        return found

    def frame_path(self, match: str, clip: str, frame: int) -> pathlib.Path:
        """Returns the path of a frame of the sequence, whether or not it exists."""
        named = self._sequence(match) / f"frame{frame:04d}.jpg"
        return named if named.exists() else self._images(match).get(frame, named)

    def any_image(self, match: str) -> pathlib.Path | None:
        """Returns some image of a sequence, None if there is none."""
        return next(iter(self._images(match).values()), None)

    @functools.cached_property
    def _track_folder(self) -> pathlib.Path | None:
        return find_in([self.folder], "ActivityTracks", "tracks")

    def has_tracks(self) -> bool:
        """Says whether there are tracks of any sequence."""
        return self._track_folder is not None

    def tracks(self, match: str, clip: str) -> Tracks | None:
        """Returns the tracks of the clip's sequence in 0..1 of the frame, None if it has none.

        Raises:
          Damaged: the track file is malformed.
        """
        return self._sequence_tracks(match)

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _sequence_tracks(self, match: str) -> Tracks | None:
        path = self._track_path(match)
        if path is None:
            return None
        tracks = parse_collective_tracks(path)
        boxes = tracks.boxes / corner_scale(self.frame_size(match))
        return dataclasses.replace(tracks, boxes=boxes)

    def _track_path(self, match: str) -> pathlib.Path | None:
        names = [f"{match}.dat"]
        if number := re.fullmatch(r"(?:seq)?0*([0-9]{1,9})", match):
            names.append(f"track{number[1]}.dat")
        return self._track_folder and find_in([self._track_folder], *names)

    def track_paths(self, match: str, clips: Sequence[ClipAnnotation]) -> list[pathlib.Path]:
        """Returns the sequence's track file, if it has one."""
        path = self._track_path(match)
        return [] if path is None else [path]


def label_four_or_five(key_frame: KeyFrame, *, classes: str) -> ClipAnnotation | None:
    """Labels a clip of Collective Activity: the activity is what most people do, except NA.

    With `classes="four"` crossing and walking are one class, moving, before the vote. Returns None
    if everybody is NA.
    """
    actions = [constants.CLASSES[number - 1] for number in key_frame.classes]
    if classes == "four":
        actions = [constants.MERGED.get(action, action) for action in actions]
    activity = majority([action for action in actions if action != "na"])
    if activity is None:
        return None
    return ClipAnnotation(
        clip=str(key_frame.frame),
        frame=key_frame.frame,
        activity=activity,
        boxes=key_frame.boxes,
        actions=tuple(actions),
        line=key_frame.line,
    )


def clip_format(
    *, classes: str = "four", window: str = "forward", split: str = "din"
) -> ClipFormat:
    """Returns what the clips have in common; it does not depend on the split."""
    return ClipFormat(
        activities=constants.ACTIVITIES[classes],
        actions=constants.ACTIONS[classes],
        max_actors=constants.MAX_ACTORS,
        key_frame=constants.FRAMES_BEFORE_KEY[window],
    )


def open_raw(
    root: str | pathlib.Path, *, classes: str = "four", split: str = "din", window: str = "forward"
) -> RawCollective:
    """Opens the folder of the raw data set: the one that holds `ActivityDataset/`, or that itself.

    A `splits.json` there, `{"train": [sequences], "validation": [...], "test": [...],
    "key_frames": N}`, replaces the named split and the official counts; then the sequences may have
    any names.

    Args:
      root: the folder.
      classes: "four" activities, crossing and walking joined as moving, or "five".
      split: a name of `constants.SPLITS`.
      window: "forward", the clip is the frames key..key+9, or "centred", key-5..key+4.

    Raises:
      NotFound: there are no sequences.
      Damaged: `splits.json` is malformed.
      UserError: there is a `splits.json` and another split than the default was asked for.
    """
    return open_sequences(
        root,
        split_chosen=split != constants.OPTIONS["split"][0],
        splits=named_splits(constants.SPLITS[split]),
        count=constants.NUM_KEY_FRAMES,
        form=clip_format(classes=classes, window=window),
        known_sizes=named(constants.FRAME_SIZES),
        clip_counts=constants.CLIP_COUNTS[classes, split, window],
        action_counts=constants.ACTION_COUNTS[classes, window],
        num_classes=constants.NUM_CLASSES,
        label=functools.partial(label_four_or_five, classes=classes),
        known_lengths=named(constants.SEQUENCE_LENGTHS),
    )


def open_sequences(
    root: str | pathlib.Path, *, split_chosen: bool = False, **official
) -> RawCollective:
    """Opens a folder of sequences with the fields of the official set, or of its `splits.json`.

    Args:
      root: the folder.
      split_chosen: whether a split other than the default was asked for.
      **official: the fields of `RawCollective` for the official set.

    Raises:
      NotFound: there are no sequences.
      Damaged: `splits.json` is malformed.
      UserError: there is a `splits.json` and `split_chosen`, or it names a sequence twice.
    """
    root = pathlib.Path(os.path.abspath(root))
    # The folder that holds ActivityDataset/, so that its neighbour ActivityDataset2/ is found.
    folder = root.parent if root.name in _FOLDERS else root
    path = find_in([folder, *(folder / name for name in _FOLDERS)], "splits.json")
    sequences = "*/annotations.txt" if path else "seq*"
    if not any(any((folder / name).glob(sequences)) for name in ("", *_FOLDERS)):
        raise NotFound(
            f"{root}: found no ActivityDataset/seq<NN>/; give the folder that holds "
            "ActivityDataset/"
        )
    fields = {"folder": folder, "official": True, **official}
    if path and split_chosen:
        raise UserError(f"{path} has other splits; remove it or leave --split out")
    if path:
        splits, count = read_splits(path, "key_frames")
        _refuse_twice(path, itertools.chain(*splits.values()))
        fields |= {"splits": splits, "count": count, "official": False}
        fields |= dict.fromkeys(
            ("known_sizes", "known_lengths", "clip_counts", "action_counts"), {}
        )
    return RawCollective(**fields)


def _folder_name(match: str) -> str:
    """Returns the name of a sequence's folder; that of a number is as the archives have it."""
    return f"seq{int(match):02d}" if re.fullmatch("[0-9]{1,9}", match) else match


def _refuse_twice(path: pathlib.Path, matches: Iterable[str]) -> None:
    """Raises an error if two names in a `splits.json` are of one sequence, as 7, 07 and seq07."""
    names: dict[str, str] = {}
    for match in matches:
        folder = _folder_name(match)
        if (other := names.setdefault(folder, match)) != match:
            raise UserError(f"{path}: {other} and {match} are both {folder}; list it once")
