"""What is found along the scale from visual to activity, and how often a hit is both.

At the place s of the scale, 0 visual and 1 activity, the visual bits weigh 1 - s and those of the
activity s. By activity the queries search the base; by match, and by both, all clips, without those
of the query's own surroundings.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.evaluation.judging import number_clips
from stvh_jax.evaluation.metrics import mean, rank_by_label
from stvh_jax.evaluation.ranking import (
    average_precision_at_k,
    count_by_distance,
    precision_at_k,
)
from stvh_jax.inference.encoded_clips import EncodedClips

K = 10
# The places on the scale, as steps of the whole.
STEPS = 12
# Clips of the query's match whose key frame is fewer frames away are left out.
WITHIN_FRAMES = 41

# Packed codes, `[., bytes]`, of the queries, of the base and of all clips.
Codes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Place:
    """What is found at one place of the scale; shares in 0..1.

    Attributes:
      activity: mAP@10 by activity.
      match: mAP@10 by match.
      both: the share of the ten nearest that are of the query's activity and of its match.
    """

    activity: float
    match: float
    both: float


def spread_along_scale(parts: Codes, *, bits: int, visual_bits: int) -> dict[float, Codes]:
    """Gives codes whose Hamming distances are the weighted ones, at every place of the scale."""
    weights = laid_out(bits=bits, visual_bits=visual_bits, layers=STEPS)
    return {
        step / STEPS: tuple(weights.spread(codes, step) for codes in parts)  # pyright: ignore
        for step in range(STEPS + 1)
    }


def join_codes(one: Codes, other: Codes) -> Codes:
    """Puts two codes of every clip side by side."""
    return tuple(np.concatenate(pair, axis=1) for pair in zip(one, other))  # pyright: ignore


def judge_places(
    places: Mapping[float, Codes],
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
) -> dict[float, Place]:
    """Judges what codes find at each place.

    Args:
      places: the codes by place on the scale.
      queries: the clips that search; their own codes are not read, nor those of the others.
      base: the clips that they search by activity.
      everything: the clips that they search by match.
    """
    return {
        place: _judge(codes, (queries, base, everything), number_clips(queries, base, everything))
        for place, codes in places.items()
    }


def _judge(codes: Codes, clips: tuple[EncodedClips, ...], numbers) -> Place:
    queries, base, everything = clips
    query_ids, base_ids, ids = numbers
    of_activity = rank_by_label(
        codes[0], codes[1], queries.activity, base.activity, query_ids=query_ids, base_ids=base_ids
    )
    excluded = {"exclude_within_frames": WITHIN_FRAMES}
    of_match = rank_by_label(
        codes[0],
        codes[2],
        query_ids[:, 0],
        ids[:, 0],
        query_ids=query_ids,
        base_ids=ids,
        **excluded,
    )
    both = count_by_distance(
        codes[0], codes[2], _same(queries, everything, query_ids, ids), ids=(query_ids, ids),
        **excluded,
    )  # fmt: skip
    return Place(
        activity=mean(average_precision_at_k(of_activity.groups, K)),
        match=mean(average_precision_at_k(of_match.groups, K)),
        both=mean(precision_at_k(both, K)),
    )


def _same(
    queries: EncodedClips,
    others: EncodedClips,
    query_ids: Int[np.ndarray, "Q 3"],
    ids: Int[np.ndarray, "M 3"],
):
    """Says which of some clips have the activity and the match of each of some queries."""

    def same(some: slice, of_others: slice) -> Bool[np.ndarray, "rows items"]:
        activity = queries.activity[some, None] == others.activity[None, of_others]
        return activity & (query_ids[some, :1] == ids[None, of_others, 0])

    return same
