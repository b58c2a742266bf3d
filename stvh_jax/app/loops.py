"""Posters and small looping clips of what is in an index, made once and kept in a folder."""

import contextlib
import hashlib
import json
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from stvh_jax import files
from stvh_jax.app.kept import KeptFiles, Latest
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.fields import check_number, check_whole
from stvh_jax.retrieval import kept_tracks, moved_videos
from stvh_jax.retrieval.hit_pictures import KeyFrames
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_pieces import boxes_within, piece_of
from stvh_jax.video import small_clips
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.piece_frames import opened
from stvh_jax.video.pieces import Piece
from stvh_jax.video.player import box_data
from stvh_jax.video.tracks import Tracks

# Part of the files' names: a change of how they are made is a new version.
_VERSION = 1
_QUALITY = 80  # of posters
# Each encoder has threads of its own, and more at once would only share the cores.
_ENCODERS, _DECODERS = 2, 2
# Videos whose times, and whose tracks, are kept in memory.
_MOST_VIDEOS, _MOST_TRACKS = 16, 4

Record = dict[str, Any]


class Loops:
    """Posters, loops and boxes of the clips of an index; several threads may ask at once.

    A changed video, as told by its size and time, makes its posters and loops anew.
    """

    def __init__(
        self,
        index: Index,
        turn: contextlib.AbstractContextManager,
        folder: os.PathLike | str | None = None,
        *,
        most_bytes: int = 2 << 30,
        key_frames: KeyFrames | None = None,
        around: float | int = 1.0,
    ):
        """Keeps what is made of an index in a folder.

        Args:
          index: whose clips are shown.
          turn: is held while the index is read.
          folder: where files are kept; None for this library's cache.
          most_bytes: that they take. Those not asked for the longest are deleted, but none that was
            given out within a minute.
          key_frames: gives pictures of the clips of a prepared set, by split and (match, clip).
          around: seconds that a loop shows before and after its clip.

        Raises:
          UserError: a number is out of its range.
        """
        check_whole("most_bytes", most_bytes, low=1, high=1 << 50)
        check_number("around", around, high=small_clips.MOST_SECONDS)
        folder = files.cache_folder() / "loops" if folder is None else folder
        self._index, self._key_frames, self._around = index, key_frames, around
        self._files = KeptFiles(folder, most_bytes)
        self._videos, self._tracks = Latest(_MOST_VIDEOS), Latest(_MOST_TRACKS)
        self._encoders = threading.Semaphore(_ENCODERS)
        self._decoders = threading.Semaphore(_DECODERS)
        self._turn = turn

    def poster(self, name: tuple[str, str]) -> bytes:
        """Gives a picture of a clip: the middle of its video's piece, or the set's key frame.

        Args:
          name: match and clip.

        Returns:
          A JPEG of at most 240 pixels in height and 640 in width.

        Raises:
          NotFound: there is no such clip, no picture of it, or its video is gone.
          UserError: the video cannot be read there, or nothing can be written.
        """
        record = self._record(name)
        if not is_of_video(record):
            return self._poster_of_set(record)
        start = record["start"]
        middle = (start + (start if record["stop"] is None else record["stop"])) / 2

        def make(path: pathlib.Path) -> None:
            with self._decoders, _said("picture", record):
                planes = small_clips.picture_at(record["media"], middle)
            with files.writing(path):
                files.write(path, small_clips.planes_jpeg(planes, quality=_QUALITY))

        return self._read("jpg", [_stamp(record), middle], make)

    def _poster_of_set(self, record: Record) -> bytes:
        """Gives the key frame of a clip of a prepared set."""
        split, own = record["split"], (record["match"], record["clip"])
        key_frames = self._key_frames
        if split is None or key_frames is None:
            raise NotFound(
                f"there is no picture of {_name(record)}, which has no video in the index; index "
                "its video with --video, or its prepared set with --media and --fps"
            )

        def make(path: pathlib.Path) -> None:
            with self._decoders:
                picture = Image.fromarray(key_frames(split, {own})[own])
            picture.thumbnail((small_clips.WIDTH, small_clips.HEIGHT))
            with files.writing(path):
                files.write(path, small_clips.jpeg(picture, quality=_QUALITY))

        return self._read("jpg", [split, *own], make)

    def _read(self, ending: str, facts: list, make) -> bytes:
        path = self._kept(ending, facts, make)
        with files.reading(path, "a picture"):
            return path.read_bytes()

    def loop(self, name: tuple[str, str]) -> pathlib.Path:
        """Gives a small clip of the video around a clip, as far as the video goes.

        Args:
          name: match and clip.

        Returns:
          An MP4 file of H.264 that every browser plays, without sound, at most 240 pixels high and
          30 seconds long. It stays for a minute at least.

        Raises:
          NotFound: there is no such clip, it has no video, or that is gone.
          UserError: the video cannot be read there, or nothing can be written.
        """
        record = self._moving(name)

        def make(path: pathlib.Path) -> None:
            with self._encoders, _said("loop", record, Damaged):
                small_clips.check_encoder()
                small_clips.write_small_clip(path, self._piece(record))

        facts = [_stamp(record), record["start"], record["stop"], self._around]
        return self._kept("mp4", facts, make)

    def boxes(self, name: tuple[str, str]) -> dict[str, Any] | None:
        """Gives the boxes of the people in a clip's loop; None where no tracks were kept.

        Args:
          name: match and clip.

        Returns:
          `times`, in milliseconds from the start of the loop; of each the `boxes` of those seen
          then, `[top, left, bottom, right, top, ...]` in 1/10000 of the frame; `width` and `height`
          of the loop in pixels.

        Raises:
          NotFound: there is no such clip, it has no video, or that is gone.
          UserError: the video or the tracks cannot be read.
        """
        record = self._moving(name)
        piece = small_clips.shortened(self._piece(record))
        tracks = self._tracks_of(record)
        if tracks is None:
            return None
        video = self._open(record["media"])
        people = boxes_within(piece, video, tracks)
        data = {"times": [], "boxes": []} if people is None else box_data(piece, people)
        width, height = _size(video)
        return {**data, "width": width, "height": height}

    def _record(self, name: tuple[str, str]) -> Record:
        """Looks a clip up."""
        with self._turn:
            _, (record,) = self._index.get([name])
        return record

    def _moving(self, name: tuple[str, str]) -> Record:
        """Looks up a clip that has a video."""
        record = self._record(name)
        if not is_of_video(record) or record["stop"] is None:
            kind = "pictures" if record["split"] is not None else "codes"
            raise NotFound(
                f"{_name(record)} has {kind} but no video in the index, so it does not move; index "
                "its video with --video, or its prepared set with --media and --fps"
            )
        return record

    def _piece(self, record: Record) -> Piece:
        """Gives what a loop shows."""
        return piece_of(record, around=self._around, opened=self._open)

    def _open(self, media: str) -> VideoFile:
        """Reads when the frames of a video are shown, or remembers it."""
        key = (media, *_size_and_time(media))
        return self._videos.get(key, lambda: open_video(media))

    def _tracks_of(self, record: Record) -> Tracks | None:
        """Reads the tracks that were kept of a clip's video, or remembers them; None if none."""
        uri, match, media = self._index.uri, record["match"], record["media"]
        kept = kept_tracks.path_of(uri, match)
        if kept is None or not kept.is_file():
            return None
        key = (match, *_stamp(record), *_size_and_time(kept))
        return self._tracks.get(key, lambda: kept_tracks.read(uri, match, self._open(media)))

    def _kept(self, ending: str, facts: list, make) -> pathlib.Path:
        """Gives the file that is made from some facts."""
        index = self._index.info.name or self._index.uri
        settings = [small_clips.HEIGHT, small_clips.WIDTH, small_clips.MOST_SECONDS, _QUALITY]
        told = json.dumps([_VERSION, index, ending, facts, settings])
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        return self._files.get(f"{digest}.{ending}", make)


def _name(record: Record) -> str:
    return f"clip {record['match']}/{record['clip']}"


def is_of_video(record: Mapping[str, Any]) -> bool:
    """Says whether a clip is a time of a video, by its record."""
    return bool(record.get("media")) and record["start"] is not None


def _stamp(record: Record) -> tuple[str, int, int]:
    """Tells a clip's video, as it is now.

    Raises:
      NotFound: it is gone.
    """
    media = record["media"]
    try:
        return (media, *_size_and_time(media))
    except OSError as error:
        raise moved_videos.not_there(media, of=f" of {_name(record)}") from error


def _size_and_time(path: os.PathLike | str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _size(video: VideoFile) -> tuple[int, int]:
    """Gives the width and height of the loops of a video."""
    with opened(video.path) as footage:
        return small_clips.small_size(footage, 90 if video.turn.transposed else 0)


@contextlib.contextmanager
def _said(what: str, record: Record, kind: type[UserError] = UserError) -> Iterator[None]:
    """Says of what is wrong with a video which clip it concerns, and what may help."""
    try:
        yield
    except kind as error:
        raise type(error)(
            f"no {what} of {_name(record)}: {error}; if the video has changed, index it again"
        ) from error
