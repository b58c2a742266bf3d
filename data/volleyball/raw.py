"""The Volleyball Dataset's files on disk, as its authors lay them out; no TensorFlow.

videos/<video>/annotations.txt              people of every clip's key frame
videos/<video>/<clip>/<frame>.jpg           frames, at least key-5 .. key+4
volleyball_tracking_annotation/<video>/<clip>/<clip>.txt   tracks, optional
tracks_normalized.pkl                       tracks, optional
splits.json                                 in place of the official splits, optional
"""

import dataclasses
import functools
import io
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from data.annotations import (
    FULL_HD_VIDEOS,
    MAX_ACTORS,
    NUM_FRAMES,
    SPLITS,
    ClipAnnotation,
    Scan,
    Tracks,
    clip_frames,
    load_normalized_tracks,
    match_tracks,
    parse_volleyball_tracks,
    scan_volleyball_annotations,
)
from stvh_jax.errors import UserError

OFFICIAL_NUM_CLIPS = 4830


@dataclasses.dataclass(frozen=True, eq=False)
class RawVolleyball:
    """A folder that holds the Volleyball Dataset, or a set in its layout.

    Attributes:
      videos: the folder of the numbered video folders.
      splits: split -> numbers of its videos.
      num_clips: clips of the complete set.
      official: whether the splits are the official ones.
    """

    videos: pathlib.Path
    splits: Mapping[str, tuple[int, ...]]
    num_clips: int
    official: bool

    def annotation_path(self, video: int) -> pathlib.Path:
        """Returns where the video's annotations are, whether or not they exist."""
        return self.videos / str(video) / "annotations.txt"

    def scan(self, video: int) -> Scan:
        """Reads the video's clips, and collects the errors of its bad lines.

        Raises:
          UserError: if the video has no annotations.
        """
        path = self.annotation_path(video)
        clips, problems = scan_volleyball_annotations(path)
        crowded = [clip for clip in clips if len(clip.actions) > MAX_ACTORS]
        problems += [
            UserError(f"{path}:{clip.line}: {len(clip.actions)} people, at most {MAX_ACTORS} fit")
            for clip in crowded
        ]
        return Scan([clip for clip in clips if clip not in crowded], problems)

    def frame_paths(self, video: int, clip: int) -> list[pathlib.Path]:
        """Returns where the clip's T frames are, whether or not they exist."""
        folder = self.videos / str(video) / str(clip)
        return [folder / f"{frame}.jpg" for frame in clip_frames(clip)]

    def has_frames(self, video: int, clip: int) -> bool:
        """Says whether all T frames of the clip are there."""
        return all(path.exists() for path in self.frame_paths(video, clip))

    @functools.cache  # noqa: B019 - lives as long as the few roots a process opens
    def frame_size(self, video: int) -> tuple[int, int]:
        """Returns the height and width of the video's frames, in pixels.

        It is read from the header of any of the video's images; without one, the official videos'
        known sizes stand in.

        Raises:
          UserError: if no image tells the size of a video that is not an official one.
        """
        image = next((self.videos / str(video)).glob("*/*.jpg"), None)
        if image is not None:
            return image_size(image)
        if self.official:
            return (1080, 1920) if video in FULL_HD_VIDEOS else (720, 1280)
        raise UserError(
            f"{self.videos / str(video)}: no frame to tell the frame size by; boxes in pixels "
            "need at least one .jpg a video"
        )

    @functools.cached_property
    def _normalized_tracks(self) -> dict[tuple[int, int], Tracks]:
        path = self._beside("tracks_normalized.pkl")
        return load_normalized_tracks(path) if path else {}

    @functools.cached_property
    def _track_folder(self) -> pathlib.Path | None:
        return self._beside("volleyball_tracking_annotation")

    def _beside(self, name: str) -> pathlib.Path | None:
        """Finds what people keep in the raw folder, beside `videos/` or one level up."""
        folders = (self.videos, self.videos.parent, self.videos.parent.parent)
        return next((path for folder in folders if (path := folder / name).exists()), None)

    def has_tracks(self) -> bool:
        """Says whether there are tracks of any clip."""
        return bool(self._normalized_tracks) or self._track_folder is not None

    def tracks(self, video: int, clip: int) -> Tracks | None:
        """Returns the clip's tracks in 0..1 of the frame, None if it has none.

        Where both sources know a clip, `tracks_normalized.pkl` wins, for its boxes start from the
        annotated ones.

        Raises:
          UserError: if the track file is malformed.
        """
        tracks = self._normalized_tracks.get((video, clip))
        if tracks is None and self._track_folder is not None:
            path = self._track_folder / str(video) / str(clip) / f"{clip}.txt"
            if path.exists():
                tracks = parse_volleyball_tracks(path)
                boxes = tracks.boxes / _corner_scale(self.frame_size(video))
                tracks = dataclasses.replace(tracks, boxes=boxes)
        return tracks

    def boxes(
        self, video: int, annotation: ClipAnnotation
    ) -> tuple[Float[np.ndarray, "T n 4"], Bool[np.ndarray, "n"]]:
        """Returns the boxes of a clip's annotated people over time, and which have a track.

        Boxes are in 0..1 of the frame, cut off at its border. A person without a track keeps the
        key frame's box in all T frames.

        Raises:
          UserError: if the track file is malformed or the frame size unknown.
        """
        key_boxes = annotation.boxes / _corner_scale(self.frame_size(video))
        tracks = self.tracks(video, annotation.clip)
        if tracks is None:
            boxes = np.repeat(key_boxes[None], NUM_FRAMES, axis=0)
            tracked = np.zeros(len(key_boxes), bool)
        else:
            boxes, tracked = match_tracks(key_boxes, tracks, clip=annotation.clip)
        return np.clip(boxes, 0.0, 1.0).astype(np.float32), tracked


def open_raw(root: str | pathlib.Path) -> RawVolleyball:
    """Opens the folder of the raw dataset: the one that holds `videos/`, or `videos/` itself.

    A `splits.json` beside `videos/`, `{"train": [videos], "validation": [...], "test": [...],
    "clips": N}`, stands in for the official splits and count.

    Raises:
      UserError: if there are no numbered video folders, or `splits.json` is malformed.
    """
    root = pathlib.Path(os.path.abspath(root))
    videos = next((folder for folder in (root / "videos", root) if _holds_videos(folder)), None)
    if videos is None:
        raise UserError(
            f"{root}: found no videos/<number>/annotations.txt; give the folder that holds videos/"
        )
    for folder in (videos, videos.parent):
        path = folder / "splits.json"
        if path.exists():
            splits, num_clips = _read_splits(path)
            return RawVolleyball(videos, splits, num_clips, official=False)
    return RawVolleyball(videos, SPLITS, OFFICIAL_NUM_CLIPS, official=True)


def _holds_videos(folder: pathlib.Path) -> bool:
    return any(path.parent.name.isdigit() for path in folder.glob("*/annotations.txt"))


def _read_splits(path: pathlib.Path) -> tuple[dict[str, tuple[int, ...]], int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        splits = {split: tuple(int(video) for video in content[split]) for split in SPLITS}
        num_clips = int(content["clips"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path}: expected {{"train": [videos], "validation": [...], "test": [...], '
            f'"clips": N}} ({type(error).__name__}: {error})'
        ) from None
    videos = [video for split in splits.values() for video in split]
    if len(set(videos)) < len(videos):
        raise UserError(f"{path}: a video is listed twice; each belongs to one split")
    return splits, num_clips


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
    """Checks that a frame is a whole JPEG of the video's height and width.

    Raises:
      UserError: if it is damaged or of another size.
    """
    if (found := image_size(path)) != size:
        raise UserError(
            f"{path}: {found[1]}x{found[0]} pixels in a video of {size[1]}x{size[0]}; boxes in "
            "pixels need one frame size a video"
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


def _corner_scale(size: tuple[int, int]) -> Float[np.ndarray, "4"]:
    return np.array([*size, *size], np.float64)
