"""Encoded clips that no model has made."""

import numpy as np

from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.unknown import UNKNOWN


def encoded(codes, activity, matches=None, **fields):
    """Makes encoded clips of one focus from their first bytes."""
    size = len(codes)
    matches = np.zeros(size, int) if matches is None else np.asarray(matches)
    blank = {
        "activity_scores": np.zeros((size, 2), np.float32),
        "activity_scores_from_code": np.zeros((size, 2), np.float32),
        "action_scores": np.zeros((size, 2, 3), np.float32),
        "action": np.full((size, 2), UNKNOWN),
        "match": matches.astype(str),
        "clip": (100 * np.arange(size)).astype(str),
        "frame": 100 * np.arange(size),
    }
    return EncodedClips(
        codes={1: np.asarray(codes, np.uint8)[:, None]},
        activity=np.asarray(activity),
        **{**blank, **fields},
    )
