"""What a search found as pieces of videos: to cut out, to list, to play."""

import functools
import os
from collections.abc import Iterable, Sequence

import numpy as np

from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.hits import Hit, Hits
from stvh_jax.retrieval.moments import Moment
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.pieces import Piece
from stvh_jax.video.player import MovingBoxes
from stvh_jax.video.tracks import Tracks


def pieces_of(found: Hits | Sequence[Moment], *, around: float = 0.0) -> list[Piece]:
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


def _piece(each: Hit | Moment, around: float, opened) -> Piece:
    best = each.best if isinstance(each, Moment) else each
    media, start, stop = best.record["media"], each.start, each.stop
    if not media or start is None or stop is None:
        raise UserError(
            f"clip {best.match}/{best.clip} has no video or no times in the index, so it cannot be "
            "cut out; index with --video, or with --media and --fps"
        )
    if not os.path.isfile(media):
        raise NotFound(f"the video {media} of clip {best.match}/{best.clip} is not there")
    end = opened(media).duration
    return Piece(
        media,
        max(0.0, start - around),
        min(end, stop + around),
        label=best.record["activity"] or best.record["predicted"] or "",
        match=best.match,
        distance=best.distance,
    )


def boxes_of(uri: str, pieces: Sequence[Piece]) -> list[MovingBoxes | None]:
    """Gives the boxes of the people in each piece, where the tracks were kept with the index."""
    return [_boxes(each, *_tracked(uri, each.match, str(each.media))) for each in pieces]


@functools.lru_cache(maxsize=8)
def _tracked(uri: str, match: str, media: str) -> tuple[VideoFile | None, Tracks | None]:
    """Reads a video's times and tracks; None where no tracks were kept."""
    try:
        video = open_video(media)
        return video, kept_tracks.read(uri, match, video)
    except UserError:  # they are drawn where they are known, and nothing is lost without them
        return None, None


def _boxes(piece: Piece, video: VideoFile | None, tracks: Tracks | None) -> MovingBoxes | None:
    if video is None or tracks is None:
        return None
    first, last = np.searchsorted(video.times, [piece.start, piece.stop])
    rows = slice(*np.searchsorted(tracks.frames, [first, last]))
    frames, people = tracks.frames[rows], tracks.people[rows]
    if not len(frames):
        return None
    names, columns = _numbered(people)
    boxes = np.full((int(last - first), len(names), 4), np.nan, np.float32)
    boxes[frames - first, columns] = tracks.boxes[rows]
    return MovingBoxes(video.times[first:last], boxes)


def _numbered(people: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers people from 0."""
    return np.unique(np.asarray(people), return_inverse=True)
