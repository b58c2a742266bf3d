"""The tracks of an index's videos, kept in its folder: they are read or made once."""

import pathlib

from stvh_jax.errors import NotFound
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.track_files import read_tracks, write_tracks
from stvh_jax.video.tracks import Tracks

_FOLDER = "tracks"


def path_of(uri: str, match: str) -> pathlib.Path | None:
    """Says where the tracks of a match are kept; None for an index that is not in a folder."""
    return None if "://" in uri else pathlib.Path(uri) / _FOLDER / f"{match}.parquet"


def read(uri: str, match: str, video: VideoFile) -> Tracks:
    """Reads the tracks that were kept of a match.

    Raises:
      NotFound: there are none.
      Damaged: they cannot be read.
      UserError: they are of another video.
    """
    path = path_of(uri, match)
    if path is None or not path.is_file():
        raise NotFound(
            f"{uri} has no tracks of {video.path} yet; give --tracks FILE, what a "
            "tracker wrote, or --detect FILE, which finds people"
        )
    return read_tracks(path, width=video.width, height=video.height, num_frames=len(video))


def keep(uri: str, match: str, tracks: Tracks, video: VideoFile) -> None:
    """Keeps the tracks of a match, where the index is in a folder."""
    path = path_of(uri, match)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tracks(path, tracks, width=video.width, height=video.height, num_frames=len(video))
