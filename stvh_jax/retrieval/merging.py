"""Adds the clips of one index to another of the same codes, as those of parts made apart."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stvh_jax.errors import UserError
from stvh_jax.names import printable
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.engine import Engine
from stvh_jax.retrieval.record import GIVEN_NAME, NAMES, code_column
from stvh_jax.retrieval.where import quoted

# Clips that are read and written at a time.
_AT_ONCE = 1 << 13

# What the origins of two indexes have to agree in.
_SAME = ("checkpoint", "frames_per_second")


def add_from(own: Engine, other: Engine) -> int:
    """Adds the clips of another index that are not there yet, and counts them.

    The tracks that the other keeps of its videos are copied, too. Where it is cut short, the clips
    added stay, and another call adds the rest.

    Raises:
      UserError: the other has other codes, or a match of the same name from another video.
    """
    check_same(own, other)
    kept_tracks.copy(own.uri, other.uri)
    columns = [*other.info.fields.names, *map(code_column, own.info.stored_foci)]
    snapshot, media = other.snapshot(), {}
    names = snapshot.list_clips(None).select(list(NAMES))
    added = 0
    for first in range(0, len(names), _AT_ONCE):
        part = names.slice(first, _AT_ONCE)
        keys = list(zip(*(part[name].to_pylist() for name in NAMES)))
        rows = np.array(snapshot.find(keys), np.int64)
        clips = snapshot.records(rows).select(columns)
        _check_videos(own, other, clips, media)
        new = [row is None for row in own.snapshot().find(keys)]
        if any(new):
            own.add(clips.filter(pa.array(new)))
            added += sum(new)
    return added


def check_same(own: Engine, other: Engine) -> None:
    """Checks that two indexes have the same codes, and records of the same fields.

    Raises:
      UserError: they have not.
    """
    for name in ("bits", "stored_foci"):
        _check(own, other, name.replace("_", " "), *(getattr(e.info, name) for e in (own, other)))
    # Names are given to clips in one index and not in another.
    columns = [dict(each.info.columns) for each in (own, other)]
    if any(each.get(GIVEN_NAME) == "text" for each in columns):
        columns = [{GIVEN_NAME: "text"} | each for each in columns]
    _check(own, other, "columns", *columns)
    for name in _SAME:
        values = (each.info.origin.get(name) for each in (own, other))
        _check(own, other, name.replace("_", " "), *values)
    adaptations = [each.adaptation() for each in (own, other)]
    numbers = [0 if each is None else each.number for each in adaptations]
    _check(own, other, "adaptation", *numbers)


def _check(own: Engine, other: Engine, what: str, mine: object, theirs: object) -> None:
    if mine != theirs:
        raise UserError(
            f"{other.uri} cannot be added to {own.uri}: its {what} is {theirs}, not {mine}"
        )


def _check_videos(
    own: Engine, other: Engine, clips: pa.Table, media: dict[str, set[str | None]]
) -> None:
    """Checks that clips are of the same videos as those of their matches that are there.

    Args:
      own: what they are added to.
      other: where they are from.
      clips: the clips.
      media: the videos of each match that was looked up; it is added to.

    Raises:
      UserError: a match is of another video.
    """
    pairs = clips.select(["match", "media"]).group_by(["match", "media"]).aggregate([])
    for match, video in zip(pairs["match"].to_pylist(), pairs["media"].to_pylist()):
        if match not in media:
            there = own.snapshot().list_clips(f"match = {quoted(match)}")["media"]
            media[match] = set(pc.unique(there).to_pylist())  # pyright: ignore
        if media[match] and video not in media[match]:
            raise UserError(
                f"{own.uri} has clips of a match {printable(match)} already, which are of another "
                f"video than those in {other.uri}"
            )
