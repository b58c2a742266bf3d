"""Encodes a time of a video as a query, in a process of its own; `uploads` starts it."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from stvh_jax.app import apart
from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.errors import UserError
from stvh_jax.retrieval import hit_pictures, index_model
from stvh_jax.retrieval.encoded_queries import clip_seconds, moment_query
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.video_indexing import Footage
from stvh_jax.retrieval.video_queries import check_moment
from stvh_jax.times import clock_tenths
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.track_files import read_tracks


def encode(job: dict[str, Any]) -> dict[str, Any]:
    """Encodes the clip of a video at a time.

    Args:
      job: `video` and `tracks`, files; `match`, what the video is called; `at`, seconds, or None
        for the middle; `most_seconds` of the video, or None; `info`, `adaptation` and `run`, what
        the index is and where its model is.

    Returns:
      `codes` and `relaxed` by focus, `record` and `poster`, a JPEG or None, for `uploads`.

    Raises:
      UserError: the video or the tracks cannot be used, or nobody is there.
    """
    video = open_video(job["video"])
    most = job["most_seconds"]
    if most is not None and video.duration > most:
        raise UserError(
            f"the video lasts {clock_tenths(video.duration)}, and at most {clock_tenths(most)} are "
            "taken; cut out the moment that you look for"
        )
    tracks = read_tracks(
        job["tracks"], width=video.width, height=video.height, num_frames=len(video)
    )
    index = _outline(job)
    encoder = index_model.load_encoder(index.info, job["run"])
    at = job["at"]
    if at is None:
        spare = float(video.times[-1]) - clip_seconds(index, encoder)
        at = max(0.0, spare) / 2
    check_moment(video, at)
    footage = Footage(video, tracks, job["match"])
    query = moment_query(index, lambda: encoder, footage, at)
    return _plain(query, video)


def _outline(job: dict[str, Any]) -> index_model.IndexOutline:
    info = IndexInfo.from_json(job["info"], where="the index")
    content = job["adaptation"]
    if content is None:
        return index_model.IndexOutline(info, None)
    content = base64.b64decode(content)
    adaptation = Adaptation.from_bytes(content, where="the index", cure="restart the page")
    return index_model.IndexOutline(info, adaptation)


def _plain(query: Query, video: VideoFile) -> dict[str, Any]:
    """Gives a query of one clip as plain values."""
    (record,) = query.records
    poster = _poster(record, video)
    return {
        "codes": {focus: codes[0].tobytes().hex() for focus, codes in query.codes.items()},
        "relaxed": {focus: h[0].tolist() for focus, h in (query.relaxed or {}).items()},
        "record": {name: record[name] for name in ("clip", "start", "stop", "predicted")},
        "poster": None if poster is None else base64.b64encode(poster).decode(),
    }


def _poster(record: dict[str, Any], video: VideoFile) -> bytes | None:
    """Gives the middle frame of a clip as a JPEG; None if it cannot be decoded."""
    try:
        (picture,) = hit_pictures.video_images(video, [record]).values()
    except UserError:
        return None
    content = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(content, "JPEG", quality=85)
    return content.getvalue()


if __name__ == "__main__":
    apart.answer(encode)
