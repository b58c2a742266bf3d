"""What predictions and codes are judged by: accuracy, retrieval with ties, health of the code.

Hamming distances are small integers, so most neighbours of a query stand in groups of equal
distance, and the order inside a group is arbitrary. Everything here is therefore the exact
expectation over all orders of every such group, all equally likely. It needs no sorting: two
histograms a query, how many base items and how many relevant ones stand at each distance, say it
all. NumPy only; values are fractions in 0..1.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from stvh_jax.clips import UNKNOWN
from stvh_jax.codes import packing as hash_codes

# Pairs of query and base item judged at a time, which bounds the memory.
_CHUNK_PAIRS = 1 << 18


_HAMMING_RADIUS = 2


@dataclasses.dataclass(frozen=True)
class TieGroups:
    """The base items of every query, counted by their distance from it.

    Attributes:
      counts: items at distance 0..K, which makes K + 1 groups.
      relevant: those of them that are relevant.
    """

    counts: Int[np.ndarray, "Q groups"]
    relevant: Int[np.ndarray, "Q groups"]


def tie_groups(
    distances: Int[np.ndarray, "Q M"],
    relevant: Bool[np.ndarray, "Q M"],
    *,
    bits: int,
    excluded: Bool[np.ndarray, "Q M"] | None = None,
) -> TieGroups:
    """Counts base items by distance, leaving the `excluded` pairs out."""
    queries = len(distances)
    group = distances if excluded is None else np.where(excluded, bits + 1, distances)
    index = 2 * (np.arange(queries)[:, None] * (bits + 2) + group) + relevant
    table = np.bincount(index.ravel(), minlength=2 * queries * (bits + 2))
    irrelevant, relevant_counts = np.moveaxis(table.reshape(queries, bits + 2, 2)[:, :-1], 2, 0)
    return TieGroups(irrelevant + relevant_counts, relevant_counts)


def average_precision_at_k(
    groups: TieGroups,
    k: int,
    *,
    over: Literal["min(k, R)", "k"] = "min(k, R)",
    ties: Literal["expected", "best", "worst"] = "expected",
) -> Float[np.ndarray, "Q"]:
    r"""Judges the k nearest items of every query by average precision.

    $$AP@k = \frac{1}{\min(k, R)} \sum_{i \le k} rel_i \cdot P@i$$

    where R counts the relevant items of the base and P@i is the share of relevant items among the
    first i. A k of at least the size of the base judges the full ranking.

    Args:
      groups: the base items of every query by distance.
      k: how many of the nearest items are judged.
      over: the denominator, `min(k, R)` or `k`.
      ties: the expectation over the orders inside equal distances, or the best or worst order.

    Returns:
      One value a query, 0 where the base has no relevant item.
    """
    relevant = groups.relevant.sum(axis=1)
    denominator = np.full_like(relevant, k) if over == "k" else np.minimum(k, relevant)
    return _precision_sums(groups, k, ties).sum(axis=1) / np.maximum(denominator, 1)


def average_precision_over_hits(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    r"""Judges as `average_precision_at_k`, over the h hits in the k nearest in place of min(k, R).

    h is random where position k cuts through a tie group: x of the group's r relevant items fall
    on its first m positions, hypergeometrically. Given x the order is still uniform, so the exact
    expectation is a finite sum over x; the groups before the cut have no part in it.

    Returns:
      One value a query, 0 where there is no hit.
    """
    before, hits_before, taken = _prefix(groups, k)
    queries = np.arange(len(before))
    # The group that position k falls in, or the last one of a smaller base.
    cut = np.argmax(before + groups.counts >= taken.sum(axis=1, keepdims=True), axis=1)
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


def precision_at_k(groups: TieGroups, k: int) -> Float[np.ndarray, "Q"]:
    """Gives the expected share of relevant items among the k nearest; a smaller base misses."""
    _, _, taken = _prefix(groups, k)
    return (taken * groups.relevant / np.maximum(groups.counts, 1)).sum(axis=1) / k


def _prefix(groups: TieGroups, k: int) -> tuple[Int[np.ndarray, "Q groups"], ...]:
    """Gives the items and the relevant items before each group, and its items in the first k."""
    if k < 1:
        raise ValueError(f"k = {k}; at least the first item is judged")
    before = groups.counts.cumsum(axis=1) - groups.counts
    hits_before = groups.relevant.cumsum(axis=1) - groups.relevant
    return before, hits_before, np.clip(k - before, 0, groups.counts)


def _precision_sums(groups: TieGroups, k: int, ties: str) -> Float[np.ndarray, "Q groups"]:
    """Sums rel_i P@i over those of the first k positions that each group holds."""
    before, hits_before, taken = _prefix(groups, k)
    n, r = groups.counts, groups.relevant
    if ties == "expected":
        return _expected_precision_sums(n, r, taken, before, hits_before)
    # Hits stand in one run, so that each raises the count by one: from the group's first
    # position on in the best order, after all of its misses in the worst.
    misses_first = 0 if ties == "best" else n - r
    hits = np.clip(taken - misses_first, 0, r)
    return _series(hits_before, 1, before + misses_first, hits)


def _expected_precision_sums(n, r, taken, before, hits_before) -> Float[np.ndarray, "Q groups"]:
    """Sums the expected rel_i P@i over the first positions of groups in random order.

    Position `before + j` of a group of n items is relevant with probability r / n, and then the
    j - 1 items before it in the group hold (j - 1)(r - 1) / (n - 1) relevant ones on average.
    """
    slope = (r - 1) / np.maximum(n - 1, 1)
    return r / np.maximum(n, 1) * _series(hits_before + 1 - slope, slope, before, taken)


def _series(a, b, start, terms) -> Float[np.ndarray, "Q groups"]:
    """Sums (a + b j) / (start + j) over j = 1..terms, by harmonic numbers."""
    end = start + terms
    harmonic = np.cumsum(1 / np.maximum(np.arange(end.max(initial=0) + 1), 1)) - 1
    return b * terms + (a - b * start) * (harmonic[end] - harmonic[start])


def _hypergeometric(x, n, r, m) -> Float[np.ndarray, "Q x"]:
    """Gives the probability of x relevant items among m drawn of n, r of them relevant."""
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(n.max(initial=0) + 1), 1)))

    def log_choose(total, chosen):
        possible = (chosen >= 0) & (chosen <= total)
        chosen = np.where(possible, chosen, 0)
        ways = log_factorial[total] - log_factorial[chosen] - log_factorial[total - chosen]
        return np.where(possible, ways, -np.inf)

    return np.exp(log_choose(r, x) + log_choose(n - r, m - x) - log_choose(n, m))


def retrieval_metrics(
    query_codes: UInt8[np.ndarray, "Q bytes"],
    base_codes: UInt8[np.ndarray, "M bytes"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    ks: Sequence[int] = (5, 10, 20, 50),
    query_ids: Int[np.ndarray, "Q 2"] | None = None,
    base_ids: Int[np.ndarray, "M 2"] | None = None,
    exclude_within_frames: int | None = None,
) -> dict[str, float]:
    """Judges codes by what is nearest to them: an item of the query's own label is relevant.

    Items of label `UNKNOWN` are left out on both sides, and every mean is over the queries that
    have a relevant item in the base.

    Args:
      query_codes: packed codes of the queries.
      base_codes: packed codes of the base set.
      query_labels: activity or match of the queries.
      base_labels: activity or match of the base set.
      ks: the cut-offs.
      query_ids: (match, clip) of the queries; with `base_ids`, no query finds itself.
      base_ids: (match, clip) of the base set.
      exclude_within_frames: also leave out the clips of the query's own match whose number
        differs by less than this; None leaves out the query alone.

    Returns:
      For every k: `map@k`, its other denominators `map@k/over_k` and `map@k/over_hits`, its
      bounds `map@k/best_tie_order` and `map@k/worst_tie_order`, and `precision@k`. Once: `map`
      (the full ranking), `precision_hamming_radius_2` (no item within 2 bits counts 0) and
      `share_nonempty_hamming_radius_2`. All NaN if no query has a relevant item.

    Raises:
      ValueError: if ids of one side only are given, or frames to exclude without ids.
    """
    if (query_ids is None) != (base_ids is None):
        raise ValueError("ids are needed of both the queries and the base, or of neither")
    if exclude_within_frames is not None and query_ids is None:
        raise ValueError("exclude_within_frames needs query_ids and base_ids")
    known_queries, known_base = query_labels != UNKNOWN, base_labels != UNKNOWN
    groups = _count_in_chunks(
        (query_codes[known_queries], base_codes[known_base]),
        (query_labels[known_queries], base_labels[known_base]),
        None if query_ids is None else (query_ids[known_queries], base_ids[known_base]),
        # A query differs from itself by no frame, which is less than one.
        exclude_within_frames or 1,
    )
    judged = groups.relevant.any(axis=1)
    groups = TieGroups(groups.counts[judged], groups.relevant[judged])
    values = _judge(groups, ks, base_size=max(1, len(base_labels)))
    return {name: _mean(value) for name, value in values.items()}


def _judge(
    groups: TieGroups, ks: Sequence[int], *, base_size: int
) -> dict[str, Shaped[np.ndarray, "Q"]]:
    """Gives every measure of `retrieval_metrics`, one value a query."""
    values = {}
    for k in ks:
        values |= {
            f"map@{k}": average_precision_at_k(groups, k),
            f"map@{k}/over_k": average_precision_at_k(groups, k, over="k"),
            f"map@{k}/over_hits": average_precision_over_hits(groups, k),
            f"map@{k}/best_tie_order": average_precision_at_k(groups, k, ties="best"),
            f"map@{k}/worst_tie_order": average_precision_at_k(groups, k, ties="worst"),
            f"precision@{k}": precision_at_k(groups, k),
        }
    ball = groups.counts[:, : _HAMMING_RADIUS + 1].sum(axis=1)
    hits = groups.relevant[:, : _HAMMING_RADIUS + 1].sum(axis=1)
    return values | {
        "map": average_precision_at_k(groups, base_size),
        f"precision_hamming_radius_{_HAMMING_RADIUS}": hits / np.maximum(ball, 1),
        f"share_nonempty_hamming_radius_{_HAMMING_RADIUS}": ball > 0,
    }


def _count_in_chunks(codes, labels, ids, within_frames: int) -> TieGroups:
    """Counts the base by distance, some queries at a time; each argument is (queries, base)."""
    queries, base = codes
    bits = 8 * base.shape[1]
    counts = TieGroups(*np.zeros((2, len(queries), bits + 1), np.int64))
    rows = max(1, _CHUNK_PAIRS // max(1, len(base)))
    for start in range(0, len(queries), rows):
        chunk = slice(start, start + rows)
        excluded = None
        if ids is not None:
            (match, clip), (base_match, base_clip) = ids[0][chunk].T, ids[1].T
            excluded = match[:, None] == base_match
            excluded &= np.abs(clip[:, None] - base_clip) < within_frames
        part = tie_groups(
            hash_codes.hamming_distances(queries[chunk], base),
            labels[0][chunk, None] == labels[1],
            bits=bits,
            excluded=excluded,
        )
        counts.counts[chunk], counts.relevant[chunk] = part.counts, part.relevant
    return counts


def classification_metrics(
    predicted: Int[np.ndarray, "*shape"],
    actual: Int[np.ndarray, "*shape"],
    num_classes: int,
    *,
    mask: Bool[np.ndarray, "*shape"] | None = None,
) -> dict[str, float | Int[np.ndarray, "classes classes"]]:
    """Judges predicted classes.

    Args:
      predicted: predicted classes, 0..num_classes-1.
      actual: true classes; `UNKNOWN` is left out.
      num_classes: the number of classes.
      mask: false leaves an element out.

    Returns:
      `accuracy` (MCA), `mean_per_class_accuracy` (MPCA, over the classes that `actual` has), both
      NaN if nothing is left to judge, and `confusion_matrix`, counts of [actual, predicted].

    Raises:
      ValueError: if a class that is judged lies outside 0..num_classes-1.
    """
    judged = actual != UNKNOWN
    if mask is not None:
        judged &= mask
    pair = np.stack([actual[judged], predicted[judged]])
    if pair.size and (pair.min() < 0 or pair.max() >= num_classes):
        raise ValueError(f"a class lies outside 0..{num_classes - 1}")
    index = np.ravel_multi_index(tuple(pair), (num_classes, num_classes))
    matrix = np.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)
    present = matrix.sum(axis=1) > 0
    right = matrix.diagonal()[present]
    return {
        "accuracy": _mean(actual[judged] == predicted[judged]),
        "mean_per_class_accuracy": _mean(right / matrix[present].sum(axis=1)),
        "confusion_matrix": matrix,
    }


def class_distances(
    codes: UInt8[np.ndarray, "B bytes"], labels: Int[np.ndarray, "B"], num_classes: int
) -> Float[np.ndarray, "classes classes"]:
    """Averages the Hamming distance between the clips of every two classes (Fig. 12).

    No clip is paired with itself; NaN where two classes have no pair. `UNKNOWN` is left out.
    """
    one_hot = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
    signs = hash_codes.unpack(codes)
    sums, sizes = one_hot.T @ signs, one_hot.sum(axis=0)
    # Two codes differ in (K - b . b') / 2 bits, and a code differs from itself in none.
    differing = (np.outer(sizes, sizes) * signs.shape[1] - sums @ sums.T) / 2
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return np.divide(differing, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)


def code_health(codes: UInt8[np.ndarray, "B bytes"]) -> dict[str, float]:
    """Says how well the bits are used.

    Returns:
      `bit_balance`, the mean over the bits of |mean sign| (0: every bit is set in half of the
      codes; 1: no bit ever changes); `distinct_codes`, how many there are; `collision_rate`, the
      share of clips whose code is another clip's as well.
    """
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    return {
        "bit_balance": float(np.abs(hash_codes.unpack(codes).mean(axis=0)).mean()),
        "distinct_codes": float(len(sizes)),
        "collision_rate": float(sizes[sizes > 1].sum() / len(codes)),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
