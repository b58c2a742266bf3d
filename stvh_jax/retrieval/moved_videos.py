"""Videos that were moved since they were indexed: how they are known, and their new place."""

import os
from collections.abc import Collection

import pyarrow as pa

from stvh_jax.errors import NotFound, UserError
from stvh_jax.names import printable
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.where import quoted
from stvh_jax.video.footage import VideoFile

# Times that differ by no more seconds are the same.
_ROUNDING = 0.01


def not_there(media: str, *, of: str = "") -> NotFound:
    """Says that a video is not there, and what to do.

    Args:
      media: its path, as the index knows it.
      of: whose video it is, where that helps.
    """
    return NotFound(
        f"the video {media}{of} is not there; put it back, or, if it was moved, index it again "
        f"from its new place: search.py index ... --video NEW_PLACE/{os.path.basename(media)}"
    )


def check_moved(
    index: Index,
    match: str,
    video: VideoFile,
    clips: pa.Table,
    others: Collection[str | None],
    *,
    rate: float | int,
) -> str:
    """Checks that a video is the one of a match of the same name, which was moved.

    Args:
      index: where the match is.
      match: its name.
      video: the file as it is now.
      clips: the records of the match's clips.
      others: the videos that they are said to be of, beside this file.
      rate: frames per second of the clips.

    Returns:
      Where the video was.

    Raises:
      UserError: it is another video, or the clips are of none.
    """
    why = None
    for other in others:
        if other is None:
            why = "without a video"
        elif not os.path.isabs(other):  # of no own video: relative to another folder, or a URL
            why = f"from {printable(other)}"
        elif os.path.exists(other):
            why = f"from {printable(other)}, which is still there"
    before = str(next(iter(others)))
    if why is None and (difference := _difference(index, match, video, clips, rate)):
        why = f"from {printable(before)}, which is gone, but this is not that video: {difference}"
    if why is not None:
        raise UserError(
            f"{index.uri} has clips of a match {match} already, {why}; give {video.path} another "
            "name, or delete those clips"
        )
    return before


def move(index: Index, match: str, media: str) -> None:
    """Has the clips of a match say that their video is at another place; all else stays."""
    where = f"match = {quoted(match)}"
    table = index.clips(where)
    names = [*zip(table["match"].to_pylist(), table["clip"].to_pylist())]
    codes, records = index.get(names)
    record = {name: [each[name] for each in records] for name in index.info.fields.names}
    index.upsert(codes, **(record | {"media": [media] * len(records)}))


def _difference(
    index: Index, match: str, video: VideoFile, clips: pa.Table, rate: float | int
) -> str | None:
    """Says in what a video is not the one that was indexed, as far as that is known."""
    stops = [stop for stop in clips["stop"].to_pylist() if stop is not None]
    last, end = max(stops, default=0.0) - 1 / rate, float(video.times[-1])
    if last > end + _ROUNDING:
        return f"that had a frame at {last:.2f} seconds, the last of this is at {end:.2f}"
    before, now = kept_tracks.video_of(index.uri, match), (video.width, video.height, len(video))
    if before is None or before == now:
        return None
    had, has = ("{} x {} pixels and {} frames".format(*facts) for facts in (before, now))
    return f"that had {had}, this has {has}"
