"""Metrics of predictions and codes: accuracy, retrieval with ties, and how well bits are used.

Hamming distances are small integers, so most neighbours of a query fall into groups of equal
distance, and the order inside a group is arbitrary. Every retrieval metric here is therefore the
exact expectation over all orders of each group, all equally likely. This needs no sorting: two
histograms per query are enough, which count all base items and the relevant ones at each distance.
NumPy only; values are fractions in 0..1.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from stvh_jax.clips import UNKNOWN
from stvh_jax.codes import packing as hash_codes

# Pairs of query and base item compared at a time, to bound the memory.
_CHUNK_PAIRS = 1 << 18
_HAMMING_RADIUS = 2


@dataclasses.dataclass(frozen=True)
class TieGroups:
    """The base items of every query, counted by their distance from the query.

    Attributes:
      counts: how many items are at each distance 0..K, so that there are K + 1 groups.
      relevant: how many of them are relevant.
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
    """Counts base items by distance, without the `excluded` pairs."""
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
    before, hits_before, taken = _prefix(groups, k)
    queries = np.arange(len(before))
    # The group that position k falls into, or the last group if the base is smaller than k.
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
    """Gives the expected share of relevant items among the k nearest.

    In a base of fewer than k items the missing ones count as not relevant.
    """
    _, _, taken = _prefix(groups, k)
    return (taken * groups.relevant / np.maximum(groups.counts, 1)).sum(axis=1) / k


def _prefix(groups: TieGroups, k: int) -> tuple[Int[np.ndarray, "Q groups"], ...]:
    """Counts items and relevant items before each group, and the group's items in the first k."""
    if k < 1:
        raise ValueError(f"k = {k}; give 1 or more")
    before = groups.counts.cumsum(axis=1) - groups.counts
    hits_before = groups.relevant.cumsum(axis=1) - groups.relevant
    return before, hits_before, np.clip(k - before, 0, groups.counts)


def _precision_sums(groups: TieGroups, k: int, ties: str) -> Float[np.ndarray, "Q groups"]:
    """Sums rel_i P@i over the positions of each group that are among the first k."""
    before, hits_before, taken = _prefix(groups, k)
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


def retrieval_metrics(
    query_codes: UInt8[np.ndarray, "Q bytes"],
    base_codes: UInt8[np.ndarray, "M bytes"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    ks: Sequence[int] = (5, 10, 20, 50),
    query_ids: Int[np.ndarray, "Q 3"] | None = None,
    base_ids: Int[np.ndarray, "M 3"] | None = None,
    exclude_within_frames: int | None = None,
) -> dict[str, float]:
    """Judges codes by their nearest neighbours: items with the query's label are relevant.

    Items with the label `UNKNOWN` are left out on both sides, and every mean is over the queries
    that have a relevant item in the base.

    Args:
      query_codes: packed codes of the queries.
      base_codes: packed codes of the base set.
      query_labels: activity or match of the queries.
      base_labels: activity or match of the base set.
      ks: the cut-offs.
      query_ids: the numbers (match, clip, key frame) of each query; match and clip identify it.
        With `base_ids`, no query finds itself.
      base_ids: the same for each item of the base set.
      exclude_within_frames: also leaves out the clips of the query's own match whose key frame is
        fewer than this many frames away; None leaves out only the query itself.

    Returns:
      For every k: `map@k`; the same with other denominators, `map@k/over_k` and
      `map@k/over_hits`; its bounds, `map@k/best_tie_order` and `map@k/worst_tie_order`; and
      `precision@k`. Once: `map` (the full ranking), `precision_hamming_radius_2` (0 for a query
      without items within 2 bits) and `share_nonempty_hamming_radius_2`. All are NaN if no query
      has a relevant item.

    Raises:
      ValueError: ids are given for one side only, or `exclude_within_frames` without ids.
    """
    if (query_ids is None) != (base_ids is None):
        raise ValueError("give ids for both the queries and the base, or for neither")
    if exclude_within_frames is not None and query_ids is None:
        raise ValueError("exclude_within_frames needs query_ids and base_ids")
    known_queries, known_base = query_labels != UNKNOWN, base_labels != UNKNOWN
    ids = None
    if query_ids is not None and base_ids is not None:
        ids = query_ids[known_queries], base_ids[known_base]
    groups = _count_in_chunks(
        (query_codes[known_queries], base_codes[known_base]),
        (query_labels[known_queries], base_labels[known_base]),
        ids,
        exclude_within_frames or 0,
    )
    judged = groups.relevant.any(axis=1)
    groups = TieGroups(groups.counts[judged], groups.relevant[judged])
    values = _judge(groups, ks, base_size=max(1, len(base_labels)))
    return {name: _mean(value) for name, value in values.items()}


def _judge(
    groups: TieGroups, ks: Sequence[int], *, base_size: int
) -> dict[str, Shaped[np.ndarray, "Q"]]:
    """Gives every measure of `retrieval_metrics`, one value per query."""
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
    """Counts the base items by distance, some queries at a time.

    The first three arguments are pairs (of the queries, of the base).
    """
    queries, base = codes
    bits = 8 * base.shape[1]
    counts = TieGroups(*np.zeros((2, len(queries), bits + 1), np.int64))
    rows = max(1, _CHUNK_PAIRS // max(1, len(base)))
    for start in range(0, len(queries), rows):
        chunk = slice(start, start + rows)
        excluded = None
        if ids is not None:
            excluded = _excluded(ids[0][chunk], ids[1], within_frames)
        part = tie_groups(
            hash_codes.hamming_distances(queries[chunk], base),
            labels[0][chunk, None] == labels[1],
            bits=bits,
            excluded=excluded,
        )
        counts.counts[chunk], counts.relevant[chunk] = part.counts, part.relevant
    return counts


def _excluded(
    queries: Int[np.ndarray, "Q 3"], base: Int[np.ndarray, "M 3"], within_frames: int
) -> Bool[np.ndarray, "Q M"]:
    """Marks each query itself in the base, and its neighbours within its match."""
    (match, clip, frame), (base_match, base_clip, base_frame) = queries.T[:, :, None], base.T
    near = np.abs(frame - base_frame) < within_frames
    return (match == base_match) & ((clip == base_clip) | near)


class Classification(TypedDict):
    """How well predicted classes agree with the true ones.

    Attributes:
      accuracy: MCA, NaN if no element has a true class.
      mean_per_class_accuracy: MPCA, over the classes that occur; NaN as well if there are none.
      confusion_matrix: counts of [actual, predicted].
    """

    accuracy: float
    mean_per_class_accuracy: float
    confusion_matrix: Int[np.ndarray, "classes classes"]


def classification_metrics(
    predicted: Int[np.ndarray, "*shape"],
    actual: Int[np.ndarray, "*shape"],
    num_classes: int,
    *,
    mask: Bool[np.ndarray, "*shape"] | None = None,
) -> Classification:
    """Compares predicted classes with the true ones.

    Args:
      predicted: predicted classes, 0..num_classes-1.
      actual: true classes; elements with `UNKNOWN` are left out.
      num_classes: the number of classes.
      mask: false leaves an element out.

    Raises:
      ValueError: a class lies outside 0..num_classes-1.
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

    No clip is paired with itself; NaN where two classes have no pair. Clips of activity `UNKNOWN`
    are left out.
    """
    one_hot = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
    signs = hash_codes.unpack(codes)
    sums, sizes = one_hot.T @ signs, one_hot.sum(axis=0)
    # Two codes differ in (K - b . b') / 2 bits, and a code differs from itself in none.
    differing = (np.outer(sizes, sizes) * signs.shape[1] - sums @ sums.T) / 2
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return np.divide(differing, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)


def code_health(codes: UInt8[np.ndarray, "B bytes"]) -> dict[str, float]:
    """Measures how well the bits are used.

    Returns:
      `bit_balance`, the mean over the bits of |mean sign| (0: every bit is set in half of the
      codes; 1: no bit ever changes); `distinct_codes`, the number of different codes;
      `collision_rate`, the share of clips whose code another clip has as well.
    """
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    return {
        "bit_balance": float(np.abs(hash_codes.unpack(codes).mean(axis=0)).mean()),
        "distinct_codes": float(len(sizes)),
        "collision_rate": float(sizes[sizes > 1].sum() / len(codes)),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
