"""Videos and the files of their tracks, as a command line names them."""

import glob
import os
import pathlib
from collections.abc import Callable, Sequence

from stvh_jax.errors import NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.track_files import read_tracks, videos_in
from stvh_jax.video.tracks import Tracks

# What stands for the name of a video in the path of its tracks.
_MATCH = "{match}"


def find_videos(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Finds the files of some names and patterns, in their natural order, each once.

    Raises:
      NotFound: no file fits a pattern.
      UserError: two files differ in their folders or endings alone: a match is called by the rest.
    """
    found: dict[str, pathlib.Path] = {}
    for pattern in patterns:
        is_pattern = glob.has_magic(pattern) and not pathlib.Path(pattern).exists()
        paths = (
            sorted(glob.glob(pattern, recursive=True), key=natural_key) if is_pattern else [pattern]
        )
        paths = [path for path in map(pathlib.Path, paths) if not is_pattern or path.is_file()]
        if not paths:
            raise NotFound(f"there is no video {pattern}")
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    names: dict[str, pathlib.Path] = {}
    for path in found.values():
        other = names.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{other} and {path} have the same name, and a match is called by the name of its "
                "video; rename one of them"
            )
    return list(found.values())


def check_tracks_of_each(tracks: str, videos: int) -> None:
    """Checks that a path of tracks can be that of each of so many videos.

    Raises:
      UserError: it is one file, with the tracks of one video; or it cannot be read.
    """
    if videos > 1 and _MATCH not in tracks and len(videos_in(tracks)) < 2:
        raise UserError(
            f"--tracks {tracks} is one file for {videos} videos; write {_MATCH} in place of the "
            f"video's name, for example 'tracks/{_MATCH}.txt'"
        )


def tracks_of(
    video: VideoFile,
    tracks: str,
    *,
    min_confidence: float = 0.0,
    first_frame: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Tracks:
    """Reads the tracks of a video.

    Args:
      video: which one.
      tracks: the path of a file or folder; `{match}` stands for the name of the video.
      min_confidence: see `read_tracks`.
      first_frame: see there.
      report: called with a line for each thing that was mended or left out.

    Raises:
      UserError: see `read_tracks`.
    """
    return read_tracks(
        tracks.replace(_MATCH, video.path.stem),
        width=video.width,
        height=video.height,
        num_frames=len(video),
        min_confidence=min_confidence,
        first_frame=first_frame,
        video=video.path.stem,
        report=report and (lambda line: report(f"{video.path.name}: {line}")),
    )
