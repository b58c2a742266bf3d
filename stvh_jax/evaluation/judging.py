"""Judges encoded clips: their predicted classes, and what their codes retrieve at every focus."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.evaluation import derived_codes
from stvh_jax.evaluation.metrics import (
    Ranking,
    classification_metrics,
    code_health,
    map_by_class,
    rank_by_label,
    retrieval_curves,
    retrieval_metrics,
)
from stvh_jax.evaluation.shared_actions import (
    ActionRanking,
    action_metrics,
    count_actions,
    rank_by_actions,
)
from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.unknown import UNKNOWN

# What is measured of predicted activities and actions, by the keys of the results.
_CLASSIFICATION = (
    "activity_accuracy",
    "activity_mpca",
    "activity_accuracy_from_code",
    "action_accuracy",
    "action_mpca",
    "confusion_matrix",
)


def classification(queries: EncodedClips, *, num_activities: int, num_actions: int) -> dict:
    """Judges the predicted activities and actions; the keys are those of the results.

    The accuracies are NaN where no clip or actor has a label; those of actions are None for a
    model without actors, and everything is for one that names no activities.
    """
    if queries.activity_scores is None or queries.activity_scores_from_code is None:
        return dict.fromkeys(_CLASSIFICATION)
    activity = classification_metrics(
        queries.activity_scores.argmax(axis=1), queries.activity, num_activities
    )
    from_code = classification_metrics(
        queries.activity_scores_from_code.argmax(axis=1), queries.activity, num_activities
    )
    action = {"accuracy": None, "mean_per_class_accuracy": None}
    if queries.action_scores is not None:
        action = classification_metrics(
            queries.action_scores.argmax(axis=2), queries.action, num_actions
        )
    values = (
        activity["accuracy"],
        activity["mean_per_class_accuracy"],
        from_code["accuracy"],
        action["accuracy"],
        action["mean_per_class_accuracy"],
        activity["confusion_matrix"].tolist(),
    )
    return dict(zip(_CLASSIFICATION, values, strict=True))


@dataclasses.dataclass(frozen=True)
class FocusRankings:
    """What the codes of one focus find.

    Attributes:
      activity: the base set as the queries rank it; clips of the same activity are relevant.
      actions: the same, judged by what the individuals do.
      match: each clip of all splits ranks all others; clips of the same match are relevant.
      health: how well the bits are used, see `metrics.code_health`.
    """

    activity: Ranking
    actions: ActionRanking
    match: Ranking
    health: dict[str, float]


def rank(
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, FocusRankings]:
    """Searches with the codes of every focus.

    By activity and actions, `queries` search `base`. By match, each clip of `everything` searches
    all others (section 6.4 of the paper).

    Args:
      queries: the clips that search by activity.
      base: the clips that they search.
      everything: the clips that search each other by match.
      exclude_within_frames: by match, leaves out the clips whose key frame is fewer than this many
        frames from the query's; None leaves out only the query itself, as a search by activity
        always does.

    Returns:
      The rankings by focus, as text.
    """
    query_ids, base_ids, ids = number_clips(queries, base, everything)
    query_actions, base_actions = _count_actions(queries, base)
    return {
        str(focus): FocusRankings(
            activity=rank_by_label(
                codes,
                base.codes[focus],
                queries.activity,
                base.activity,
                query_ids=query_ids,
                base_ids=base_ids,
            ),
            actions=rank_by_actions(
                codes, base.codes[focus], query_actions, base_actions, ids=(query_ids, base_ids)
            ),
            match=rank_by_label(
                everything.codes[focus],
                everything.codes[focus],
                ids[:, 0],
                ids[:, 0],
                query_ids=ids,
                base_ids=ids,
                exclude_within_frames=exclude_within_frames,
            ),
            health=code_health(everything.codes[focus]),
        )
        for focus, codes in queries.codes.items()
    }


def measures(rankings: Mapping[str, FocusRankings]) -> dict[str, dict]:
    """Judges the rankings of every focus; docs/metrics.md says what each measure is."""
    return {
        focus: {
            **_prefixed("activity", retrieval_metrics(found.activity.groups)),
            **_prefixed("actions", action_metrics(found.actions)),
            **_prefixed("match", retrieval_metrics(found.match.groups)),
            **found.health,
        }
        for focus, found in rankings.items()
    }


def curves(rankings: Mapping[str, FocusRankings]) -> dict[str, dict]:
    """Gives the curves of `metrics.retrieval_curves` of every focus, by activity and by match."""
    return {
        focus: {
            "activity": retrieval_curves(found.activity.groups),
            "match": retrieval_curves(found.match.groups),
        }
        for focus, found in rankings.items()
    }


def map_by_activity(
    rankings: Mapping[str, FocusRankings], num_activities: int
) -> dict[str, list[float]]:
    """Gives the mAP of the full ranking for the queries of each activity, at every focus."""
    return {
        focus: map_by_class(found.activity, num_activities) for focus, found in rankings.items()
    }


def _prefixed(relevant: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{relevant}_{name}": value for name, value in values.items()}


def _count_actions(*parts: EncodedClips) -> list[Int[np.ndarray, "M A"]]:
    """Counts the actors of the clips of each part by action."""
    num_actions = 1 + max(int(part.action.max(initial=UNKNOWN)) for part in parts)
    return [count_actions(part.action, num_actions) for part in parts]


def number_clips(*parts: EncodedClips) -> list[Int[np.ndarray, "M 3"]]:
    """Gives (match, clip, key frame) of the clips of each part, equal names as equal numbers."""
    match, clip = (
        np.unique(np.concatenate([getattr(part, field) for part in parts]), return_inverse=True)[1]
        for field in ("match", "clip")
    )
    frame = np.concatenate([part.frame for part in parts])
    ends = np.cumsum([len(part) for part in parts])
    return np.split(np.stack([match, clip, frame], axis=1), ends[:-1])


def derived_retrieval(
    matrix: FilterMatrix,
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, dict]:
    """Judges the codes that F derives, for queries and base alike, as the network's own are judged.

    Returns:
      The measures of `measures` and two more, `bit_agreement_base` and `bit_agreement_query`: the
      shares of bits that are equal to those of the network's own codes of the same focus.
    """
    own = (queries, base, everything)
    derived = [
        dataclasses.replace(clips, codes=derived_codes.derive_all(matrix, clips.codes))
        for clips in own
    ]
    judged = measures(rank(*derived, exclude_within_frames=exclude_within_frames))
    for name, mine, theirs in zip(("query", "base"), own, derived):
        for focus, codes in theirs.codes.items():
            agreement = derived_codes.bit_agreement(mine.codes[focus], codes)
            judged[str(focus)][f"bit_agreement_{name}"] = agreement
    return judged
