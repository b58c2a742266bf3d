"""Samples of an index's clips: what is drawn of very many, and what they show."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Int64, UInt8

from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.surroundings import Surroundings, around
from stvh_jax.unknown import UNKNOWN

# What is held while the index is used, by one user at a time.
Turn = contextlib.AbstractContextManager

# The most labelled clips that are looked at, and the most activities, those of the most clips.
MOST_CLIPS, MOST_CLASSES = 20_000, 30
_LABELS = ["activity", "predicted"]

# Clips whose codes are read in one turn, which takes some milliseconds.
_PIECE = 128
# How long others may go first between two turns, in seconds: a lock is not given to who waits
# longest.
PAUSE = 0.001


def drawn(count: int, most: int, *, seed: int = 0) -> Int64[np.ndarray, "drawn"]:
    """Draws places evenly, in order: one at random from each of `most` equal ranges, or all."""
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1) * count // most
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def names_of(table: pa.Table) -> list[Name]:
    """Gives the (match, clip) of each row of a small table."""
    return list(zip(table["match"].to_pylist(), table["clip"].to_pylist()))


def label_of(record: Mapping[str, Any]) -> str | None:
    """Gives the activity of a clip: the one given, else the predicted one; None for neither."""
    return record["activity"] or record["predicted"] or None


def left_out(name: Name, times: Sequence[float] | None) -> list[Surroundings]:
    """Gives what a search leaves out: its query, and what overlaps it in time.

    Args:
      name: match and clip of the query.
      times: when it starts and stops; None where those of its match are not all known.
    """
    start, stop = (None, None) if times is None else times
    return around(*name, start, stop, exclude_near=None if times is None else 0)


def read_codes(
    index: Index, names: Sequence[Name], turn: Turn
) -> dict[int, UInt8[np.ndarray, "Q bytes"]]:
    """Gives the stored codes of many clips, read in pieces, so that others need not wait.

    Raises:
      NotFound: a clip is not in the index.
    """
    parts = []
    for start in range(0, max(1, len(names)), _PIECE):
        with turn:
            parts.append(index.get(names[start : start + _PIECE])[0])
        time.sleep(PAUSE)
    return {focus: np.concatenate([part[focus] for part in parts]) for focus in parts[0]}


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledClips:
    """A sample of the clips of an index whose activity is given or predicted.

    Attributes:
      names: (match, clip) of each.
      codes: their stored codes.
      classes: the activities, those of the most clips first, up to `MOST_CLASSES`.
      labels: the place of each clip's activity there; `UNKNOWN` for one that is left out.
      predicted: whether it is predicted.
      times: when it starts and stops, in seconds; NaN where it is not known.
      left_out: how many further activities there are.
    """

    names: list[Name]
    codes: dict[int, UInt8[np.ndarray, "S bytes"]]
    classes: tuple[str, ...]
    labels: Int[np.ndarray, "S"]
    predicted: Bool[np.ndarray, "S"]
    times: Float[np.ndarray, "S 2"]
    left_out: int

    @classmethod
    def of(cls, index: Index, table: pa.Table, turn: Turn, *, seed: int = 0) -> "LabelledClips":
        """Draws up to `MOST_CLIPS` clips, evenly over those with a label, and reads their codes.

        Args:
          index: where their codes are.
          table: the records of all its clips, from `Index.clips`.
          turn: is held while the index is read.
          seed: what is drawn depends on it.
        """
        known = np.logical_or(*(table[name].is_valid().to_numpy() for name in _LABELS))
        rows = np.flatnonzero(known)
        sample = table.take(rows[drawn(len(rows), MOST_CLIPS, seed=seed)])
        records = sample.select(_LABELS).to_pylist()
        given = [label_of(record) for record in records]
        counts = collections.Counter(label for label in given if label is not None)
        classes = sorted(counts, key=lambda name: (-counts[name], name))
        places = {name: place for place, name in enumerate(classes[:MOST_CLASSES])}
        names = names_of(sample)
        return cls(
            names=names,
            codes=read_codes(index, names, turn),
            classes=tuple(places),
            labels=np.array([places.get(label or "", UNKNOWN) for label in given], np.int64),
            predicted=np.array([not record["activity"] for record in records], bool),
            times=np.stack([sample[name].to_numpy() for name in ("start", "stop")], axis=1),
            left_out=len(classes) - len(places),
        )
