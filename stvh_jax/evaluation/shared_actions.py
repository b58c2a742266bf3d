"""Retrieval judged by what the individuals do: the action IoU of two clips.

After Nakatani et al., "Learning Group Activity Features Through Person Attribute Prediction" (arXiv
2403.02753) and "Human-in-the-loop Adaptation in Group Activity Feature Learning for Team Sports
Video Retrieval" (arXiv 2602.03157), as their code computes it (`calc_action_iou_labels`, "jaccard",
in eval_net_gr.py of chihina/GAFL-FINE-CVIU): the test set searches the training set, and a clip is
relevant if its action IoU with the query is above 0.5. Two things differ. Their clips of few people
repeat people to fill the slots, ours count each actor once; and ties are averaged over all orders,
as everywhere here.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Int, UInt8

from stvh_jax.evaluation import metrics, ranking
from stvh_jax.evaluation.ranking import TieGroups

_IOU_KS = (1, 5, 10)
# Clips with a greater action IoU are relevant.
_SIMILAR = 0.5


@dataclasses.dataclass(frozen=True)
class ActionRanking:
    """The base set as every query ranks it, judged by the actions of the individuals.

    Attributes:
      similar: the base items by distance; those with an action IoU above 0.5 are relevant.
      graded: the same; each is as relevant as its action IoU.
    """

    similar: TieGroups
    graded: TieGroups


def count_actions(action: Int[np.ndarray, "M N"], num_actions: int) -> Int[np.ndarray, "M A"]:
    """Counts the actors of each clip by their action; `UNKNOWN` is not counted."""
    return (action[:, :, None] == np.arange(num_actions)).sum(axis=1, dtype=np.int16)


def action_iou(
    queries: Int[np.ndarray, "Q A"], base: Int[np.ndarray, "M A"]
) -> Float[np.ndarray, "Q M"]:
    r"""Computes the IoU of two clips' actions, as of two multisets.

    $$IoU(q, m) = \frac{\sum_a \min(q_a, m_a)}{\sum_a \max(q_a, m_a)}$$

    Args:
      queries: how many actors of each query do each action.
      base: the same for the base set.

    Returns:
      0..1; 0 for two clips without any known action.
    """
    shared = np.zeros((len(queries), len(base)), np.int16)
    for in_query, in_base in zip(queries.T, base.T):
        shared += np.minimum(in_query[:, None], in_base)
    # max(a, b) = a + b - min(a, b), so that one pass over the actions is enough.
    either = queries.sum(axis=1, dtype=np.int16)[:, None] + base.sum(axis=1, dtype=np.int16)
    either -= shared
    return shared / np.maximum(either, 1, dtype=np.float32)


def rank_by_actions(
    query_codes: UInt8[np.ndarray, "Q bytes"],
    base_codes: UInt8[np.ndarray, "M bytes"],
    query_actions: Int[np.ndarray, "Q A"],
    base_actions: Int[np.ndarray, "M A"],
    *,
    ids: tuple[Int[np.ndarray, "Q 3"], Int[np.ndarray, "M 3"]],
) -> ActionRanking:
    """Ranks the base set for every query, which never finds itself.

    Clips without a known action are left out on both sides.

    Args:
      query_codes: packed codes of the queries.
      base_codes: packed codes of the base set.
      query_actions: how many actors of each query do each action, as from `count_actions`.
      base_actions: the same for the base set.
      ids: the numbers (match, clip, key frame) of the queries and of the base set.
    """
    known_queries, known_base = query_actions.any(axis=1), base_actions.any(axis=1)
    queries, base = query_actions[known_queries], base_actions[known_base]
    count = functools.partial(
        ranking.count_by_distance,
        query_codes[known_queries],
        base_codes[known_base],
        ids=(ids[0][known_queries], ids[1][known_base]),
    )
    return ActionRanking(
        similar=count(lambda some, of_base: action_iou(queries[some], base[of_base]) > _SIMILAR),
        graded=count(lambda some, of_base: action_iou(queries[some], base[of_base])),
    )


def action_metrics(ranked: ActionRanking) -> dict[str, float]:
    """Judges a ranking by the actions of the individuals.

    Returns:
      For k = 1, 5, 10: `iou@k`, the mean action IoU of the k nearest clips. For k = 1, 2, 3, 5, 10:
      `hit@k`, the share of queries with a clip of action IoU above 0.5 among the k nearest, and
      `precision@k`, the share of such clips among them; and `map`, of the full ranking; these are
      means over the queries that have such a clip in the base. NaN where there is no query.
    """
    graded, similar = ranked.graded, ranked.similar
    similar = similar.of(similar.relevant.sum(axis=1) > 0)
    values = metrics.by_pieces(
        graded, lambda piece: {f"iou@{k}": ranking.precision_at_k(piece, k) for k in _IOU_KS}
    )
    values |= metrics.by_pieces(similar, metrics.hits_and_precision)
    values["map"] = metrics.average_precision(similar)
    return {name: metrics.mean(value) for name, value in values.items()}
