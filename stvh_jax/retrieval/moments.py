"""Moments: hits of one match that overlap in time are one, however many windows it was cut into."""

import bisect
import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stvh_jax.retrieval.hits import Hit, Hits
from stvh_jax.retrieval.origin import EVERY

if TYPE_CHECKING:
    from stvh_jax.retrieval.engine import Engine
    from stvh_jax.retrieval.index import Index

# More hits are asked for than moments: at first so many for each, then so many times more.
_HITS_EACH, _MORE = 4, 4
# Times that differ by less are the same.
_ROUNDING = 1e-6
# The most hits that are asked for to make moments of.
_MOST_HITS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Moment:
    """A time of a match in which hits follow one another.

    Attributes:
      hits: nearest first.
      start: where the first begins, in seconds; None where a clip has no times.
      stop: where the last ends, or, of clips shorter than the step between them, the next begins.
    """

    hits: Sequence[Hit]
    start: float | None
    stop: float | None

    @property
    def best(self) -> Hit:
        """The nearest hit."""
        return self.hits[0]

    @property
    def distance(self) -> float:
        """How far the nearest hit is, in bits."""
        return self.best.distance

    @property
    def match(self) -> str:
        """The source video."""
        return self.best.match

    def to_dict(self) -> dict[str, Any]:
        """Gives plain values, for JSON."""
        return {
            "match": self.match,
            "start": self.start,
            "stop": self.stop,
            "distance": self.distance,
            "clips": [hit.clip for hit in self.hits],
            "activity": self.best.record["activity"],
            "predicted": self.best.record["predicted"],
        }


def step_of(index: "Index | Engine") -> float:
    """Gives the seconds between the beginnings of clips of own videos; 0 where that is unknown."""
    every = index.info.origin.get(EVERY)
    return float(every) if isinstance(every, (int, float)) else 0.0


def moments_of(hits: Iterable[Hit], *, step: float | int = 0.0) -> list[Moment]:
    """Joins hits of one match that overlap in time; the nearest moments first.

    Hits without times are moments of their own.

    Args:
      hits: nearest first.
      step: seconds between the beginnings of clips, see `step_of`: one that is shorter lasts until
        the next begins.
    """
    ranked = list(enumerate(hits))
    groups, by_match = [], {}
    for place, hit in ranked:
        if _times(hit) is None:
            groups.append([(place, hit)])
        else:
            by_match.setdefault(hit.match, []).append((place, hit))
    for of_match in by_match.values():
        groups += _joined(of_match, step)
    # Of each moment the nearest hit stands first, and of all moments that with the nearest hit.
    by_place = operator.itemgetter(0)
    ordered = sorted((sorted(group, key=by_place) for group in groups), key=lambda g: g[0][0])
    return [_moment([hit for _, hit in group], step) for group in ordered]


def _joined(hits: list[tuple[int, Hit]], step: float | int) -> list[list[tuple[int, Hit]]]:
    """Joins hits of one match, each with its place, that overlap or follow one another."""
    groups, end = [], -math.inf
    for place, hit in sorted(hits, key=lambda ranked: _times(ranked[1]) or ()):
        start, stop = _times(hit) or (0.0, 0.0)
        if start >= end:
            groups.append([])
        groups[-1].append((place, hit))
        end = max(end, _end(start, stop, step))
    return groups


def _end(start: float, stop: float, step: float | int) -> float:
    """Says until when a clip lasts: where it is shorter than the step, until the next begins."""
    return max(stop, start + step + _ROUNDING) if step else stop


def _moment(hits: list[Hit], step: float | int) -> Moment:
    times = [each for each in map(_times, hits) if each is not None]
    return Moment(
        hits,
        min((start for start, _ in times), default=None),
        max((max(stop, start + step) for start, stop in times), default=None),
    )


def find_moments(
    search: Callable[[int], Hits], k: int, *, beside: Sequence[dict], step: float | int = 0.0
) -> list[Moment]:
    """Finds the k nearest moments.

    They are made of as few hits as make k moments, or of those that make the most: further ones
    are farther, and would join moments with what is between them.

    Args:
      search: gives so many hits.
      k: how many moments.
      beside: records of the query's clips, see `apart_from`.
      step: see `moments_of`.
    """
    count = _HITS_EACH * k
    while True:
        hits = search(count)
        apart = apart_from(hits, beside, step=step)
        moments = moments_of(apart[: _enough(apart, k, step)], step=step)
        if len(moments) >= k or len(hits) < count or count >= _MOST_HITS:
            return moments
        count *= _MORE


def _enough(hits: Sequence[Hit], k: int, step: float | int) -> int:
    """Counts the first hits that make k moments; where none do, those that first make the most."""
    made = most = enough = 0
    of_match: dict[str, list[tuple[float, float]]] = {}
    for place, hit in enumerate(hits, start=1):
        times = _times(hit)
        spans = of_match.setdefault(hit.match, [])
        made += 1 if times is None else _join(spans, times[0], _end(*times, step))
        if made > most:
            most, enough = made, place
        if most == k:
            break
    return enough


def _join(spans: list[tuple[float, float]], start: float, end: float) -> int:
    """Puts a time among others, joined with those it overlaps; says how many more there are."""
    first = bisect.bisect_right(spans, start, key=operator.itemgetter(1))
    last = bisect.bisect_left(spans, end, key=operator.itemgetter(0))
    joined = [(start, end), *spans[first:last]]
    spans[first:last] = [(min(begin for begin, _ in joined), max(stop for _, stop in joined))]
    return 1 - (last - first)


def apart_from(
    hits: Iterable[Hit], beside: Sequence[dict], *, step: float | int = 0.0
) -> list[Hit]:
    """Leaves out the hits that would make one moment with a clip of the query.

    Args:
      hits: what was found.
      beside: records of the query's clips.
      step: see `moments_of`.
    """
    return [
        hit
        for hit in hits
        if not any(
            same_moment({"match": hit.match, **hit.record}, own, step=step) for own in beside
        )
    ]


def overlap_in_time(
    hits: Sequence[Hit], *, beside: Sequence[dict] = (), step: float | int = 0.0
) -> bool:
    """Says whether hits overlap one another or the query, so that moments show them better."""
    moments = moments_of(apart_from(hits, beside, step=step), step=step)
    return len(moments) < len(hits)


def _times(hit: Hit) -> tuple[float, float] | None:
    start, stop = hit.record["start"], hit.record["stop"]
    return None if start is None or stop is None else (start, stop)


def same_moment(
    record: Mapping[str, Any], other: Mapping[str, Any], *, step: float | int = 0.0
) -> bool:
    """Says whether two clips of one match overlap in time, or follow one another in one moment.

    Args:
      record: match, start and stop of one; times may be None.
      other: those of the other.
      step: see `moments_of`.
    """
    (start, stop), (begin, end) = ((each["start"], each["stop"]) for each in (record, other))
    if record["match"] != other["match"] or None in (start, stop, begin, end):
        return False
    return start < _end(begin, end, step) and begin < _end(start, stop, step)
