"""What a search found as pieces of videos: to cut out, to list, to play."""

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import kept_tracks, moved_videos
from stvh_jax.retrieval.hits import Hit, Hits
from stvh_jax.retrieval.moments import Moment
from stvh_jax.times import clock
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.pieces import Piece
from stvh_jax.video.player import MovingBoxes
from stvh_jax.video.tracks import UNTRACKED, Tracks


def pieces_of(found: Hits | Sequence[Moment], *, around: float | int = 0.0) -> list[Piece]:
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


def _piece(each: Hit | Moment, around: float | int, opened) -> Piece:
    best = each.best if isinstance(each, Moment) else each
    media, start, stop = best.record["media"], each.start, each.stop
    if not media or start is None or stop is None:
        raise UserError(
            f"clip {best.match}/{best.clip} has no video or no times in the index, so it cannot be "
            "cut out; index with --video, or with --media and --fps"
        )
    if not os.path.isfile(media):
        raise moved_videos.not_there(media, of=f" of clip {best.match}/{best.clip}")
    end = opened(media).duration
    if start >= end:
        raise UserError(
            f"clip {best.match}/{best.clip} begins at {clock(start)}, but {media} ends at "
            f"{clock(end)}"
        )
    return Piece(
        media,
        max(0.0, start - around),
        min(end, stop + around),
        label=best.record["activity"] or best.record["predicted"] or "",
        match=best.match,
        distance=best.distance,
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
            boxes[place] = _boxes(pieces[place], video, tracks)
    return boxes


def _boxes(piece: Piece, video: VideoFile, tracks: Tracks) -> MovingBoxes | None:
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
