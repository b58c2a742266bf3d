"""The Volleyball Dataset's files on disk, as its authors lay them out; no TensorFlow.

videos/<video>/annotations.txt              people of every clip's key frame
videos/<video>/<clip>/<frame>.jpg           frames, at least key-5 .. key+4
volleyball_tracking_annotation/<video>/<clip>/<clip>.txt   tracks, optional
tracks_normalized.pkl                       tracks, optional
splits.json                                 in place of the official splits, optional
"""

import dataclasses
import functools
import os
import pathlib

from data.annotations import ClipFormat, Scan
from data.raw import RawClips, corner_scale, find_in, read_splits
from data.tracks import Tracks
from data.volleyball import constants
from data.volleyball.annotations import scan_volleyball_annotations
from data.volleyball.tracks import load_normalized_tracks, parse_volleyball_tracks
from stvh_jax.errors import UserError


class RawVolleyball(RawClips):
    """A folder that holds the Volleyball Dataset, or a set in its layout."""

    match_name = "video"

    def annotation_path(self, match: int) -> pathlib.Path:
        """Returns where the video's annotations are, whether or not they exist."""
        return self.folder / str(match) / "annotations.txt"

    def scan(self, match: int) -> Scan:
        """Reads the video's clips, and collects the errors of its bad lines.

        Raises:
          UserError: if the video has no annotations.
        """
        path = self.annotation_path(match)
        return self.check_crowd(path, scan_volleyball_annotations(path))

    def frame_path(self, match: int, clip: int, frame: int) -> pathlib.Path:
        """Returns where a frame of a clip is, whether or not it exists."""
        return self.folder / str(match) / str(clip) / f"{frame}.jpg"

    def any_image(self, match: int) -> pathlib.Path | None:
        """Returns some image of a video, None if there is none."""
        return next((self.folder / str(match)).glob("*/*.jpg"), None)

    @property
    def _places(self) -> tuple[pathlib.Path, ...]:
        """Where people keep tracks: with the videos, or up to two levels above."""
        return self.folder, self.folder.parent, self.folder.parent.parent

    @functools.cached_property
    def _normalized_tracks(self) -> dict[tuple[int, int], Tracks]:
        path = find_in(self._places, "tracks_normalized.pkl")
        return load_normalized_tracks(path) if path else {}

    @functools.cached_property
    def _track_folder(self) -> pathlib.Path | None:
        return find_in(self._places, "volleyball_tracking_annotation")

    def has_tracks(self) -> bool:
        """Says whether there are tracks of any clip."""
        return bool(self._normalized_tracks) or self._track_folder is not None

    def tracks(self, match: int, clip: int) -> Tracks | None:
        """Returns the clip's tracks in 0..1 of the frame, None if it has none.

        Where both sources know a clip, `tracks_normalized.pkl` wins, for its boxes start from the
        annotated ones.

        Raises:
          UserError: if the track file is malformed.
        """
        tracks = self._normalized_tracks.get((match, clip))
        if tracks is None and self._track_folder is not None:
            path = self._track_folder / str(match) / str(clip) / f"{clip}.txt"
            if path.exists():
                tracks = parse_volleyball_tracks(path)
                boxes = tracks.boxes / corner_scale(self.frame_size(match))
                tracks = dataclasses.replace(tracks, boxes=boxes)
        return tracks


def clip_format() -> ClipFormat:
    """Returns what the clips have in common."""
    return ClipFormat(
        activities=constants.ACTIVITIES,
        actions=constants.ACTIONS,
        max_actors=constants.MAX_ACTORS,
        key_frame=constants.FRAMES_BEFORE_KEY,
    )


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
    splits, count = constants.SPLITS, constants.NUM_CLIPS
    given = find_in((videos, videos.parent), "splits.json")
    if given:
        splits, count = read_splits(given, "clips")
    return RawVolleyball(
        folder=videos,
        splits=splits,
        official=given is None,
        count=count,
        form=clip_format(),
        known_sizes={} if given else constants.FRAME_SIZES,
        clip_counts={} if given else constants.CLIP_COUNTS,
        action_counts={} if given else constants.ACTION_COUNTS,
    )


def _holds_videos(folder: pathlib.Path) -> bool:
    return any(path.parent.name.isdigit() for path in folder.glob("*/annotations.txt"))
