"""Judges a trained model on a data set: classification, retrieval at every focus, codes."""

import dataclasses
import math
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from stvh_jax.clips import UNKNOWN, Clips
from stvh_jax.codes import binarize, hamming_distances, pack
from stvh_jax.encoder import Encoder
from stvh_jax.metrics import classification_metrics, code_health, retrieval_metrics


@dataclasses.dataclass(frozen=True)
class EncodedClips:
    """M encoded clips with their labels, as NumPy arrays.

    Attributes:
      codes: packed codes by focus.
      activity_scores: activity logits of the last focus.
      activity_scores_from_code: the same head reading the binary code in place of h.
      action_scores: action logits of each actor.
      activity: labels, `UNKNOWN` if none.
      action: labels of each actor, `UNKNOWN` in padded slots.
      ids: (match, clip) of each clip.
    """

    codes: dict[int, UInt8[np.ndarray, "M bytes"]]
    activity_scores: Float[np.ndarray, "M G"]
    activity_scores_from_code: Float[np.ndarray, "M G"]
    action_scores: Float[np.ndarray, "M N A"]
    activity: Int[np.ndarray, "M"]
    action: Int[np.ndarray, "M N"]
    ids: Int[np.ndarray, "M 2"]

    def __len__(self) -> int:
        """Counts the clips."""
        return len(self.ids)

    @classmethod
    def concatenate(cls, parts: list["EncodedClips"]) -> "EncodedClips":
        """Joins encoded clips of one model."""
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(cls)
            if field.name != "codes"
        }
        codes = {
            focus: np.concatenate([part.codes[focus] for part in parts]) for focus in parts[0].codes
        }
        return cls(codes=codes, **joined)


def encode_clips(encoder: Encoder, batches: Iterable[Clips], *, progress=None) -> EncodedClips:
    """Encodes every clip of some evaluation batches; padding clips are left out.

    Args:
      encoder: a trained model.
      batches: NumPy clips.
      progress: called with the number of clips done after each batch.
    """
    head = encoder.variables["params"][f"head_{encoder.foci[-1]}"]["activity"]
    parts, done = [], 0
    for clips in batches:
        outputs = jax.device_get(encoder.apply(encoder.variables, clips))
        valid = np.asarray(clips.clip_mask)
        relaxed = outputs.relaxed[:, valid]
        parts.append(
            EncodedClips(
                codes={focus: pack(binarize(h)) for focus, h in zip(encoder.foci, relaxed)},
                activity_scores=outputs.activity_logits[-1][valid],
                activity_scores_from_code=binarize(relaxed[-1]) @ head["kernel"] + head["bias"],
                action_scores=outputs.action_logits[valid],
                activity=np.asarray(clips.activity)[valid],
                action=np.asarray(clips.action)[valid],
                ids=np.stack([clips.match, clips.clip], axis=1)[valid],
            )
        )
        done += int(valid.sum())
        if progress:
            progress(done)
    return EncodedClips.concatenate(parts)


def classification(queries: EncodedClips, *, num_activities: int, num_actions: int) -> dict:
    """Judges the classes of the queries' activities and actions; keys as `evaluate.py` writes."""
    activity = classification_metrics(
        queries.activity_scores.argmax(axis=1), queries.activity, num_activities
    )
    from_code = classification_metrics(
        queries.activity_scores_from_code.argmax(axis=1), queries.activity, num_activities
    )
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


def example_queries(queries: EncodedClips, *, count: int) -> list[int]:
    """Picks the first query of each activity in turn, so that no example is chosen by its hits."""
    labelled = [kind for kind in np.unique(queries.activity) if kind != UNKNOWN]
    firsts = [int(np.flatnonzero(queries.activity == kind)[0]) for kind in labelled]
    return firsts[:count]


def nearest(
    query: EncodedClips, index: int, base: EncodedClips, *, focus: int, k: int
) -> list[tuple[int, int]]:
    """Finds the k clips of `base` nearest to one query, itself left out.

    Returns:
      (index in base, Hamming distance), nearest first, equal distances in the order of (match,
      clip).
    """
    distances = hamming_distances(query.codes[focus][index : index + 1], base.codes[focus])[0]
    itself = (base.ids == query.ids[index]).all(axis=1)
    order = np.lexsort((base.ids[:, 1], base.ids[:, 0], distances))
    return [(int(hit), int(distances[hit])) for hit in order if not itself[hit]][:k]


def without_nan(value):
    """Replaces NaN by None throughout, for JSON knows none."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
