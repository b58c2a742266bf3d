"""What each query of an evaluation reached, so that two models can be compared query by query."""

import numpy as np
from jaxtyping import Shaped

from stvh_jax.clips import UNKNOWN
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.evaluation.ranking import (
    average_precision_at_k,
    average_precision_over_hits,
    tie_groups,
)
from stvh_jax.inference.encoded_clips import EncodedClips

K = 10
# Queries compared with the base at a time, to bound the memory.
_CHUNK = 256


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
      activity is named and 0 if not; `ap@10` and `ap@10/over_hits`, whose means over the queries
      are mAP@10 and mAP@10 over hits. `match` and `clip` identify the query.
    """
    known = queries.activity != UNKNOWN
    right = queries.activity_scores.argmax(axis=1) == queries.activity
    precisions = [
        _average_precisions(queries, base, focus, np.arange(start, min(start + _CHUNK, len(known))))
        for start in range(0, len(known), _CHUNK)
    ]
    plain, over_hits = np.concatenate(precisions, axis=1)
    return {
        "match": queries.match,
        "clip": queries.clip,
        "correct": np.where(known, right, np.nan),
        f"ap@{K}": plain,
        f"ap@{K}/over_hits": over_hits,
    }


def _average_precisions(queries, base, focus, rows) -> np.ndarray:
    """Gives AP@10 and AP@10 over hits of the queries in these rows, as an array [2, rows]."""
    labels = queries.activity[rows, None]
    relevant = (labels == base.activity) & (labels != UNKNOWN)
    itself = (queries.match[rows, None] == base.match) & (queries.clip[rows, None] == base.clip)
    groups = tie_groups(
        hamming_distances(queries.codes[focus][rows], base.codes[focus]),
        relevant,
        bits=8 * base.codes[focus].shape[1],
        excluded=itself | (base.activity == UNKNOWN),
    )
    values = np.stack([average_precision_at_k(groups, K), average_precision_over_hits(groups, K)])
    return np.where(groups.relevant.any(axis=1), values, np.nan)
