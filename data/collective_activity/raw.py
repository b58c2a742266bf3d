"""The Collective Activity datasets' files on disk, as their authors lay them out; no TensorFlow.

ActivityDataset/seq<NN>/annotations.txt   people of every tenth frame
ActivityDataset/seq<NN>/frame<NNNN>.jpg   frames, from 1 on
ActivityDataset2/seq<NN>/...              the further sequences of the Extended set
ActivityTracks/track<N>.dat               tracks, optional; the folder may be called tracks
splits.json                               in place of the named splits, optional
"""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Callable

from data.annotations import ClipAnnotation, ClipFormat, KeyFrame, Scan, majority
from data.collective_activity import constants
from data.collective_activity.annotations import scan_collective_annotations
from data.collective_activity.tracks import parse_collective_tracks
from data.raw import RawClips, corner_scale, find_in, read_splits
from data.tracks import Tracks
from stvh_jax.errors import UserError

_FOLDERS = ("ActivityDataset", "ActivityDataset2")


@dataclasses.dataclass(frozen=True, eq=False)
class RawCollective(RawClips):
    """A folder that holds Collective Activity or its Extended set, or a set in their layout.

    Attributes:
      num_classes: of the files.
      label: makes a clip of a key frame; None if it makes none.
      known_lengths: frames of the sequences that need no images to tell.
    """

    num_classes: int
    label: Callable[[KeyFrame], ClipAnnotation | None]
    known_lengths: dict[int, int]

    match_name = "sequence"

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _sequence(self, match: int) -> pathlib.Path:
        """Returns the folder of a sequence; where it should be, if there is none.

        Raises:
          UserError: there are two.
        """
        places = [self.folder / name / f"seq{match:02d}" for name in (*_FOLDERS, "")]
        found = [place for place in places if (place / "annotations.txt").exists()]
        if len(found) > 1:
            raise UserError(f"{found[0]} and {found[1]} are the same sequence; remove one of them")
        return (found or [place for place in places if place.exists()] or places)[0]

    def annotation_path(self, match: int) -> pathlib.Path:
        """Returns where the sequence's annotations are, whether or not they exist."""
        return self._sequence(match) / "annotations.txt"

    def scan(self, match: int) -> Scan:
        """Reads the sequence's clips, and collects the errors of its bad lines.

        A key frame makes a clip if the sequence has all T frames around it and it has a label.

        Raises:
          UserError: if the sequence has no annotations.
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
    def num_frames(self, match: int) -> int:
        """Returns how many frames a sequence has.

        It is known of the official sequences, so that missing files cost no clip unnoticed; of
        others, and where there are more, it is the number of the last image.

        Raises:
          UserError: there is no image of a sequence that is not an official one.
        """
        images, known = self._images(match), self.known_lengths.get(match, 0)
        if not images and not known:
            raise UserError(
                f"{self._sequence(match)}: no frame<NNNN>.jpg to tell how long the sequence is"
            )
        return max([known, *images])

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _images(self, match: int) -> dict[int, pathlib.Path]:
        """Finds the images of a sequence, by their numbers."""
        found = {}
        for path in sorted(self._sequence(match).glob("frame*.jpg")):
            if name := re.fullmatch(r"frame(\d+)", path.stem):
                found[int(name[1])] = path
        return found

    def frame_path(self, match: int, clip: int, frame: int) -> pathlib.Path:
        """Returns where a frame of the sequence is, whether or not it exists."""
        return self._sequence(match) / f"frame{frame:04d}.jpg"

    def any_image(self, match: int) -> pathlib.Path | None:
        """Returns some image of a sequence, None if there is none."""
        return next(iter(self._images(match).values()), None)

    @functools.cached_property
    def _track_folder(self) -> pathlib.Path | None:
        return find_in([self.folder], "ActivityTracks", "tracks")

    def has_tracks(self) -> bool:
        """Says whether there are tracks of any sequence."""
        return self._track_folder is not None

    def tracks(self, match: int, clip: int) -> Tracks | None:
        """Returns the tracks of the clip's sequence in 0..1 of the frame, None if it has none.

        Raises:
          UserError: if the track file is malformed.
        """
        return self._sequence_tracks(match)

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def _sequence_tracks(self, match: int) -> Tracks | None:
        path = self._track_folder and self._track_folder / f"track{match}.dat"
        if not path or not path.exists():
            return None
        tracks = parse_collective_tracks(path)
        boxes = tracks.boxes / corner_scale(self.frame_size(match))
        return dataclasses.replace(tracks, boxes=boxes)


def label_four_or_five(key_frame: KeyFrame, *, classes: str) -> ClipAnnotation | None:
    """Labels a clip of Collective Activity: the activity is what most people do, NA aside.

    With `classes="four"` crossing and walking are one class, moving, before the vote. None if
    everybody is NA.
    """
    actions = [constants.CLASSES[number - 1] for number in key_frame.classes]
    if classes == "four":
        actions = [constants.MERGED.get(action, action) for action in actions]
    activity = majority([action for action in actions if action != "na"])
    if activity is None:
        return None
    return ClipAnnotation(
        key_frame.frame, activity, key_frame.boxes, tuple(actions), key_frame.line
    )


def clip_format(
    *, classes: str = "four", window: str = "forward", split: str = "din"
) -> ClipFormat:
    """Returns what the clips have in common; the split changes nothing of it."""
    return ClipFormat(
        activities=constants.ACTIVITIES[classes],
        actions=constants.ACTIONS[classes],
        max_actors=constants.MAX_ACTORS,
        key_frame=constants.FRAMES_BEFORE_KEY[window],
    )


def open_raw(
    root: str | pathlib.Path, *, classes: str = "four", split: str = "din", window: str = "forward"
) -> RawCollective:
    """Opens the folder of the raw dataset: the one that holds `ActivityDataset/`, or that itself.

    A `splits.json` there, `{"train": [sequences], "validation": [...], "test": [...],
    "key_frames": N}`, stands in for the named split and the official counts.

    Args:
      root: the folder.
      classes: "four" activities, crossing and walking joined as moving, or "five".
      split: a name of `constants.SPLITS`.
      window: "forward", the clip is the frames key..key+9, or "centred", key-5..key+4.

    Raises:
      UserError: if there are no sequences, or `splits.json` is malformed.
    """
    return open_sequences(
        root,
        split_chosen=split != constants.OPTIONS["split"][0],
        splits=constants.SPLITS[split],
        count=constants.NUM_KEY_FRAMES,
        form=clip_format(classes=classes, window=window),
        known_sizes=constants.FRAME_SIZES,
        clip_counts=constants.CLIP_COUNTS[classes, split, window],
        action_counts=constants.ACTION_COUNTS[classes, window],
        num_classes=constants.NUM_CLASSES,
        label=functools.partial(label_four_or_five, classes=classes),
        known_lengths=constants.SEQUENCE_LENGTHS,
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
      UserError: if there are no sequences, or `splits.json` is malformed or not the split chosen.
    """
    root = pathlib.Path(os.path.abspath(root))
    # The folder that holds ActivityDataset/, so that its neighbour ActivityDataset2/ is found.
    folder = root.parent if root.name in _FOLDERS else root
    sequences = [path for name in ("", *_FOLDERS) for path in (folder / name).glob("seq*")]
    if not sequences:
        raise UserError(
            f"{root}: found no ActivityDataset/seq<NN>/; give the folder that holds "
            "ActivityDataset/"
        )
    fields = {"folder": folder, "official": True, **official}
    path = find_in([folder, *(folder / name for name in _FOLDERS)], "splits.json")
    if path and split_chosen:
        raise UserError(f"{path} deals the sequences out; remove it or leave --split out")
    if path:
        splits, count = read_splits(path, "key_frames")
        fields |= {"splits": splits, "count": count, "official": False}
        fields |= dict.fromkeys(
            ("known_sizes", "known_lengths", "clip_counts", "action_counts"), {}
        )
    return RawCollective(**fields)
