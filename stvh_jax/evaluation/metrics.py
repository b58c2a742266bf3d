"""Metrics of predictions and codes: accuracy, retrieval, and how well bits are used.

How ties are treated is said in `ranking.py`. NumPy only; values are fractions in 0..1.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from stvh_jax.codes import packing as hash_codes
from stvh_jax.evaluation import ranking
from stvh_jax.evaluation.ranking import (
    TieGroups,
    average_precision_at_k,
    average_precision_over_hits,
)
from stvh_jax.unknown import UNKNOWN

# The cut-offs of Hit@k.
HIT_KS = (1, 2, 3, 5, 10)
_HAMMING_RADII = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The base set as every judged query ranks it.

    Judged are the queries with a known label that have a relevant item in the base.

    Attributes:
      groups: the base items of the judged queries by distance.
      labels: the labels of the judged queries.
    """

    groups: TieGroups
    labels: Int[np.ndarray, "Q"]


def rank_by_label(
    query_codes: UInt8[np.ndarray, "Q bytes"],
    base_codes: UInt8[np.ndarray, "M bytes"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    query_ids: Int[np.ndarray, "Q 3"] | None = None,
    base_ids: Int[np.ndarray, "M 3"] | None = None,
    exclude_within_frames: int | None = None,
) -> Ranking:
    """Ranks the base set for every query: items with the query's label are relevant.

    Items with the label `UNKNOWN` are left out on both sides.

    Args:
      query_codes: packed codes of the queries.
      base_codes: packed codes of the base set.
      query_labels: activity or match of the queries.
      base_labels: activity or match of the base set.
      query_ids: the numbers (match, clip, key frame) of each query; match and clip identify it.
        With `base_ids`, no query finds itself.
      base_ids: the same for each item of the base set.
      exclude_within_frames: also leaves out the clips of the query's own match whose key frame is
        fewer than this many frames away; None leaves out only the query itself.

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
    labels, base_labels = query_labels[known_queries], base_labels[known_base]
    groups = ranking.count_by_distance(
        query_codes[known_queries],
        base_codes[known_base],
        lambda queries, base: labels[queries, None] == base_labels[base],
        ids=ids,
        exclude_within_frames=exclude_within_frames,
    )
    judged = groups.relevant.sum(axis=1) > 0
    if not judged.all():  # else they would be in memory twice
        groups = groups.of(judged)
    return Ranking(groups, labels[judged])


def retrieval_metrics(
    groups: TieGroups, *, ks: Sequence[int] = (5, 10, 20, 50)
) -> dict[str, float]:
    """Judges a ranking; every mean is over the judged queries.

    Hit@k and Precision@k at small k are those of Nakatani et al., "Human-in-the-loop Adaptation in
    Group Activity Feature Learning for Team Sports Video Retrieval" (arXiv 2602.03157), as in their
    code, chihina/GAFL-FINE-CVIU: the test set searches the training set; Hit@k is the share of
    queries with at least one relevant clip among the k nearest, Precision@k the share of relevant
    clips among them.

    Args:
      groups: the base items of the judged queries by distance.
      ks: the cut-offs of mAP.

    Returns:
      For every k: `map@k`; the same with other denominators, `map@k/over_k` and
      `map@k/over_hits`; its bounds, `map@k/best_tie_order` and `map@k/worst_tie_order`; and
      `precision@k`. For k = 1, 2, 3, 5, 10: `hit@k` and `precision@k`. Once: `map` (the full
      ranking). For r = 0, 1, 2: `precision_hamming_radius_r` (0 for a query without items within r
      bits) and `share_nonempty_hamming_radius_r`, the share of queries that have any. All are NaN
      if no query is judged.
    """
    largest = groups.largest
    values = by_pieces(groups, lambda piece: _judge(piece, ks, largest))
    return {name: mean(value) for name, value in values.items()}


def by_pieces(
    groups: TieGroups, judge: Callable[[TieGroups], dict[str, Shaped[np.ndarray, "Q"]]]
) -> dict[str, Shaped[np.ndarray, "Q"]]:
    """Judges some queries after the other: what a measure needs meanwhile is many times its groups.

    Args:
      groups: of all queries.
      judge: gives values of each query by their names.
    """
    parts = [judge(piece) for piece in groups.pieces()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _judge(groups: TieGroups, ks: Sequence[int], largest: int) -> dict[str, np.ndarray]:
    """Gives what `retrieval_metrics` averages; `largest` is the length of the longest ranking."""
    values: dict[str, np.ndarray] = {}
    for k in ks:
        values |= {
            f"map@{k}": average_precision_at_k(groups, k),
            f"map@{k}/over_k": average_precision_at_k(groups, k, over="k"),
            f"map@{k}/over_hits": average_precision_over_hits(groups, k),
            f"map@{k}/best_tie_order": average_precision_at_k(groups, k, ties="best"),
            f"map@{k}/worst_tie_order": average_precision_at_k(groups, k, ties="worst"),
            f"precision@{k}": ranking.precision_at_k(groups, k),
        }
    values["map"] = average_precision_at_k(groups, largest)
    values |= hits_and_precision(groups)
    for radius in _HAMMING_RADII:
        values |= {
            f"precision_hamming_radius_{radius}": ranking.precision_within(groups, radius),
            f"share_nonempty_hamming_radius_{radius}": ranking.finds_within(groups, radius),
        }
    return values


def hits_and_precision(groups: TieGroups) -> dict[str, Float[np.ndarray, "Q"]]:
    """Gives `hit@k` and `precision@k` of every query for k = 1, 2, 3, 5, 10."""
    values = {}
    for k in HIT_KS:
        values[f"hit@{k}"] = ranking.hit_at_k(groups, k)
        values[f"precision@{k}"] = ranking.precision_at_k(groups, k)
    return values


def average_precision(groups: TieGroups) -> Float[np.ndarray, "Q"]:
    """Gives the average precision of the full ranking of every query."""
    largest = groups.largest
    judged = by_pieces(groups, lambda piece: {"map": average_precision_at_k(piece, largest)})
    return judged["map"]


def retrieval_curves(groups: TieGroups) -> dict[str, list]:
    """Gives the precision and the recall of the N nearest items, means over the judged queries.

    The two together are the precision-recall curve of the ranking.

    Returns:
      `n`, from 1 to the size of the base, about ten values per power of ten; `precision` and
      `recall` at each. All are empty if no query is judged.
    """
    positions = ranking.curve_positions(groups.largest) if len(groups.counts) else []
    judged = by_pieces(
        groups, lambda piece: {f"{n}": ranking.expected_hits(piece, n) for n in positions}
    )
    hits = [judged[f"{n}"] for n in positions]
    relevant = groups.relevant.sum(axis=1)
    return {
        "n": positions,
        "precision": [mean(found / n) for found, n in zip(hits, positions)],
        "recall": [mean(found / relevant) for found in hits],
    }


def map_by_class(ranked: Ranking, num_classes: int) -> list[float]:
    """Averages the average precision of the full ranking over the queries of each class.

    NaN for a class without a judged query.
    """
    precisions = average_precision(ranked.groups)
    return [mean(precisions[ranked.labels == label]) for label in range(num_classes)]


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
        "accuracy": mean(actual[judged] == predicted[judged]),
        "mean_per_class_accuracy": mean(right / matrix[present].sum(axis=1)),
        "confusion_matrix": matrix,
    }


def class_distances(
    codes: UInt8[np.ndarray, "B bytes"],
    labels: Int[np.ndarray, "B"],
    num_classes: int,
    bit_weights: Float[np.ndarray, "K"] | None = None,
) -> Float[np.ndarray, "classes classes"]:
    """Averages the Hamming distance between the clips of every two classes (Fig. 12).

    No clip is paired with itself; NaN where two classes have no pair. Clips of activity `UNKNOWN`
    are left out.

    Args:
      codes: packed codes.
      labels: the class of each clip.
      num_classes: the number of classes.
      bit_weights: what each bit weighs; None for 1.
    """
    one_hot = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
    signs = hash_codes.unpack(codes)
    weights = np.ones(signs.shape[1]) if bit_weights is None else bit_weights
    sums, sizes = one_hot.T @ signs, one_hot.sum(axis=0)
    # Two codes differ by (W - b . wb') / 2, W the sum of weights, and a code by 0 from itself.
    differing = (np.outer(sizes, sizes) * weights.sum() - (sums * weights) @ sums.T) / 2
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


def mean(values: np.ndarray) -> float:
    """Averages values; NaN if there are none."""
    return float(values.mean()) if len(values) else float("nan")
