"""Where searches go wrong: for each activity what its clips find, and what they find instead."""

import collections
import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from stvh_jax.app.samples import PAUSE, LabelledClips, Turn, drawn, label_of, left_out
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import Number

# How many clips each query finds.
FOUND = 10
# The most queries: of an activity, and in all.
_OF_CLASS, _IN_ALL = 30, 600
# What is shown of an activity: what is found instead of it, and its worst queries.
_INSTEAD, _WORST = 3, 5


@dataclasses.dataclass(frozen=True)
class Query:
    """A clip that was searched for.

    Attributes:
      name: its match and clip.
      label: its activity.
      found: the nearest clips, but for those that overlap it in time, with their activities; None
        where it is not known.
    """

    name: Name
    label: str
    found: Sequence[tuple[Name, str | None]]

    @property
    def precision(self) -> float:
        """The share of the same activity among the ten nearest, missing ones counted."""
        return len(self.found_as(self.label)) / FOUND

    def found_as(self, label: str | None) -> list[Name]:
        """Names the clips of an activity that were found."""
        return [name for name, own in self.found if own == label]


@dataclasses.dataclass(frozen=True)
class ClassFailures:
    """What the clips of an activity find.

    Attributes:
      name: the activity.
      queries: how many clips were searched for.
      precision: the mean share of the same activity among the ten nearest.
      instead: the activities found most often in its place, each with its share of all that was
        found; None for clips without one.
      worst: the queries that found the least of their own activity, those first.
    """

    name: str
    queries: int
    precision: float
    instead: Sequence[tuple[str | None, float]]
    worst: Sequence[Query]


@dataclasses.dataclass(frozen=True)
class Failures:
    """What a sample of clips find.

    Attributes:
      queries: the clips, and what each has found.
    """

    queries: Sequence[Query]

    @property
    def classes(self) -> list[ClassFailures]:
        """Every activity, that of the lowest precision first."""
        by_class: dict[str, list[Query]] = {}
        for query in self.queries:
            by_class.setdefault(query.label, []).append(query)
        judged = [_judged(name, queries) for name, queries in by_class.items()]
        return sorted(judged, key=lambda each: each.precision)

    def found_as(self, label: str, other: str) -> list[tuple[Query, list[Name]]]:
        """Gives the queries of an activity that find another, those that find the most first.

        Returns:
          Each query with the clips of the other activity that it has found.
        """
        own = [(each, each.found_as(other)) for each in self.queries if each.label == label]
        return sorted([pair for pair in own if pair[1]], key=lambda pair: -len(pair[1]))


def _judged(name: str, queries: Sequence[Query]) -> ClassFailures:
    found = [label for query in queries for _, label in query.found]
    others = collections.Counter(label for label in found if label != name)
    failed = [query for query in queries if query.precision < 1]
    return ClassFailures(
        name=name,
        queries=len(queries),
        precision=float(np.mean([query.precision for query in queries])),
        instead=[(label, count / len(found)) for label, count in others.most_common(_INSTEAD)],
        worst=sorted(failed, key=lambda query: query.precision)[:_WORST],
    )


def find_failures(
    index: Index, table: pa.Table, clips: LabelledClips, scale: Number, turn: Turn
) -> Failures:
    """Searches for up to 30 clips of each activity, and 600 in all.

    A search leaves out its query and what overlaps it in time, if the times of the match are known.
    Each is a turn of its own, between which others may use the index.

    Args:
      index: what is searched.
      table: the records of all its clips, from `Index.clips`.
      clips: a sample, from which the queries are drawn.
      scale: from 0, focus 0, to 1, the last focus.
      turn: is held during each search.

    Raises:
      UserError: there is no such focus.
    """
    focus, untimed = index.info.focus_at(scale), _untimed_matches(table)
    queries = []
    for place in _queries(clips).tolist():
        name, codes = clips.names[place], {own: of[place] for own, of in clips.codes.items()}
        times = None if name[0] in untimed else clips.times[place].tolist()
        with turn:
            (hits,) = index.search(codes, focus=focus, k=FOUND, without=left_out(name, times))
            found = [((hit.match, hit.clip), label_of(hit.record)) for hit in hits]
        queries.append(Query(name, clips.classes[clips.labels[place]], found))
        time.sleep(PAUSE)
    return Failures(queries)


def _queries(clips: LabelledClips) -> Int64[np.ndarray, "Q"]:
    """Draws places of queries, evenly over the clips of each activity."""
    most = min(_OF_CLASS, _IN_ALL // max(1, len(clips.classes)))
    of_classes = [np.flatnonzero(clips.labels == label) for label in range(len(clips.classes))]
    return np.concatenate(
        [np.empty(0, np.int64), *(own[drawn(len(own), most)] for own in of_classes)]
    )


def _untimed_matches(table: pa.Table) -> set[str]:
    """Names the matches of which some clips have no time."""
    timed = np.logical_and(*(table[name].is_valid().to_numpy() for name in ("start", "stop")))
    return set(table["match"].take(np.flatnonzero(~timed)).unique().to_pylist())
