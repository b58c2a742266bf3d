"""What each query of an evaluation reached, so that two models can be compared query by query."""

import numpy as np
from jaxtyping import Shaped

from stvh_jax.evaluation.judging import number_clips
from stvh_jax.evaluation.ranking import (
    TieGroups,
    average_precision_at_k,
    average_precision_over_hits,
    count_by_distance,
)
from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.unknown import UNKNOWN

K = 10


def by_query(
    queries: EncodedClips, base: EncodedClips, *, focus: int
) -> dict[str, Shaped[np.ndarray, "Q"]]:
    """Judges the predicted activity and the retrieval by activity of each query.

    Args:
      queries: the clips that search.
      base: the clips that they search; no query finds itself.
      focus: whose codes are compared.

    Returns:
      One value per query, NaN where the query has no label or no relevant clip: `correct`, 1 if its
      activity is named and 0 if not, NaN of a model that names none; `ap@10` and
      `ap@10/over_hits`, whose means over the queries are mAP@10 and mAP@10 over hits. `match` and
      `clip` identify the query.
    """
    known = queries.activity != UNKNOWN
    correct = np.full(len(queries), np.nan)
    if queries.activity_scores is not None:
        right = queries.activity_scores.argmax(axis=1) == queries.activity
        correct = np.where(known, right, np.nan)
    groups = _ranked(queries, base, focus)
    judged = groups.relevant.any(axis=1)
    plain, over_hits = average_precision_at_k(groups, K), average_precision_over_hits(groups, K)
    return {
        "match": queries.match,
        "clip": queries.clip,
        "correct": correct,
        f"ap@{K}": np.where(judged, plain, np.nan),
        f"ap@{K}/over_hits": np.where(judged, over_hits, np.nan),
    }


def _ranked(queries: EncodedClips, base: EncodedClips, focus: int) -> TieGroups:
    """Ranks the clips of known activity for all queries, also those that are not judged."""
    known = base.activity != UNKNOWN
    activities = base.activity[known]
    query_ids, base_ids = number_clips(queries, base)
    return count_by_distance(
        queries.codes[focus],
        base.codes[focus][known],
        lambda some, of_base: queries.activity[some, None] == activities[of_base],
        ids=(query_ids, base_ids[known]),
    )
