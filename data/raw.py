"""What the raw files of all data sets have in common: clips, frames, boxes over time, splits."""

import abc
import collections
import contextlib
import dataclasses
import functools
import hashlib
import io
import pathlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from PIL import ExifTags, Image

from data.annotations import MOST, NUM_FRAMES, ClipAnnotation, ClipFormat, Scan, check_name
from data.tracks import Tracks, match_tracks
from stvh_jax import files
from stvh_jax.errors import UserError, shown
from stvh_jax.images import MOST_PIXELS
from stvh_jax.video.labels import SPLITS

# Of a splits.json.
_MOST_BYTES = 16 << 20

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True, eq=False)
class RawClips(abc.ABC):
    """A folder that holds a data set as its authors lay it out, or other footage in that layout.

    Attributes:
      folder: the folder of the matches.
      splits: split -> names of its matches.
      official: whether the splits, and therefore the counts, are the official ones.
      count: annotated key frames of the complete set, None if unknown.
      form: what the clips have in common.
      known_sizes: match -> height and width of its frames, where these are known without an image.
      clip_counts: clips of the complete set by activity, by split or joined splits; empty where
        they are unknown.
      action_counts: boxes of the complete set by action; empty where they are unknown.
    """

    folder: pathlib.Path
    splits: Mapping[str, tuple[str, ...]]
    official: bool
    count: int | None
    form: ClipFormat
    known_sizes: Mapping[str, tuple[int, int]]
    clip_counts: Mapping[str, Mapping[str, int]]
    action_counts: Mapping[str, int]

    # What the data set's authors call a match.
    match_name: ClassVar[str]

    @abc.abstractmethod
    def annotation_path(self, match: str) -> pathlib.Path:
        """Returns the path of a match's annotations, whether or not they exist."""

    @abc.abstractmethod
    def scan(self, match: str) -> Scan:
        """Reads a match's clips, and collects the errors of its bad lines.

        Raises:
          NotFound: the match has no annotations.
        """

    @abc.abstractmethod
    def frame_path(self, match: str, clip: str, frame: int) -> pathlib.Path:
        """Returns the path of a clip's frame, whether or not it exists."""

    @abc.abstractmethod
    def any_image(self, match: str) -> pathlib.Path | None:
        """Returns some image of a match, None if there is none."""

    @abc.abstractmethod
    def has_tracks(self) -> bool:
        """Says whether there are tracks of any clip."""

    @abc.abstractmethod
    def tracks(self, match: str, clip: str) -> Tracks | None:
        """Returns the tracks around a clip in 0..1 of the frame, None if there are none.

        Raises:
          Damaged: the track file is malformed.
        """

    @abc.abstractmethod
    def track_paths(self, match: str, clips: Sequence[ClipAnnotation]) -> list[pathlib.Path]:
        """Returns the track files, those there are, that may be of clips of a match."""

    def label_paths(self, match: str) -> list[pathlib.Path]:
        """Returns the files that the clips and labels of a match with annotations are read from."""
        return [self.annotation_path(match)]

    def description(self) -> str:
        """Says in a line where the clips, their splits and their labels come from."""
        return f"{self.folder}, {'official splits' if self.official else 'splits of splits.json'}"

    def clip_frames(self, key_frame: int) -> range:
        """Returns the numbers of the T frames of the clip with this key frame."""
        first = key_frame - self.form.key_frame
        return range(first, first + NUM_FRAMES)

    def frame_paths(self, match: str, clip: ClipAnnotation) -> list[pathlib.Path]:
        """Returns the paths of the clip's T frames, whether or not they exist."""
        return [self.frame_path(match, clip.clip, frame) for frame in self.clip_frames(clip.frame)]

    def has_frames(self, match: str, clip: ClipAnnotation) -> bool:
        """Says whether all T frames of the clip exist."""
        return all(path.exists() for path in self.frame_paths(match, clip))

    @functools.cache  # noqa: B019 - lives as long as the few folders that a process opens
    def frame_size(self, match: str) -> tuple[int, int]:
        """Returns the height and width of a match's frames, in pixels.

        It is read from the header of any of the match's images; without an image, the known size of
        an official match is used.

        Raises:
          UserError: a match that is not an official one has no image.
        """
        image = self.any_image(match)
        if image is not None:
            return image_size(image)
        if match in self.known_sizes:
            return self.known_sizes[match]
        raise UserError(
            f"{self.annotation_path(match).parent}: no image to read the frame size from; boxes in "
            f"pixels need at least one .jpg per {self.match_name}"
        )

    def boxes(
        self, match: str, annotation: ClipAnnotation
    ) -> tuple[Float[np.ndarray, "T n 4"], Float[np.ndarray, "n 4"], Bool[np.ndarray, "n"]]:
        """Returns the boxes of a clip's annotated people over time, and which have a track.

        Boxes are in 0..1 of the frame, cut off at its border. A person without a track keeps the
        key frame's box in all T frames.

        Returns:
          The boxes over time, the annotated boxes of the key frame, and who has a track.

        Raises:
          Damaged: the track file is malformed.
          UserError: the frame size is unknown.
        """
        key_boxes = annotation.boxes / corner_scale(self.frame_size(match))
        tracks = self.tracks(match, annotation.clip)
        if tracks is None:
            boxes = np.repeat(key_boxes[None], NUM_FRAMES, axis=0)
            tracked = np.zeros(len(key_boxes), bool)
        else:
            frames = self.clip_frames(annotation.frame)
            boxes, tracked = match_tracks(key_boxes, tracks, frames, key_frame=annotation.frame)
        return inside_frame(boxes), inside_frame(key_boxes), tracked

    def check_crowd(self, path: pathlib.Path, scan: Scan) -> Scan:
        """Moves clips with too many people from the good ones to the problems."""
        most = self.form.max_actors
        crowded = [clip for clip in scan.clips if len(clip.actions) > most]
        problems: list[UserError] = [
            UserError(f"{path}:{clip.line}: {len(clip.actions)} people, at most {most} fit")
            for clip in crowded
        ]
        good = [clip for clip in scan.clips if len(clip.actions) <= most]
        return Scan(good, scan.problems + problems, scan.key_frames - len(crowded))


def named(numbers: Mapping[int, Value]) -> dict[str, Value]:
    """Turns the numbers of official matches into their names."""
    return {str(number): value for number, value in numbers.items()}


def named_splits(splits: Mapping[str, Iterable[int]]) -> dict[str, tuple[str, ...]]:
    """Turns the numbers of the official splits' matches into their names."""
    return {split: tuple(map(str, numbers)) for split, numbers in splits.items()}


def read_splits(path: pathlib.Path, count: str) -> tuple[dict[str, tuple[str, ...]], int]:
    """Reads a `splits.json`: `{"train": [matches], "validation": [...], "test": [...], COUNT: N}`.

    A match is given by its name, or by its number where that is its name.

    Returns:
      The names of the matches of each split, and N.

    Raises:
      Damaged: the file is malformed.
      UserError: it lists a match twice, or none.
    """
    layout = f'{{"train": [matches], "validation": [...], "test": [...], "{count}": N}}'
    content = files.read_json(path, layout, most=_MOST_BYTES)
    with files.reading(path, layout):
        splits = {split: _names(content[split]) for split in SPLITS}
        number = content[count]
        if type(number) is not int or not 0 <= number <= MOST:
            raise TypeError(f"{count} {shown(number)} is not a number of clips")
    matches = [match for split in splits.values() for match in split]
    if not matches:
        raise UserError(f"{path} lists no match; say which match belongs to which split")
    for match, times in collections.Counter(matches).items():
        if times > 1:
            raise UserError(f"{path}: match {match} is listed twice; each belongs to one split")
    return splits, number


def _names(matches) -> tuple[str, ...]:
    """Reads the matches of a split; each is a folder, so its name must be one."""
    if not isinstance(matches, list):
        raise TypeError(f"{shown(matches)} is not a list")
    for match in matches:
        if isinstance(match, bool) or not isinstance(match, int | str):
            raise TypeError(f"{shown(match)} is neither a name nor a whole number")
        check_name(str(match))
    return tuple(map(str, matches))


def find_in(places: Iterable[pathlib.Path], *names: str) -> pathlib.Path | None:
    """Finds the first file or folder with one of some names in one of some places."""
    paths = (place / name for place in places for name in names)
    return next((path for path in paths if path.exists()), None)


def image_size(path: pathlib.Path) -> tuple[int, int]:
    """Reads an image's height and width from its header.

    Raises:
      NotFound: there is no such file.
      Damaged: it is not a JPEG.
      UserError: it is to be turned before it is shown, or cannot be read.
    """
    with _opened_jpeg(path) as image:
        return image.height, image.width


@contextlib.contextmanager
def _opened_jpeg(path: pathlib.Path) -> Iterator[Image.Image]:
    """Opens a frame, whose height and width are then those of its pixels as they are shown."""
    with files.reading(path, "a whole JPEG", "fetch it again"), warnings.catch_warnings():
        # Of sizes that are checked here, and of EXIF data that no one can read.
        warnings.simplefilter("ignore")
        with Image.open(path, formats=["JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"more than {MOST_PIXELS // 10**6} million pixels")
            turned = _orientation(image)
            if turned in range(2, 9):
                raise UserError(
                    f"{path} is to be turned when it is shown (EXIF orientation {turned}), which "
                    "boxes in pixels do not say of theirs; turn its pixels and remove the mark"
                )
            yield image


def _orientation(image: Image.Image) -> int:
    """Reads how an image is turned; 1, which is not at all, where it does not say."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # data beside the pixels, in which anything may be wrong
        return 1


def check_frame_size(path: pathlib.Path, size: tuple[int, int]) -> None:
    """Checks that a frame's header has its match's height and width, so that boxes fit it.

    Raises:
      NotFound: there is no such file.
      Damaged: it is not a JPEG.
      UserError: it has another size, is to be turned, or cannot be read.
    """
    if (found := image_size(path)) != size:
        raise UserError(
            f"{path}: {found[1]}x{found[0]} pixels among frames of {size[1]}x{size[0]}; boxes in "
            "pixels need one frame size throughout"
        )


def check_frame(path: pathlib.Path, size: tuple[int, int]) -> str:
    """Checks that a frame is a whole JPEG of its match's height and width.

    Returns:
      The SHA-256 of the file that was checked.

    Raises:
      NotFound: there is no such file.
      Damaged: it is not a whole JPEG.
      UserError: it has another size, is to be turned, or cannot be read.
    """
    check_frame_size(path, size)
    content = files.read_bytes(path, "a JPEG")
    with files.reading(path, "a whole JPEG", "fetch it again"):
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            # An eighth of the size in grey still reads every coded byte, in a fraction of the time,
            # so a frame that is cut off anywhere is noticed. The end marker alone would not prove
            # that; TensorFlow's decoder requires it in addition.
            image.draft("L", (image.width // 8, image.height // 8))
            image.load()
        if b"\xff\xd9" not in content[-64:]:
            raise ValueError("no end marker")
    return hashlib.sha256(content).hexdigest()


def corner_scale(size: tuple[int, int]) -> Float[np.ndarray, "4"]:
    """Returns the divisor that turns a box in pixels into 0..1 of a frame of (height, width)."""
    return np.array([*size, *size], np.float64)


def inside_frame(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    """Cuts boxes off at the border of the frame."""
    return np.clip(boxes, 0.0, 1.0).astype(np.float32)
