"""What a ranking by Hamming distance is worth, exact where clips are equally far away.

Hamming distances are small integers, so most neighbours of a query fall into groups of equal
distance, and the order inside a group is arbitrary. Every measure here is therefore the exact
expectation over all orders of each group, all equally likely. This needs no sorting: two
histograms per query are enough, which count all base items and the relevant ones at each distance.
NumPy only; values are fractions in 0..1, one per query.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from stvh_jax.codes import packing as hash_codes

# Pairs of query and base item compared at a time, and the most base items among them: both bound
# the memory, and keep the scratch arrays in a core's own cache.
_CHUNK_PAIRS = 1 << 18
_CHUNK_ITEMS = 1 << 15
# Queries judged at a time: the scratch arrays of a measure are many times those of its groups.
_PIECE = 1 << 10

# Says which base items, a range of them, are relevant to a range of queries.
Relevance = Callable[[slice, slice], Shaped[np.ndarray, "rows items"]]


@dataclasses.dataclass(frozen=True)
class TieGroups:
    """The base items of every query, counted by their distance from the query.

    Attributes:
      counts: how many items are at each distance 0..K, so that there are K + 1 groups.
      relevant: how many of them are relevant; the sum of their relevance if that is graded.
    """

    counts: Int[np.ndarray, "Q groups"]
    relevant: Shaped[np.ndarray, "Q groups"]

    @functools.cached_property
    def before(self) -> Int[np.ndarray, "Q groups"]:
        """How many items are nearer than those of each group."""
        return self.counts.cumsum(axis=1) - self.counts

    @functools.cached_property
    def relevant_before(self) -> Shaped[np.ndarray, "Q groups"]:
        """How many relevant items are nearer than those of each group."""
        return self.relevant.cumsum(axis=1) - self.relevant

    @functools.cached_property
    def share(self) -> Float[np.ndarray, "Q groups"]:
        """The share of relevant items in each group, 0 in an empty one."""
        return self.relevant / np.maximum(self.counts, 1)

    def taken(self, k: int) -> Int[np.ndarray, "Q groups"]:
        """How many items of each group are among the k nearest."""
        if k < 1:
            raise ValueError(f"k = {k}; give 1 or more")
        return np.clip(k - self.before, 0, self.counts)

    @property
    def largest(self) -> int:
        """How many items the longest ranking has, at least 1."""
        return int(self.counts.sum(axis=1).max(initial=1))

    def of(self, queries: Bool[np.ndarray, "Q"] | slice) -> "TieGroups":
        """Gives the groups of some queries."""
        return TieGroups(self.counts[queries], self.relevant[queries])

    def pieces(self) -> Iterator["TieGroups"]:
        """Gives the groups of some queries after the other, so that measures need little memory."""
        for start in range(0, max(1, len(self.counts)), _PIECE):
            yield self.of(slice(start, start + _PIECE))


def tie_groups(
    distances: Int[np.ndarray, "Q M"],
    relevant: Shaped[np.ndarray, "Q M"],
    *,
    bits: int,
    excluded: Bool[np.ndarray, "Q M"] | None = None,
) -> TieGroups:
    """Counts base items by distance, without the `excluded` pairs.

    Args:
      distances: Hamming distances, 0..bits.
      relevant: booleans, or graded relevance as real numbers.
      bits: the length of the codes.
      excluded: the pairs to leave out.
    """
    queries = len(distances)
    place = distances.astype(np.intp)
    if excluded is not None:
        place[excluded] = bits + 1
    place += np.arange(queries)[:, None] * (bits + 2)
    if relevant.dtype != bool:
        sums = np.bincount(place.ravel(), relevant.ravel(), minlength=queries * (bits + 2))
        counts = np.bincount(place.ravel(), minlength=queries * (bits + 2))
        counts, sums = (table.reshape(queries, -1)[:, :-1] for table in (counts, sums))
        return TieGroups(counts, sums)
    # Both histograms at once, as that of pairs (distance, whether relevant).
    place *= 2
    place += relevant
    table = np.bincount(place.ravel(), minlength=2 * queries * (bits + 2))
    irrelevant, relevant_counts = np.moveaxis(table.reshape(queries, bits + 2, 2)[:, :-1], 2, 0)
    return TieGroups(irrelevant + relevant_counts, relevant_counts)


def average_precision_at_k(
    groups: TieGroups,
    k: int,
    *,
    over: Literal["min(k, R)", "k"] = "min(k, R)",
    ties: Literal["expected", "best", "worst"] = "expected",
) -> Float[np.ndarray, "Q"]:
    r"""Computes the average precision of the k nearest items of every query.

    $$AP@k = \frac{1}{\min(k, R)} \sum_{i \le k} rel_i \cdot P@i$$

    where R is the number of relevant items in the base and P@i is the share of relevant items among
    the first i. A k of at least the size of the base judges the full ranking.

    Args:
      groups: the base items of every query by distance.
      k: how many of the nearest items are judged.
      over: the denominator, `min(k, R)` or `k`.
      ties: the expectation over all orders of equal distances, or the best or the worst order.

    Returns:
      One value per query, 0 where the base has no relevant item.
    """
    relevant = groups.relevant.sum(axis=1)
    denominator = np.full_like(relevant, k) if over == "k" else np.minimum(k, relevant)
    return _precision_sums(groups, k, ties).sum(axis=1) / np.maximum(denominator, 1)


def average_precision_over_hits(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    r"""Computes `average_precision_at_k` divided by the h hits among the k nearest, not min(k, R).

    h is random where position k cuts through a tie group: the number x of the group's r relevant
    items on its first m positions is hypergeometric. Given x, all orders are still equally likely,
    so the exact expectation is a finite sum over x; the groups before the cut do not depend on x.

    Returns:
      One value per query, 0 where there is no hit.
    """
    taken = groups.taken(k)
    before, hits_before = groups.before, groups.relevant_before
    queries = np.arange(len(before))
    cut = _cut(groups, taken)
    earlier = np.arange(groups.counts.shape[1]) < cut[:, None]
    settled = (_precision_sums(groups, k, "expected") * earlier).sum(axis=1, keepdims=True)

    n, r, m, start, hits = (
        values[queries, cut][:, None]
        for values in (groups.counts, groups.relevant, taken, before, hits_before)
    )
    x = np.arange(m.max(initial=0) + 1)[None]
    in_group = _expected_precision_sums(m, x, m, start, hits)
    over_hits = (settled + in_group) / np.maximum(hits + x, 1)
    return (_hypergeometric(x, n, r, m) * over_hits).sum(axis=1)


def expected_hits(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    """Gives the expected number of relevant items among the k nearest."""
    return np.einsum("qg,qg->q", groups.taken(k), groups.share)


def precision_at_k(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    """Gives the expected share of relevant items among the k nearest.

    In a base of fewer than k items the missing ones count as not relevant.
    """
    return expected_hits(groups, k) / k


def hit_at_k(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    r"""Gives the probability that any of the k nearest items is relevant (Hit@k).

    No position is a hit if no group before the cut has a relevant item and the m items taken of the
    n in the cut group, of which r are relevant, all miss:

    $$P = 1 - \binom{n - r}{m} / \binom{n}{m}$$
    """
    taken, hits_before = groups.taken(k), groups.relevant_before
    cut = _cut(groups, taken)
    queries = np.arange(len(cut))
    n, r, m = (values[queries, cut][:, None] for values in (groups.counts, groups.relevant, taken))
    misses = _hypergeometric(np.zeros((1, 1), int), n, r, m)[:, 0]
    return np.where(hits_before[queries, cut] > 0, 1.0, 1.0 - misses)


def precision_within(groups: TieGroups, radius: int) -> Float[np.ndarray, "Q"]:
    """Gives the share of relevant items among those at most `radius` bits away, 0 without any."""
    ball = groups.counts[:, : radius + 1].sum(axis=1)
    return groups.relevant[:, : radius + 1].sum(axis=1) / np.maximum(ball, 1)


def finds_within(groups: TieGroups, radius: int) -> Bool[np.ndarray, "Q"]:
    """Says which queries have an item at most `radius` bits away."""
    return groups.counts[:, : radius + 1].sum(axis=1) > 0


def curve_positions(largest: int) -> list[int]:
    """Gives the N of a curve: from 1 to `largest`, the powers of ten and about nine in between."""
    if largest < 1:
        return []
    steps = (round(10 ** (step / 10)) for step in range(1 + int(10 * np.log10(largest))))
    return sorted({*steps, largest})


def _cut(groups: TieGroups, taken: Int[np.ndarray, "Q groups"]) -> Int[np.ndarray, "Q"]:
    """Finds the group of the last item taken."""
    return np.argmax(groups.before + groups.counts >= taken.sum(axis=1, keepdims=True), axis=1)


def _precision_sums(groups: TieGroups, k: int, ties: str) -> Float[np.ndarray, "Q groups"]:
    """Sums rel_i P@i over the positions of each group that are among the first k."""
    before, hits_before, taken = groups.before, groups.relevant_before, groups.taken(k)
    n, r = groups.counts, groups.relevant
    if ties == "expected":
        return _expected_precision_sums(n, r, taken, before, hits_before)
    # The hits follow each other without a gap, so that each raises the count by one: from the
    # group's first position on in the best order, after all of its misses in the worst.
    misses_first = 0 if ties == "best" else n - r
    hits = np.clip(taken - misses_first, 0, r)
    return _series(hits_before, 1, before + misses_first, hits)


def _expected_precision_sums(n, r, taken, before, hits_before) -> Float[np.ndarray, "Q groups"]:
    """Sums the expected rel_i P@i over the first positions of groups in random order.

    Position `before + j` of a group of n items is relevant with probability r / n. If it is, then
    on average (j - 1)(r - 1) / (n - 1) of the j - 1 items before it in the group are relevant.
    """
    slope = (r - 1) / np.maximum(n - 1, 1)
    return r / np.maximum(n, 1) * _series(hits_before + 1 - slope, slope, before, taken)


def _series(a, b, start, terms) -> Float[np.ndarray, "Q groups"]:
    """Sums (a + b j) / (start + j) over j = 1..terms, using harmonic numbers."""
    end = start + terms
    harmonic = np.cumsum(1 / np.maximum(np.arange(end.max(initial=0) + 1), 1)) - 1
    return b * terms + (a - b * start) * (harmonic[end] - harmonic[start])


def _hypergeometric(x, n, r, m) -> Float[np.ndarray, "Q x"]:
    """Gives the probability of x relevant items among m drawn from n, of which r are relevant."""
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(n.max(initial=0) + 1), 1)))

    def log_choose(total, chosen):
        possible = (chosen >= 0) & (chosen <= total)
        chosen = np.where(possible, chosen, 0)
        ways = log_factorial[total] - log_factorial[chosen] - log_factorial[total - chosen]
        return np.where(possible, ways, -np.inf)

    return np.exp(log_choose(r, x) + log_choose(n - r, m - x) - log_choose(n, m))


def count_by_distance(
    query_codes: UInt8[np.ndarray, "Q bytes"],
    base_codes: UInt8[np.ndarray, "M bytes"],
    relevance: Relevance,
    *,
    ids: tuple[Int[np.ndarray, "Q 3"], Int[np.ndarray, "M 3"]] | None = None,
    exclude_within_frames: int | None = None,
) -> TieGroups:
    """Counts the base items of every query by their Hamming distance, some pairs at a time.

    Beside what is given and returned it needs a few megabytes, however many pairs there are.

    Args:
      query_codes: packed codes of the queries.
      base_codes: packed codes of the base set.
      relevance: says which items of a range of the base are relevant to a range of queries.
      ids: the numbers (match, clip, key frame) of the queries and of the base set; with them, no
        query finds itself.
      exclude_within_frames: also leaves out the items of the query's own match whose key frame is
        fewer than this many frames away.
    """
    bits, items = 8 * base_codes.shape[1], len(base_codes)
    rows = max(1, _CHUNK_PAIRS // max(1, min(items, _CHUNK_ITEMS)))
    shape = (len(query_codes), bits + 1)
    graded = relevance(slice(0), slice(0)).dtype != bool
    counts, relevant = np.zeros(shape, int), np.zeros(shape, float if graded else int)
    for start in range(0, len(query_codes), rows):
        queries = slice(start, start + rows)
        for first in range(0, items, _CHUNK_ITEMS):
            some = slice(first, first + _CHUNK_ITEMS)
            excluded = None
            if ids is not None:
                excluded = _excluded(
                    ids[0][queries],
                    np.ascontiguousarray(ids[1][some].T),
                    exclude_within_frames or 0,
                )
            distances = hash_codes.hamming_distances(query_codes[queries], base_codes[some])
            found = tie_groups(distances, relevance(queries, some), bits=bits, excluded=excluded)
            counts[queries] += found.counts
            relevant[queries] += found.relevant
    return TieGroups(counts, relevant)


def _excluded(
    queries: Int[np.ndarray, "rows 3"], base: Int[np.ndarray, "3 items"], within_frames: int
) -> Bool[np.ndarray, "rows items"]:
    """Marks each query itself in the base, and its neighbours within its match."""
    (match, clip, frame), (base_match, base_clip, base_frame) = queries.T[:, :, None], base
    same = clip == base_clip
    if within_frames:
        same |= np.abs(frame - base_frame) < within_frames
    return same & (match == base_match)
