"""What the raw files of all datasets have in common: clips, frames, boxes over time, splits."""

import abc
import dataclasses
import functools
import io
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from data.annotations import NUM_FRAMES, ClipAnnotation, ClipFormat, Scan
from data.tracks import Tracks, match_tracks
from stvh_jax.errors import UserError

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class RawClips(abc.ABC):
    """A folder that holds a dataset as its authors lay it out, or a set in that layout.

    Attributes:
      folder: where the matches are.
      splits: split -> numbers of its matches.
      official: whether the splits, and so the counts, are the official ones.
      count: annotated key frames of the complete set, None if unknown.
      form: what the clips have in common.
      known_sizes: height and width of the frames of matches that need no image to tell.
      clip_counts: clips of the complete set by activity, by split or joined splits; empty where
        they are unknown.
      action_counts: boxes of the complete set by action; empty where they are unknown.
    """

    folder: pathlib.Path
    splits: Mapping[str, tuple[int, ...]]
    official: bool
    count: int | None
    form: ClipFormat
    known_sizes: Mapping[int, tuple[int, int]]
    clip_counts: Mapping[str, Mapping[str, int]]
    action_counts: Mapping[str, int]

    # What the dataset's authors call a match.
    match_name: ClassVar[str]

    @abc.abstractmethod
    def annotation_path(self, match: int) -> pathlib.Path:
        """Returns where a match's annotations are, whether or not they exist."""

    @abc.abstractmethod
    def scan(self, match: int) -> Scan:
        """Reads a match's clips, and collects the errors of its bad lines.

        Raises:
          UserError: if the match has no annotations.
        """

    @abc.abstractmethod
    def frame_path(self, match: int, clip: int, frame: int) -> pathlib.Path:
        """Returns where a frame of a clip is, whether or not it exists."""

    @abc.abstractmethod
    def any_image(self, match: int) -> pathlib.Path | None:
        """Returns some image of a match, None if there is none."""

    @abc.abstractmethod
    def has_tracks(self) -> bool:
        """Says whether there are tracks of any clip."""

    @abc.abstractmethod
    def tracks(self, match: int, clip: int) -> Tracks | None:
        """Returns the tracks around a clip in 0..1 of the frame, None if there are none.

        Raises:
          UserError: if the track file is malformed.
        """

    def clip_frames(self, clip: int) -> range:
        """Returns the T frame numbers of a clip."""
        first = clip - self.form.key_frame
        return range(first, first + NUM_FRAMES)

    def frame_paths(self, match: int, clip: int) -> list[pathlib.Path]:
        """Returns where the clip's T frames are, whether or not they exist."""
        return [self.frame_path(match, clip, frame) for frame in self.clip_frames(clip)]

    def has_frames(self, match: int, clip: int) -> bool:
        """Says whether all T frames of the clip are there."""
        return all(path.exists() for path in self.frame_paths(match, clip))

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def frame_size(self, match: int) -> tuple[int, int]:
        """Returns the height and width of a match's frames, in pixels.

        It is read from the header of any of the match's images; without one, the official
        matches' known sizes stand in.

        Raises:
          UserError: if no image tells the size of a match that is not an official one.
        """
        image = self.any_image(match)
        if image is not None:
            return image_size(image)
        if match in self.known_sizes:
            return self.known_sizes[match]
        raise UserError(
            f"{self.annotation_path(match).parent}: no frame to tell the frame size by; boxes in "
            f"pixels need at least one .jpg a {self.match_name}"
        )

    def boxes(
        self, match: int, annotation: ClipAnnotation
    ) -> tuple[Float[np.ndarray, "T n 4"], Float[np.ndarray, "n 4"], Bool[np.ndarray, "n"]]:
        """Returns the boxes of a clip's annotated people over time, and which have a track.

        Boxes are in 0..1 of the frame, cut off at its border. A person without a track keeps the
        key frame's box in all T frames.

        Returns:
          The boxes over time, the annotated boxes of the key frame, who has a track.

        Raises:
          UserError: if the track file is malformed or the frame size unknown.
        """
        key_boxes = annotation.boxes / corner_scale(self.frame_size(match))
        tracks = self.tracks(match, annotation.clip)
        if tracks is None:
            boxes = np.repeat(key_boxes[None], NUM_FRAMES, axis=0)
            tracked = np.zeros(len(key_boxes), bool)
        else:
            frames = self.clip_frames(annotation.clip)
            boxes, tracked = match_tracks(key_boxes, tracks, frames, key_frame=annotation.clip)
        return inside_frame(boxes), inside_frame(key_boxes), tracked

    def check_crowd(self, path: pathlib.Path, scan: Scan) -> Scan:
        """Moves clips of more people than fit from the good ones to the problems."""
        most = self.form.max_actors
        crowded = [clip for clip in scan.clips if len(clip.actions) > most]
        problems = [
            UserError(f"{path}:{clip.line}: {len(clip.actions)} people, at most {most} fit")
            for clip in crowded
        ]
        good = [clip for clip in scan.clips if len(clip.actions) <= most]
        return Scan(good, scan.problems + problems, scan.key_frames - len(crowded))


def read_splits(path: pathlib.Path, count: str) -> tuple[dict[str, tuple[int, ...]], int]:
    """Reads a `splits.json`: `{"train": [matches], "validation": [...], "test": [...], COUNT: N}`.

    Returns:
      The matches of each split, and N.

    Raises:
      UserError: it is malformed, or lists a match twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        splits = {split: tuple(content[split]) for split in SPLITS}
        number = content[count]
        matches = [match for split in splits.values() for match in split]
        for value in (number, *matches):
            if not isinstance(value, int):
                raise TypeError(f"{value!r} is no whole number")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path}: expected {{"train": [numbers], "validation": [...], "test": [...], '
            f'"{count}": N}} ({type(error).__name__}: {error})'
        ) from None
    if len(set(matches)) < len(matches):
        raise UserError(f"{path}: a number is listed twice; each belongs to one split")
    return splits, number


def find_in(places: Iterable[pathlib.Path], *names: str) -> pathlib.Path | None:
    """Finds the first of some files or folders that exists in one of some places."""
    paths = (place / name for place in places for name in names)
    return next((path for path in paths if path.exists()), None)


def image_size(path: pathlib.Path) -> tuple[int, int]:
    """Reads an image's height and width from its header.

    Raises:
      UserError: if it is no JPEG.
    """
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f"{path}: not a JPEG ({error}); fetch it again") from None


def check_frame(path: pathlib.Path, size: tuple[int, int]) -> None:
    """Checks that a frame is a whole JPEG of its match's height and width.

    Raises:
      UserError: if it is damaged or of another size.
    """
    if (found := image_size(path)) != size:
        raise UserError(
            f"{path}: {found[1]}x{found[0]} pixels among frames of {size[1]}x{size[0]}; boxes in "
            "pixels need one frame size throughout"
        )
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            # An eighth of the size in grey still reads every coded byte, at a fraction of the
            # time, so a frame cut off anywhere shows. The end marker alone would not prove that;
            # it is what TensorFlow's decoder insists on besides.
            image.draft("L", (image.width // 8, image.height // 8))
            image.load()
        if b"\xff\xd9" not in content[-64:]:
            raise OSError("no end marker")
    except OSError as error:
        raise UserError(f"{path}: damaged JPEG ({error}); fetch it again") from None


def corner_scale(size: tuple[int, int]) -> Float[np.ndarray, "4"]:
    """Returns what divides a box in pixels to give 0..1 of a frame of this height and width."""
    return np.array([*size, *size], np.float64)


def inside_frame(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    """Cuts boxes off at the border of the frame."""
    return np.clip(boxes, 0.0, 1.0).astype(np.float32)
