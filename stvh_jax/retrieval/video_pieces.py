"""What a search found as pieces of videos: to cut out, to list, to play."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import kept_tracks, moved_videos
from stvh_jax.retrieval.hits import Hit
from stvh_jax.retrieval.moments import Moment
from stvh_jax.times import clock_tenths
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.pieces import Piece
from stvh_jax.video.player import MovingBoxes
from stvh_jax.video.tracks import UNTRACKED, Tracks


def pieces_of(found: Sequence[Hit | Moment], *, around: float | int = 0.0) -> list[Piece]:
    """Gives hits or moments as pieces of their videos.

    Args:
      found: what was found.
      around: seconds that are shown before and after each, as far as the video goes.

    Raises:
      UserError: the video or the time of one is not known.
      NotFound: a video is not there.
    """
    opened = functools.cache(open_video)
    return [_piece(each, around, opened) for each in found]


def _piece(each: Hit | Moment, around: float | int, opened: Callable[[str], VideoFile]) -> Piece:
    best = each.best if isinstance(each, Moment) else each
    record = {**best.record, "match": best.match, "clip": best.clip}
    span = {"start": each.start, "stop": each.stop}
    piece = piece_of(record | span, around=around, opened=opened)
    return dataclasses.replace(piece, distance=best.distance)


def piece_of(
    record: Mapping[str, Any],
    *,
    around: float | int = 0.0,
    opened: Callable[[str], VideoFile] = open_video,
) -> Piece:
    """Gives a clip as a piece of its video, as far as the video goes.

    Args:
      record: of the clip, as `Index.get` gives it.
      around: seconds that are shown before and after it.
      opened: reads when the frames of a video are shown.

    Raises:
      UserError: the video or the time is not known, or the clip is beyond the end of its video.
      NotFound: the video is not there.
    """
    media, start, stop = record["media"], record["start"], record["stop"]
    name = f"clip {record['match']}/{record['clip']}"
    if not media or start is None or stop is None:
        raise UserError(
            f"{name} has no video or no times in the index, so it cannot be cut out; index with "
            "--video, or with --media and --fps"
        )
    if not os.path.isfile(media):
        raise moved_videos.not_there(media, of=f" of {name}")
    end = opened(media).duration
    if start >= end:
        raise UserError(
            f"{name} begins at {clock_tenths(start)}, but {media} ends at {clock_tenths(end)}; "
            "if the video has changed, index it again"
        )
    return Piece(
        media,
        max(0.0, start - around),
        min(end, stop + around),
        label=record["activity"] or record["predicted"] or "",
        match=record["match"],
    )


def boxes_of(
    uri: str, pieces: Sequence[Piece], *, report: Callable[[str], None] | None = None
) -> list[MovingBoxes | None]:
    """Gives the boxes of the people in each piece, where the tracks were kept with the index.

    Args:
      uri: of the index.
      pieces: of its videos.
      report: called with a line for each video whose tracks are there and cannot be used.
    """
    boxes: list[MovingBoxes | None] = [None] * len(pieces)
    places: dict[tuple[str, str], list[int]] = {}
    for place, piece in enumerate(pieces):
        places.setdefault((piece.match, str(piece.media)), []).append(place)
    for (match, media), own in places.items():  # the tracks of one video in memory at a time
        try:
            video = open_video(media)
            tracks = kept_tracks.read(uri, match, video)
        except NotFound:
            continue
        except UserError as error:  # nothing is lost without boxes
            if report:
                report(f"no boxes of {match}: {error}")
            continue
        for place in own:
            boxes[place] = boxes_within(pieces[place], video, tracks)
    return boxes


def boxes_within(piece: Piece, video: VideoFile, tracks: Tracks) -> MovingBoxes | None:
    """Gives the boxes of the people in a piece of a video; None if nobody is there."""
    first, last = np.searchsorted(video.times, [piece.start, piece.stop])
    rows = slice(*np.searchsorted(tracks.frames, [first, last]))
    frames = tracks.frames[rows]
    if not len(frames):
        return None
    count, columns = _columns(frames, tracks.people[rows])
    boxes = np.full((int(last - first), count, 4), np.nan, np.float32)
    boxes[frames - first, columns] = tracks.boxes[rows]
    return MovingBoxes(video.times[first:last], boxes)


def _columns(
    frames: Int64[np.ndarray, "M"], people: Int64[np.ndarray, "M"]
) -> tuple[int, Int64[np.ndarray, "M"]]:
    """Numbers people from 0, and counts them; of those whom nobody followed, frame by frame."""
    names, columns = np.unique(people, return_inverse=True)
    unknown = people == UNTRACKED
    if not unknown.any():
        return len(names), columns
    seen = frames[unknown]
    within = np.arange(len(seen)) - np.searchsorted(seen, seen)
    columns[unknown] = len(names) + within
    return len(names) + int(within.max()) + 1, columns
