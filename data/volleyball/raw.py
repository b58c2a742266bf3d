"""The Volleyball Dataset's files on disk, as its authors lay them out; no TensorFlow.

videos/<video>/annotations.txt              people of every clip's key frame
videos/<video>/<clip>/<frame>.jpg           frames, at least key-5 .. key+4; 7.jpg or 0007.jpg
volleyball_tracking_annotation/<video>/<clip>/<clip>.txt   tracks, optional
tracks_normalized.pkl                       tracks, optional
reannotations/<video>/annotations_corrected.txt   corrected labels, optional; also called
                                            volleyball_corrected/[videos/]<video>/annotations.txt
splits.json                                 in place of the official splits, optional

An official clip's name is the number of its key frame. With a `splits.json`, videos and clips may
have any names, and `annotations.txt` says which frame is the key frame of a named clip.
"""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Sequence

from data.annotations import ClipAnnotation, ClipFormat, Scan
from data.raw import RawClips, corner_scale, find_in, named, named_splits, read_splits
from data.tracks import Tracks
from data.volleyball import constants
from data.volleyball.annotations import scan_volleyball_annotations, with_labels
from data.volleyball.tracks import load_normalized_tracks, parse_volleyball_tracks
from stvh_jax import files
from stvh_jax.errors import NotFound

# The folder of corrected labels: a name of its own, or that in the repository of its authors.
_CORRECTED = ("volleyball_corrected", "reannotations")


@dataclasses.dataclass(frozen=True, eq=False)
class RawVolleyball(RawClips):
    """A folder that holds the Volleyball Dataset, or other footage in its layout.

    Attributes:
      corrected: the folder of the corrected labels; None to take the labels as they are.
    """

    corrected: pathlib.Path | None = None

    match_name = "video"

    def annotation_path(self, match: str) -> pathlib.Path:
        """Returns the path of the video's annotations, whether or not they exist."""
        return self.folder / match / "annotations.txt"

    def scan(self, match: str) -> Scan:
        """Reads the video's clips, and collects the errors of its bad lines.

        Where corrected labels are chosen, a clip without one is left out; its key frame is counted.

        Raises:
          NotFound: the video has no annotations, or no corrected labels.
        """
        path, *corrected = self.label_paths(match)
        scan = scan_volleyball_annotations(path)
        if corrected:
            labels = scan_volleyball_annotations(corrected[0])
            scan = with_labels(scan, labels, source=path, path=corrected[0])
        return self.check_crowd(path, scan)

    def label_paths(self, match: str) -> list[pathlib.Path]:
        """Returns the video's annotations and, where they are asked for, its corrected labels.

        Raises:
          NotFound: the video has no corrected labels.
        """
        path = self.annotation_path(match)
        if self.corrected is None:
            return [path]
        places = (self.corrected / match, self.corrected / "videos" / match)
        corrected = find_in(places, "annotations_corrected.txt", "annotations.txt")
        if corrected is None:
            raise NotFound(
                f"{places[0] / 'annotations_corrected.txt'}: no such file; fetch the corrected "
                "labels of this video too, or leave --labels out"
            )
        return [path, corrected]

    def description(self) -> str:
        """Says in a line where the clips, their splits and their labels come from."""
        labels = f", labels of {self.corrected}" if self.corrected else ""
        return super().description() + labels

    def frame_path(self, match: str, clip: str, frame: int) -> pathlib.Path:
        """Returns the path of a clip's frame, whether or not it exists.

        Where there is no `7.jpg`, a name with zeros before it is looked for, as `0007.jpg`.
        """
        path = self.folder / match / clip / f"{frame}.jpg"
        return path if path.exists() else self._filled_up(match, clip).get(frame, path)

    @functools.cache  # noqa: B019 - lives as long as the few folders that a process opens
    def _filled_up(self, match: str, clip: str) -> dict[int, pathlib.Path]:
        """Finds the images of a clip whose numbers have zeros before them, by the numbers."""
        paths = sorted((self.folder / match / clip).glob("0*.jpg"))
        return {int(path.stem): path for path in paths if re.fullmatch(r"[0-9]{1,20}", path.stem)}

    def any_image(self, match: str) -> pathlib.Path | None:
        """Returns some image of a video, None if there is none."""
        paths = (self.folder / match).glob("*/*.jpg")
        return next((path for path in paths if not files.is_hidden(path.name)), None)

    @property
    def _places(self) -> tuple[pathlib.Path, ...]:
        return _places_of(self.folder)

    @functools.cached_property
    def _normalized_tracks(self) -> dict[tuple[str, str], Tracks]:
        path = self._normalized_path
        return load_normalized_tracks(path) if path else {}

    @property
    def _normalized_path(self) -> pathlib.Path | None:
        return find_in(self._places, "tracks_normalized.pkl")

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

    def track_paths(self, match: str, clips: Sequence[ClipAnnotation]) -> list[pathlib.Path]:
        """Returns the track files, those there are, that may be of clips of a match."""
        paths = [] if self._normalized_path is None else [self._normalized_path]
        if self._track_folder is not None:
            paths += [self._track_folder / match / one.clip / f"{one.clip}.txt" for one in clips]
        return [path for path in paths if path.exists()]


def _places_of(videos: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Names the folders that may hold tracks and corrected labels: `videos` and two levels up."""
    return videos, videos.parent, videos.parent.parent


def clip_format(*, labels: str = "original") -> ClipFormat:
    """Returns what the clips have in common; it does not depend on the labels."""
    return ClipFormat(
        activities=constants.ACTIVITIES,
        actions=constants.ACTIONS,
        max_actors=constants.MAX_ACTORS,
        key_frame=constants.FRAMES_BEFORE_KEY,
    )


def open_raw(root: str | pathlib.Path, *, labels: str = "original") -> RawVolleyball:
    """Opens the folder of the raw data set: the one that holds `videos/`, or `videos/` itself.

    A `splits.json` beside `videos/`, `{"train": [videos], "validation": [...], "test": [...],
    "clips": N}`, replaces the official splits and count; then the videos may have any names.

    Args:
      root: the folder.
      labels: "original", or "corrected" for those in the folder `volleyball_corrected` or
        `reannotations` beside the videos or up to two levels above.

    Raises:
      NotFound: there are no video folders, or without a `splits.json` none named by a number; or
        the corrected labels are missing.
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
    elif any(re.fullmatch(r"[0-9]+", name) for name in _video_names(videos)):
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
        clip_counts={} if path else constants.CLIP_COUNTS[labels],
        action_counts={} if path else constants.ACTION_COUNTS[labels],
        corrected=_corrected_folder(videos) if labels == "corrected" else None,
    )


def _corrected_folder(videos: pathlib.Path) -> pathlib.Path:
    """Finds the folder of the corrected labels.

    Raises:
      NotFound: there is none.
    """
    folder = find_in(_places_of(videos), *_CORRECTED)
    if folder is None:
        raise NotFound(
            f"{videos.parent}: found no corrected labels; put the folder reannotations of "
            "github.com/berkerdemirel/decompl beside videos/, or leave --labels out"
        )
    return folder


def _video_names(folder: pathlib.Path) -> list[str]:
    names = (path.parent.name for path in folder.glob("*/annotations.txt"))
    return [name for name in names if not files.is_hidden(name)]
