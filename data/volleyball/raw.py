"""The Volleyball Dataset's files on disk, as its authors lay them out; no TensorFlow.

videos/<video>/annotations.txt              people of every clip's key frame
videos/<video>/<clip>/<frame>.jpg           frames, at least key-5 .. key+4
volleyball_tracking_annotation/<video>/<clip>/<clip>.txt   tracks, optional
tracks_normalized.pkl                       tracks, optional
splits.json                                 in place of the official splits, optional

An official clip's name is the number of its key frame. With a `splits.json`, videos and clips may
have any names, and `annotations.txt` says which frame is the key frame of a named clip.
"""

import dataclasses
import functools
import os
import pathlib

from data.annotations import ClipFormat, Scan
from data.raw import RawClips, corner_scale, find_in, named, named_splits, read_splits
from data.tracks import Tracks
from data.volleyball import constants
from data.volleyball.annotations import scan_volleyball_annotations
from data.volleyball.tracks import load_normalized_tracks, parse_volleyball_tracks
from stvh_jax.errors import NotFound


class RawVolleyball(RawClips):
    """A folder that holds the Volleyball Dataset, or other footage in its layout."""

    match_name = "video"

    def annotation_path(self, match: str) -> pathlib.Path:
        """Returns the path of the video's annotations, whether or not they exist."""
        return self.folder / match / "annotations.txt"

    def scan(self, match: str) -> Scan:
        """Reads the video's clips, and collects the errors of its bad lines.

        Raises:
          NotFound: the video has no annotations.
        """
        path = self.annotation_path(match)
        return self.check_crowd(path, scan_volleyball_annotations(path))

    def frame_path(self, match: str, clip: str, frame: int) -> pathlib.Path:
        """Returns the path of a clip's frame, whether or not it exists."""
        return self.folder / match / clip / f"{frame}.jpg"

    def any_image(self, match: str) -> pathlib.Path | None:
        """Returns some image of a video, None if there is none."""
        return next((self.folder / match).glob("*/*.jpg"), None)

    @property
    def _places(self) -> tuple[pathlib.Path, ...]:
        """The folders in which people keep tracks: with the videos, or up to two levels above."""
        return self.folder, self.folder.parent, self.folder.parent.parent

    @functools.cached_property
    def _normalized_tracks(self) -> dict[tuple[str, str], Tracks]:
        path = find_in(self._places, "tracks_normalized.pkl")
        return load_normalized_tracks(path) if path else {}

    @functools.cached_property
    def _track_folder(self) -> pathlib.Path | None:
        return find_in(self._places, "volleyball_tracking_annotation")

    def has_tracks(self) -> bool:
        """Says whether there are tracks of any clip."""
        return bool(self._normalized_tracks) or self._track_folder is not None

    def tracks(self, match: str, clip: str) -> Tracks | None:
        """Returns the clip's tracks in 0..1 of the frame, None if it has none.

        Where both sources have a clip, `tracks_normalized.pkl` is used, because its boxes start
        from the annotated ones.

        Raises:
          Damaged: the track file is malformed.
        """
        tracks = self._normalized_tracks.get((match, clip))
        if tracks is None and self._track_folder is not None:
            path = self._track_folder / match / clip / f"{clip}.txt"
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
    """Opens the folder of the raw data set: the one that holds `videos/`, or `videos/` itself.

    A `splits.json` beside `videos/`, `{"train": [videos], "validation": [...], "test": [...],
    "clips": N}`, replaces the official splits and count; then the videos may have any names.

    Raises:
      NotFound: there are no video folders, or none with a number and no `splits.json`.
      Damaged: `splits.json` is malformed.
      UserError: it lists a video twice.
    """
    root = pathlib.Path(os.path.abspath(root))
    videos = next((folder for folder in (root / "videos", root) if _video_names(folder)), None)
    if videos is None:
        raise NotFound(
            f"{root}: found no videos/<video>/annotations.txt; give the folder that holds videos/"
        )
    path = find_in((videos, videos.parent), "splits.json")
    if path:
        splits, count = read_splits(path, "clips")
    elif any(name.isdecimal() for name in _video_names(videos)):
        splits, count = named_splits(constants.SPLITS), constants.NUM_CLIPS
    else:
        raise NotFound(
            f"{videos}: no video is named by a number as the official ones are; say which of yours "
            f"is in which split in {videos.parent / 'splits.json'}, see data/volleyball/README.md"
        )
    return RawVolleyball(
        folder=videos,
        splits=splits,
        official=path is None,
        count=count,
        form=clip_format(),
        known_sizes={} if path else named(constants.FRAME_SIZES),
        clip_counts={} if path else constants.CLIP_COUNTS,
        action_counts={} if path else constants.ACTION_COUNTS,
    )


def _video_names(folder: pathlib.Path) -> list[str]:
    return [path.parent.name for path in folder.glob("*/annotations.txt")]
