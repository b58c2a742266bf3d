"""Opens video files with PyAV: local files of known kinds alone, whatever they name inside."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError, not_installed
from stvh_jax.images import MOST_PIXELS

# What `files.reading` says that the files should be.
WHAT = "a readable video"
# FFmpeg would also open playlists and scripts, which name other files and addresses.
_FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,wtv,yuv4mpegpipe,obu,av1,mjpeg,swf,aac,ac3,aiff,flac,mp3,wav"
)


def load_av() -> Any:
    """Imports PyAV.

    Raises:
      UserError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError(f"a video needs {not_installed(error)}") from error
    return av


@contextlib.contextmanager
def opened(path: os.PathLike | str, *, threads: int = 0) -> Iterator[tuple[Any, Any]]:
    """Opens a video file, and turns whatever is wrong with it into one line.

    Args:
      path: a file on a disk.
      threads: how many threads decode; 0 for one per core.

    Returns:
      The container and its video stream, of PyAV; closed when the context ends.

    Raises:
      NotFound: there is no such file.
      Damaged: it is no video, or a broken one.
      UserError: it cannot be read, has sound alone, or PyAV is not installed.
    """
    av = load_av()
    path = pathlib.Path(path)
    with files.reading(path, WHAT), contextlib.ExitStack() as stack:
        if path.is_dir():
            raise UserError(f"{path} is a folder; give a video file")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file")  # reading a pipe would wait forever
        with open(path, "rb"):  # the system's own words where this fails
            pass
        # With its scheme, a name with a colon is no address.
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        container = stack.enter_context(
            av.open(f"file:{path.absolute()}", options=options, metadata_errors="ignore")
        )
        stream = _video_stream(container, path)
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = threads
        context.options = {"max_pixels": str(MOST_PIXELS)}
        closing = stack.pop_all()
    with closing:
        yield container, stream


def cut_short(packet: Any, container: Any) -> bool:
    """Says whether a packet lacks its end, because the file does."""
    # A transport stream flags what follows a gap as well, which decoders mend.
    return packet.is_corrupt and container.format.name != "mpegts"


def _video_stream(container: Any, path: pathlib.Path) -> Any:
    """Finds the moving picture: the cover of a song is none."""
    streams = [
        stream
        for stream in container.streams.video
        if not (int(stream.disposition) & _attached_picture())
    ]
    if not streams:
        sound = bool(container.streams.audio)
        raise UserError(f"{path} has {'sound but no' if sound else 'no'} video; give a video file")
    best = container.streams.best("video")
    stream = next((each for each in streams if best and each.index == best.index), streams[0])
    if stream.codec_context is None:
        raise UserError(f"{path} has a codec that PyAV cannot decode; convert it to H.264")
    if stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
        raise Damaged(f"{path} has frames of more than {MOST_PIXELS // 10**6} million pixels")
    return stream


def _attached_picture() -> int:
    from av.stream import Disposition

    return int(Disposition.attached_pic)
