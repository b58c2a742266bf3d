"""Judges encoded clips: their predicted classes, and what their codes retrieve at every focus."""

import dataclasses

import numpy as np
from jaxtyping import Int

from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.evaluation import derived_codes
from stvh_jax.evaluation.metrics import (
    classification_metrics,
    code_health,
    retrieval_metrics,
)
from stvh_jax.inference.encoded_clips import EncodedClips


def classification(queries: EncodedClips, *, num_activities: int, num_actions: int) -> dict:
    """Judges the predicted activities and actions; the keys are those of the results.

    The accuracies are NaN where no clip or actor has a label; those of actions are None for a
    model without actors.
    """
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

    By activity, `queries` search `base`, and clips of the same activity are relevant. By match,
    each clip of `everything` searches all others, and clips of the same match are relevant
    (section 6.4 of the paper).

    Args:
      queries: the clips that search by activity.
      base: the clips that they search.
      everything: the clips that search each other by match.
      exclude_within_frames: by match, leaves out the clips whose key frame is fewer than this many
        frames from the query's; None leaves out only the query itself, as a search by activity
        always does.

    Returns:
      The measures by focus, as text.
    """
    query_ids, base_ids, ids = _number(queries, base, everything)
    foci = {}
    for focus in queries.codes:
        activity = retrieval_metrics(
            queries.codes[focus],
            base.codes[focus],
            queries.activity,
            base.activity,
            query_ids=query_ids,
            base_ids=base_ids,
        )
        match = retrieval_metrics(
            everything.codes[focus],
            everything.codes[focus],
            ids[:, 0],
            ids[:, 0],
            query_ids=ids,
            base_ids=ids,
            exclude_within_frames=exclude_within_frames,
        )
        foci[str(focus)] = {
            **{f"activity_{name}": value for name, value in activity.items()},
            **{f"match_{name}": value for name, value in match.items()},
            **code_health(everything.codes[focus]),
        }
    return foci


def _number(*parts: EncodedClips) -> list[Int[np.ndarray, "M 3"]]:
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
    """Judges the codes that F derives, for queries and base alike, as `retrieval` judges codes.

    Returns:
      The measures of `retrieval` and two more, `bit_agreement_base` and `bit_agreement_query`: the
      shares of bits that are equal to those of the network's own codes of the same focus.
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
