"""Exact search over packed codes in memory: the nearest, in the order of distance, then row.

FAISS compares the codes. It does not promise which of several rows at one distance it returns, so
their order is settled here, and how many there are is counted.
"""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence

import faiss
import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8

from stvh_jax.codes.packing import check_codes
from stvh_jax.errors import UserError

# Neighbours asked for beyond k: usually all that are as near as the k-th are among them, and one
# pass over the codes is enough.
_SLACK = 32
# Rows whose distances are summed at a time: what stays in a core's own cache.
_CHUNK = 1 << 17
# Rows of the first of them from which it is seen how near the nearest may be.
_SAMPLE = 1 << 12
# FAISS makes these when it is imported, where type checkers do not see them.
_hammings, _hamming_range_search = (
    getattr(faiss, name) for name in ("hammings", "hamming_range_search")
)

Range = tuple[int, int]


class _OwnMemory(threading.local):
    """What each thread works in: to be given so much memory anew takes as long as a search."""

    def __init__(self):
        self.sums, self.distances = np.empty((2, _CHUNK), np.int32)
        self.is_near = np.empty(_CHUNK, bool)


_own = _OwnMemory()


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The nearest rows of one query, nearest first, equals in the order of their rows.

    Attributes:
      rows: their places among the codes.
      distances: theirs; integers, in the units of the search.
      ties: how many rows, found or not, are as far as the last one found; 0 if none is found.
    """

    rows: Int64[np.ndarray, "k"]
    distances: Int64[np.ndarray, "k"]
    ties: int

    def cut(self, k: int) -> "Neighbours":
        """Keeps the first k of neighbours that hold everything as near as the k-th."""
        if not len(self.rows[:k]):
            return Neighbours(self.rows[:k], self.distances[:k], 0)
        ties = int((self.distances == self.distances[:k][-1]).sum())
        return Neighbours(self.rows[:k], self.distances[:k], ties)


@dataclasses.dataclass(frozen=True)
class Term:
    """A part of a weighted distance: `weight` times the Hamming distance of each code from one.

    Attributes:
      codes: packed codes searched; every term of a search has as many.
      query: one packed code.
      weight: a positive integer.
    """

    codes: UInt8[np.ndarray, "M bytes"]
    query: UInt8[np.ndarray, "bytes"]
    weight: int = 1


def nearest(
    codes: UInt8[np.ndarray, "M bytes"],
    queries: UInt8[np.ndarray, "Q bytes"],
    k: int,
    *,
    without: Sequence[Range] = (),
) -> list[Neighbours]:
    """Finds the k rows nearest to each query, in Hamming distance.

    Args:
      codes: contiguous packed codes.
      queries: packed codes.
      k: how many; fewer are found where there are fewer.
      without: ranges of rows (start, stop) that are left out, sorted and disjoint.

    Raises:
      UserError: these are no packed codes of one length, contiguous in memory, or no such ranges.
    """
    _check(codes, queries, k)
    queries = np.ascontiguousarray(queries)
    # FAISS pays where it has threads to divide queries among. On one it is hardly faster than the
    # sum of one term, and where many are as near as the k-th it has to search twice.
    if min(len(queries), faiss.omp_get_max_threads()) == 1:
        terms = ([Term(codes, query)] for query in queries)
        return [weighted_nearest(term, k, without=without) for term in terms]
    parts = _complement(without, len(codes))
    with _threads(len(queries)):
        pairs = [_nearest_in_part(codes, part, queries, k + _SLACK) for part in parts]
        return [
            _merged(codes, query, k, parts, [(d[place], r[place]) for d, r in pairs])
            for place, query in enumerate(queries)
        ]


def within(
    codes: UInt8[np.ndarray, "M bytes"],
    query: UInt8[np.ndarray, "bytes"],
    radius: int,
    *,
    without: Sequence[Range] = (),
) -> Neighbours:
    """Finds every row within a Hamming distance, `radius` itself included.

    Raises:
      UserError: as `nearest`.
    """
    _check(codes, query, 1, axes=1)
    parts = _complement(without, len(codes))
    with _threads(1):
        pairs = [_within_part(codes, part, query, radius) for part in parts]
    distances, rows = (np.concatenate(values) for values in zip(*pairs, _NONE))
    return _sorted(rows, distances).cut(len(rows))


def weighted_nearest(
    terms: Sequence[Term],
    k: int | None,
    *,
    radius: int | None = None,
    without: Sequence[Range] = (),
    among: Bool[np.ndarray, "M"] | None = None,
) -> Neighbours:
    """Finds the rows nearest in a weighted sum of Hamming distances, in one pass over the codes.

    Args:
      terms: the summands.
      k: how many; None for all within the radius.
      radius: the largest sum, itself included; None for any.
      without: see `nearest`.
      among: says of each row whether it may be found; None for all rows.

    Raises:
      UserError: as `nearest`, or the terms do not have codes of as many rows.
    """
    if not terms:
        raise UserError("there are no terms; give one at least")
    for term in terms:
        _check(term.codes, term.query, 1 if k is None else k, axes=1)
        if len(term.codes) != len(terms[0].codes):
            raise UserError(
                f"the terms have {len(terms[0].codes)} and {len(term.codes)} codes; give as many"
            )
    most = 8 * sum(term.weight * term.codes.shape[1] for term in terms)
    kind = np.int32 if most < 1 << 31 else np.int64
    limit = most if radius is None else radius
    pairs, held, sifted = [], 0, 0
    with _threads(1):
        for start, stop in _chunks(without, len(terms[0].codes)):
            sums = _weighted_sum(terms, slice(start, stop), kind)
            if k is not None and not held:
                # The k-th of some is as near as that of all, or farther.
                some = sums[: 2 * k + _SAMPLE]
                some = some if among is None else some[among[start : start + len(some)]]
                limit = min(limit, _largest_of(some, k)) if len(some) >= k else limit
            near = np.less_equal(sums, limit, out=_own.is_near[: len(sums)]).nonzero()[0]
            if among is not None:
                near = near[among[start:stop][near]]
            pairs.append((sums[near], near + start))
            held += len(near)
            # What is farther than the k-th so far is no longer of interest; its equals are.
            # They may be many, and are sifted again only when they have doubled.
            if k is not None and held > max(k, 2 * sifted):
                pairs = [_as_near_as(k, *_joined(pairs))]
                limit = min(limit, int(pairs[0][0].max()))
                held = sifted = len(pairs[0][0])
    sums, rows = _joined(pairs)
    # Rows are in order, so that a stable sort leaves equals in theirs.
    order = sums.argsort(kind="stable")
    found = Neighbours(rows[order], sums[order].astype(np.int64), 0)
    return found.cut(len(rows) if k is None else k)


def _largest_of(sums: Int[np.ndarray, "m"], k: int) -> int:
    """Gives the k-th smallest of k distances or more."""
    return int(np.partition(sums, k - 1)[k - 1])


def _as_near_as(
    k: int, sums: Int[np.ndarray, "m"], rows: Int64[np.ndarray, "m"]
) -> tuple[Int[np.ndarray, "near"], Int64[np.ndarray, "near"]]:
    """Keeps the rows that are as near as the k-th, in their order."""
    near = sums <= _largest_of(sums, k)
    return sums[near], rows[near]


def _joined(pairs) -> tuple[Int[np.ndarray, "m"], Int64[np.ndarray, "m"]]:
    """Joins distances and rows that were found one after the other."""
    if len(pairs) == 1:
        return pairs[0]
    distances, rows = zip(*pairs, _NONE)
    return np.concatenate(distances), np.concatenate(rows)


def _check(codes, queries, k: int, *, axes: int = 2) -> None:
    """Checks what is searched and what for: FAISS reads the memory, whatever is in it.

    Raises:
      UserError: these are no codes that it can read, or k is none.
    """
    check_codes(codes, "codes")
    check_codes(queries, "queries" if axes == 2 else "query", axes=axes, like=codes)
    if not codes.flags.c_contiguous:
        raise UserError("codes are not contiguous in memory; give np.ascontiguousarray(codes)")
    if k < 1:
        raise UserError(f"k is {k}; give 1 or more")


def _complement(without: Sequence[Range], rows: int) -> list[Range]:
    """Gives the ranges that are left."""
    edges = [0, *(edge for pair in without for edge in pair), rows]
    if any(first > second for first, second in itertools.pairwise(edges)):
        raise UserError("the ranges to leave out are not sorted and disjoint, or beyond the codes")
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2]) if start < stop]


def _chunks(without: Sequence[Range], rows: int) -> Iterator[Range]:
    """Divides the ranges that are left into pieces whose distances stay in a core's own cache."""
    for first, last in _complement(without, rows):
        for start in range(first, last, _CHUNK):
            yield start, min(start + _CHUNK, last)


def _nearest_in_part(codes, part: Range, queries, k: int):
    """Gives distances and rows `[Q, k]`, or of all rows of a smaller part, nearest first."""
    start, stop = part
    distances, rows = faiss.knn_hamming(
        queries, codes[start:stop], min(k, stop - start), variant="mc"
    )
    return distances, rows + start


def _merged(codes, query, k: int, parts: Sequence[Range], pairs) -> Neighbours:
    """Joins what the parts found for one query, with everything as near as the k-th."""
    distances = np.concatenate([d for d, _ in (*pairs, _NONE)])
    if len(distances) > k:
        farthest = np.partition(distances, k - 1)[k - 1]
        # A part may have more at this distance than it returned.
        whole = all(
            len(d) == stop - start or d[-1] > farthest
            for (start, stop), (d, _) in zip(parts, pairs)
        )
        if not whole:
            pairs = [_within_part(codes, part, query, int(farthest)) for part in parts]
    distances, rows = (np.concatenate(values) for values in zip(*pairs, _NONE))
    return _sorted(rows, distances).cut(k)


def _within_part(codes, part: Range, query, radius: int):
    """Gives distances and rows of a part within a radius, itself included."""
    start, stop = part
    result = faiss.RangeSearchResult(1)
    query = np.ascontiguousarray(query)
    _hamming_range_search(
        faiss.swig_ptr(query),
        faiss.swig_ptr(codes[start:stop]),
        1,
        stop - start,
        radius + 1,  # FAISS leaves the radius itself out
        codes.shape[1],
        result,
    )
    count = int(faiss.rev_swig_ptr(result.lims, 2)[1])
    if not count:
        return _NONE
    distances, rows = (faiss.rev_swig_ptr(a, count) for a in (result.distances, result.labels))
    return distances.astype(np.int64), rows + start


def _weighted_sum(terms: Sequence[Term], chunk: slice, kind: type) -> Int[np.ndarray, "M"]:
    """Adds up the distances of some rows, in integers of a kind that holds the largest sum."""
    total = _weighted_distances(terms[0], chunk, kind, _own.sums)
    for term in terms[1:]:
        total += _weighted_distances(term, chunk, kind, _own.distances)
    return total


def _weighted_distances(
    term: Term, chunk: slice, kind: type, memory: Int32[np.ndarray, "chunk"]
) -> Int[np.ndarray, "M"]:
    """Gives one term of a weighted distance for some rows."""
    codes, query = term.codes[chunk], np.ascontiguousarray(term.query)
    distances = memory[: len(codes)]
    pointers = [faiss.swig_ptr(array) for array in (query, codes, distances)]
    _hammings(pointers[0], pointers[1], 1, len(codes), codes.shape[1], pointers[2])
    distances = distances.astype(kind, copy=False)
    if term.weight != 1:
        distances *= term.weight
    return distances


def _sorted(rows, distances) -> Neighbours:
    order = np.lexsort((rows, distances))
    return Neighbours(rows[order].astype(np.int64), distances[order].astype(np.int64), 0)


@contextlib.contextmanager
def _threads(queries: int):
    """Uses a thread a query at most: FAISS divides queries, not codes, and idle threads spin."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(queries, before))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


# Distances and rows of nothing.
_NONE = (np.empty(0, np.int64), np.empty(0, np.int64))
