"""Judges encoded clips: their classes, and what their codes retrieve at every focus."""

import dataclasses

from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.evaluation import derived_codes
from stvh_jax.evaluation.metrics import (
    classification_metrics,
    code_health,
    retrieval_metrics,
)
from stvh_jax.inference.encoded_clips import EncodedClips


def classification(queries: EncodedClips, *, num_activities: int, num_actions: int) -> dict:
    """Judges the classes of the queries' activities and actions; keys as `evaluate.py` writes."""
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
    return {
        "activity_accuracy": activity["accuracy"],
        "activity_mpca": activity["mean_per_class_accuracy"],
        "activity_accuracy_from_code": from_code["accuracy"],
        "action_accuracy": action["accuracy"],
        "action_mpca": action["mean_per_class_accuracy"],
        "confusion_matrix": activity["confusion_matrix"].tolist(),
    }


def retrieval(
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, dict]:
    """Judges the codes of every focus.

    Activity: `queries` against `base`, relevant is the same activity. Match: each clip of
    `everything` against all others, relevant is the same match (paper 6.4). A query never finds
    itself, nor, for the match, clips within `exclude_within_frames` of it.
    """
    foci = {}
    for focus in queries.codes:
        activity = retrieval_metrics(
            queries.codes[focus],
            base.codes[focus],
            queries.activity,
            base.activity,
            query_ids=queries.ids,
            base_ids=base.ids,
        )
        match = retrieval_metrics(
            everything.codes[focus],
            everything.codes[focus],
            everything.ids[:, 0],
            everything.ids[:, 0],
            query_ids=everything.ids,
            base_ids=everything.ids,
            exclude_within_frames=exclude_within_frames,
        )
        foci[str(focus)] = {
            **{f"activity_{name}": value for name, value in activity.items()},
            **{f"match_{name}": value for name, value in match.items()},
            **code_health(everything.codes[focus]),
        }
    return foci


def derived_retrieval(
    matrix: FilterMatrix,
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, dict]:
    """Judges the codes that F derives, of queries and base, as `retrieval` does the own codes.

    Beside its measures: `bit_agreement_base` and `bit_agreement_query`, the shares of bits in which
    they are the own codes of the same focus.
    """
    own = (queries, base, everything)
    derived = [
        dataclasses.replace(clips, codes=derived_codes.derive_all(matrix, clips.codes))
        for clips in own
    ]
    judged = retrieval(*derived, exclude_within_frames=exclude_within_frames)
    for name, mine, theirs in zip(("query", "base"), own, derived):
        for focus, codes in theirs.codes.items():
            agreement = derived_codes.bit_agreement(mine.codes[focus], codes)
            judged[str(focus)][f"bit_agreement_{name}"] = agreement
    return judged
