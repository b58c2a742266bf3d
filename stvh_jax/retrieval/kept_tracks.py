"""The tracks of an index's videos, kept in its folder: they are read or made once."""

import hashlib
import pathlib

from stvh_jax import files
from stvh_jax.errors import NotFound, UserError
from stvh_jax.video.footage import VideoFile
from stvh_jax.video.formats import own_parquet
from stvh_jax.video.track_files import read_tracks, write_tracks
from stvh_jax.video.tracks import Tracks

_FOLDER, _ENDING = "tracks", ".parquet"
# The most bytes of the name of a file without its ending; a whole name may have 255, also while it
# is being written.
_MOST_BYTES = 200


def path_of(uri: str, match: str) -> pathlib.Path | None:
    """Says where the tracks of a match are kept; None for an index that is not in a folder."""
    return None if "://" in uri else pathlib.Path(uri) / _FOLDER / f"{_file_name(match)}{_ENDING}"


def _file_name(match: str) -> str:
    """Names the file of a match: its name, but where that could not be the name of a file."""
    name = match.replace("%", "%25").replace("/", "%2F")
    content = name.encode()
    if len(content) <= _MOST_BYTES:
        return name
    end = f"%{hashlib.sha256(content).hexdigest()[:16]}"
    return content[: _MOST_BYTES - len(end)].decode(errors="ignore") + end


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


def video_of(uri: str, match: str) -> tuple[int, int, int] | None:
    """Gives the width, height and number of frames of the video whose tracks were kept.

    Returns:
      None where no tracks were kept, or none that can be read.
    """
    path = path_of(uri, match)
    if path is None or not path.is_file():
        return None
    try:
        rows = own_parquet.read(files.read_bytes(path, "a file of tracks"))
    except UserError:
        return None
    return None if rows.size is None or rows.num_frames is None else (*rows.size, rows.num_frames)


def keep(uri: str, match: str, tracks: Tracks, video: VideoFile) -> None:
    """Keeps the tracks of a match, where the index is in a folder.

    Raises:
      UserError: they cannot be written.
    """
    path = path_of(uri, match)
    if path is not None:
        with files.writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_tracks(path, tracks, width=video.width, height=video.height, num_frames=len(video))


def copy(uri: str, other: str) -> None:
    """Copies the tracks that another index keeps, where both are in folders; keeps one's own.

    Raises:
      UserError: they cannot be read or written.
    """
    if "://" in uri or "://" in other:
        return
    target = pathlib.Path(uri) / _FOLDER
    for path in sorted((pathlib.Path(other) / _FOLDER).glob(f"*{_ENDING}")):
        own = target / path.name
        if not own.exists():
            content = files.read_bytes(path, "a file of tracks")
            with files.writing(own):
                target.mkdir(parents=True, exist_ok=True)
                files.write(own, content)
