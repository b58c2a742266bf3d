"""Queries of videos: a short clip that somebody uploads, or a time at which no clip is indexed.

What is uploaded is decoded and encoded in a process of its own, see `apart`; the server reads of it
no more than a few numbers and a picture, which are checked.
"""

import base64
import binascii
import contextlib
import dataclasses
import math
import os
import pathlib
import secrets
import shutil
import tempfile
import threading
import time
from typing import Any

import numpy as np
from etils import epath

from stvh_jax.app.apart import Apart, Bounds
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.names import printable
from stvh_jax.retrieval import index_model, kept_tracks
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.where import quoted
from stvh_jax.runs import packed
from stvh_jax.times import clock_tenths

_WORKER = "stvh_jax.app.upload_worker"
_MOST_AT_ONCE = 2
# The most characters of a title, and bytes of a file that a worker writes, and of a poster.
_LONGEST_TITLE, _MOST_FILE, _MOST_POSTER = 200, 64 << 20, 2 << 20
_JPEG = b"\xff\xd8\xff"


@dataclasses.dataclass(frozen=True)
class UploadLimits:
    """What an upload may be, and how many there are.

    Attributes:
      most_video_bytes: of the video.
      most_tracks_bytes: of its tracks.
      most_seconds: how long the video lasts.
      sending: seconds for sending it.
      silence: seconds in which nothing comes.
      patience: seconds for decoding and encoding it.
      memory: bytes for the same.
      most_kept: how many are kept; the oldest go first.
      keep_for: seconds that each is kept.
    """

    most_video_bytes: int = 64 << 20
    most_tracks_bytes: int = 16 << 20
    most_seconds: float | int = 120.0
    sending: float | int = 300.0
    silence: float | int = 20.0
    patience: float | int = 120.0
    memory: int = 4 << 30
    most_kept: int = 50
    keep_for: float | int = 3600.0


@dataclasses.dataclass(frozen=True, eq=False)
class Upload:
    """A clip that was encoded.

    Attributes:
      name: by which it is found again; nobody can guess it.
      title: what it is called.
      query: what is searched for.
      poster: its middle frame, a JPEG; None if it could not be decoded.
      video: the file that it is of, for a loop from `start` to `stop` of the query's record.
      expires: when it is dropped, by `time.monotonic`.
    """

    name: str
    title: str
    query: Query
    poster: bytes | None
    video: pathlib.Path
    expires: float


class Uploads:
    """The uploads of a server, for all of its threads."""

    def __init__(
        self,
        index_uri: epath.PathLike,
        folder: os.PathLike | str,
        *,
        run: epath.PathLike | None = None,
        limits: UploadLimits | None = None,
    ):
        """Makes a folder for the uploads.

        Args:
          index_uri: where the index is that they are queries of.
          folder: where a folder for their files is made; it is deleted by `close`.
          run: the run of the index's model, if it was moved since.
          limits: what they may be.
        """
        self._uri, self._run = str(index_uri), run
        self.limits = UploadLimits() if limits is None else limits
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="uploads-", dir=folder)).absolute()
        self._kept: dict[str, Upload] = {}  # the oldest first
        self._lock = threading.Lock()
        self._apart = Apart(_MOST_AT_ONCE, "other uploads are being read; try again in a minute")

    def take(
        self, video: pathlib.Path, tracks: pathlib.Path, *, title: str, at: float | int | None
    ) -> Upload:
        """Encodes a clip of a video that was uploaded; blocks until it is done.

        Args:
          video: the file, which is moved away.
          tracks: the boxes of its people, likewise.
          title: what the upload is called.
          at: the second of the video at which the clip begins; None for its middle.

        Raises:
          UserError: they are too large, cannot be used, or took too long or too much memory.
          NotFound: the video has no such moment, or nobody is there.
        """
        limits = self.limits
        for path, most in (
            (video, limits.most_video_bytes),
            (tracks, limits.most_tracks_bytes),
        ):
            check_size(path.stat().st_size, most, path.name)
        title = printable(" ".join(title.split()))[:_LONGEST_TITLE] or "an uploaded clip"
        with self._new() as (name, folder):
            shutil.move(video, folder / "video")
            shutil.move(tracks, folder / "tracks")
            job = {"video": "video", "tracks": "tracks", "match": "upload"}
            query, poster = self._encoded(folder, at, job | {"most_seconds": limits.most_seconds})
            record = query.records[0] | dict.fromkeys(("match", "clip", "media"))
            query = dataclasses.replace(query, records=[record])
            (folder / "tracks").unlink()
            return self._keep(name, title, query, poster, folder / "video")

    def moment(self, match: str, at: float | int) -> Upload:
        """Encodes the clip of an indexed video at a time, by the tracks that the index keeps.

        Args:
          match: of the index.
          at: the second of its video at which the clip begins.

        Raises:
          NotFound: there is no such match, video, time or tracks, or nobody is there.
          UserError: it cannot be encoded.
        """
        index = Index.open(self._uri)
        table = index.clips(f"match = {quoted(match)}")
        media = table["media"][0].as_py() if len(table) else None
        if not media or not os.path.isfile(media):
            raise NotFound(f"match {printable(match)} has no video that is there")
        tracks = kept_tracks.path_of(self._uri, match)
        if tracks is None or not tracks.is_file():
            raise NotFound(
                f"the index keeps no tracks of match {printable(match)}; add them by search.py "
                "index --video FILE --tracks FILE"
            )
        job = {"video": os.path.abspath(media), "tracks": os.path.abspath(tracks)}
        with self._new() as (name, folder):
            job |= {"match": match, "most_seconds": None}
            query, poster = self._encoded(folder, at, job)
            query.records[0].update(match=match, media=media)
            title = f"{printable(match)} at {clock_tenths(at)}"
            return self._keep(name, title, query, poster, pathlib.Path(media))

    def get(self, name: str) -> Upload:
        """Finds an upload again.

        Raises:
          NotFound: it was dropped, or there never was one.
        """
        with self._lock:
            self._drop_old()
            if name not in self._kept:
                raise NotFound(
                    "this upload is gone: uploads are kept for "
                    f"{self.limits.keep_for / 60:.4g} minutes; upload it again"
                )
            return self._kept[name]

    def close(self) -> None:
        """Drops all uploads, and ends what is being read."""
        self._apart.close()
        with self._lock:
            self._kept.clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _new(self):
        """Gives the name and the folder of an upload; after an error nothing is left of it."""
        name = secrets.token_urlsafe()
        folder = self._folder / name
        try:
            folder.mkdir()
            yield name, folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _encoded(
        self, folder: pathlib.Path, at: float | int | None, job: dict[str, Any]
    ) -> tuple[Query, bytes | None]:
        """Encodes a clip in a process of its own."""
        limits = self.limits
        if at is not None and not math.isfinite(at):
            raise UserError(f"{at} is not a time; give seconds from the beginning of the video")
        index = Index.open(self._uri)
        adaptation = index.adaptation
        content = None if adaptation is None else base64.b64encode(adaptation.to_bytes()).decode()
        job |= {
            "at": None if at is None else float(at),
            "info": index.info.to_json(),
            "adaptation": content,
            "run": _local_run(index_model.run_of(index.info, self._run)),
        }
        bounds = Bounds(limits.patience, limits.memory, _MOST_FILE)
        result = self._apart.run(_WORKER, folder, job, bounds, wait=limits.patience)
        return read_result(result, index.info)

    def _keep(
        self,
        name: str,
        title: str,
        query: Query,
        poster: bytes | None,
        video: pathlib.Path,
    ) -> Upload:
        expires = time.monotonic() + self.limits.keep_for
        upload = Upload(name, title, query, poster, video, expires)
        with self._lock:
            self._kept[name] = upload
            self._drop_old()
        return upload

    def _drop_old(self) -> None:
        """Drops what has expired, and what is more than is kept."""
        now, more = time.monotonic(), len(self._kept) - self.limits.most_kept
        for place, upload in enumerate(list(self._kept.values())):
            if place < more or upload.expires <= now:
                del self._kept[upload.name]
                shutil.rmtree(self._folder / upload.name, ignore_errors=True)


def check_size(size: int, most: int, name: str) -> None:
    """Checks how large a file is that is uploaded.

    Raises:
      UserError: it is larger than is taken, or empty.
    """
    if size > most:
        raise UserError(
            f"the file of the {name} has more than {most / 2**20:.4g} MiB; cut out the moment that "
            "you look for"
        )
    if not size:
        raise UserError(f"the file of the {name} is empty; choose a video and its tracks")


def _local_run(run: str) -> str:
    """Names the folder of a run on this computer.

    Raises:
      UserError: it is in a bucket, whose keys the worker does not get.
    """
    folder = str(packed.open_run(run))
    if "://" in folder:
        raise UserError(f"the model is in {folder}; give --run FOLDER, a copy on this computer")
    return os.path.abspath(folder)


def read_result(result: dict[str, Any], info: IndexInfo) -> tuple[Query, bytes | None]:
    """Reads what a worker has made, and checks that it is a query of an index.

    Args:
      result: of `upload_worker.encode`; it may be anything.
      info: what the index is.

    Returns:
      A query of one clip, and its poster.

    Raises:
      Damaged: it is something else.
    """
    try:
        codes = {int(f): bytes.fromhex(text) for f, text in result["codes"].items()}
        relaxed = {int(f): np.array(h, np.float32) for f, h in result["relaxed"].items()}
        record = {name: result["record"][name] for name in ("clip", "start", "stop", "predicted")}
        poster = result["poster"] and base64.b64decode(result["poster"], validate=True)
        fits = (
            set(info.stored_foci) <= codes.keys() == relaxed.keys()
            and all(len(each) == info.bits // 8 for each in codes.values())
            and all(h.shape == (info.bits,) and np.isfinite(h).all() for h in relaxed.values())
            and isinstance(record["clip"], str)
            and isinstance(record["predicted"], str | None)
            and len(record["clip"]) + len(record["predicted"] or "") < 1000
            and 0 <= record["start"] <= record["stop"] < math.inf
            and (poster is None or (poster.startswith(_JPEG) and len(poster) <= _MOST_POSTER))
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise Damaged("the clip was encoded to something that is no query") from error
    if not fits:
        raise Damaged("the clip was encoded to codes that are not those of the index")
    unknown = dict.fromkeys(("match", "activity", "split", "media"))
    return (
        Query(
            {focus: np.frombuffer(each, np.uint8)[None] for focus, each in codes.items()},
            [unknown | record],
            relaxed={focus: h[None] for focus, h in relaxed.items()},
        ),
        poster,
    )
