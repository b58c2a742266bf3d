"""Retrieval by real-valued features, and by boxes alone, which no training is needed for."""

import numpy as np
from jaxtyping import Bool, Float, Int

from stvh_jax.evaluation import ranking
from stvh_jax.evaluation.metrics import Ranking, mean
from stvh_jax.evaluation.ranking import TieGroups
from stvh_jax.unknown import UNKNOWN

# Hits are judged up to here, so that items further away need not be told apart.
FIRST = 20
_HIT_KS = (1, 5, 10, FIRST)
_K = 10
# Queries sorted at a time, to bound the memory.
_ROWS = 256


def rank_by_similarity(
    similarity: Float[np.ndarray, "Q M"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    left_out: Bool[np.ndarray, "Q M"] | None = None,
) -> Ranking:
    """Ranks the base for every query, the most similar first, as `metrics.rank_by_label` does.

    Items with the query's label are relevant; those with the label `UNKNOWN` are left out on both
    sides, and so are queries without a relevant item.

    Args:
      similarity: of each query and each item, larger for the nearer.
      query_labels: the classes of the queries.
      base_labels: the classes of the base.
      left_out: pairs that do not count, such as a query and itself.

    Returns:
      Groups of equal similarity up to that of the twentieth item, and one of all further items: for
      measures of at most `FIRST` items.
    """
    known_queries, known_base = query_labels != UNKNOWN, base_labels != UNKNOWN
    similarity = similarity[known_queries][:, known_base]
    labels, base_labels = query_labels[known_queries], base_labels[known_base]
    hidden = np.zeros(similarity.shape, bool)
    if left_out is not None:
        hidden = left_out[known_queries][:, known_base]
    pieces = [slice(start, start + _ROWS) for start in range(0, max(1, len(labels)), _ROWS)]
    parts = [
        _count(similarity[rows], labels[rows, None] == base_labels, hidden[rows]) for rows in pieces
    ]
    groups = TieGroups(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.relevant for part in parts]),
    )
    judged = groups.relevant.sum(axis=1) > 0
    return Ranking(groups.of(judged), labels[judged])


def _count(similarity, relevant, hidden) -> TieGroups:
    """Counts items by groups of equal similarity, without hidden pairs."""
    order = np.lexsort((-similarity, hidden), axis=1)  # what is hidden comes last
    ordered = np.take_along_axis(similarity, order, axis=1)
    group = np.zeros(order.shape, int)
    group[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    if group.size:
        reached = group[:, min(FIRST, group.shape[1]) - 1, None]
        group = np.minimum(group, reached + 1)
    group[np.take_along_axis(hidden, order, axis=1)] = FIRST + 1
    places = group + np.arange(len(group))[:, None] * (FIRST + 2)
    size = len(group) * (FIRST + 2)
    right = np.take_along_axis(relevant, order, axis=1)
    counts, hits = (
        np.bincount(some.ravel(), minlength=size).reshape(-1, FIRST + 2)[:, :-1]
        for some in (places, places[right])
    )
    return TieGroups(counts, hits)


def found_first(groups: TieGroups) -> dict[str, float]:
    """Judges the first items of rankings; docs/metrics.md says what each measure is.

    Returns:
      `hit@k` for k = 1, 5, 10, 20, `precision@10` and `map@10`, means over the queries; NaN if
      there is none.
    """
    hits = {f"hit@{k}": mean(ranking.hit_at_k(groups, k)) for k in _HIT_KS}
    return {
        **hits,
        f"precision@{_K}": mean(ranking.precision_at_k(groups, _K)),
        f"map@{_K}": mean(ranking.average_precision_at_k(groups, _K)),
    }


def sorted_boxes(
    boxes: Float[np.ndarray, "M T N 4"], actor_mask: Bool[np.ndarray, "M N"], *, key_frame: int
) -> Float[np.ndarray, "M features"]:
    """Describes clips by the boxes of the key frame, from left to right.

    Args:
      boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame.
      actor_mask: false for padded actors.
      key_frame: its place among the T frames.

    Returns:
      The centres (y, x) and sizes (height, width) of the actors by x of their centres; zeros after
      the last of them.
    """
    corners = boxes[:, key_frame].astype(np.float64)
    low, high = corners[..., :2], corners[..., 2:]
    described = np.concatenate([(low + high) / 2, high - low], axis=-1)
    described = np.where(actor_mask[..., None], described, 0.0)
    order = np.argsort(np.where(actor_mask, described[..., 1], np.inf), axis=1, kind="stable")
    return np.take_along_axis(described, order[..., None], axis=1).reshape(len(boxes), -1)
