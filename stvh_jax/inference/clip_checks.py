"""Checks the arrays of clips that an encoder is given, each fault in one line."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from stvh_jax.errors import UserError
from stvh_jax.inference.boxes import first_fault


def as_array(name: str, value: Any) -> np.ndarray:
    """Makes one array of what is given; a `UserError` says that it is none."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is not one array of numbers; give one") from error


def check_boxes(boxes: Float[np.ndarray, "B T N 4"], mask: Bool[np.ndarray, "B N"]) -> None:
    """Raises a `UserError` for a box that cannot be one of a person."""
    present = np.broadcast_to(mask[:, None], boxes.shape[:3])
    fault = first_fault(boxes, present)
    if fault is not None:
        (clip, frame, person), reason = fault
        raise UserError(
            f"boxes of clip {clip}, frame {frame}, person {person} (counted from 0): {reason}"
        )


def check_people(mask: Bool[np.ndarray, "B N"]) -> None:
    """Raises a `UserError` for a clip with nobody: what a group does is of nobody."""
    people = mask.any(axis=1)
    if not people.all():
        raise UserError(f"clip {people.argmin()} (counted from 0) has nobody; leave it out")


def finite_features(
    features: Float[np.ndarray, "B T N D"], mask: Bool[np.ndarray, "B N"]
) -> Float[np.ndarray, "B T N D"]:
    """Gives features as the model takes them, after a check of those of people."""
    if features.dtype.itemsize > 4:
        with np.errstate(over="ignore"):
            features = features.astype(np.float32)
    faults = np.argwhere(~np.isfinite(features).all(axis=-1) & mask[:, None])
    if len(faults):
        clip, frame, person = faults[0]
        raise UserError(
            f"actor_features of clip {clip}, frame {frame}, person {person} (counted from 0) are "
            "not finite"
        )
    return features


def finite_appearance(appearance: Float[np.ndarray, "B S C"]) -> Float[np.ndarray, "B S C"]:
    """Gives appearance as the model takes it, after a check."""
    with np.errstate(over="ignore"):
        appearance = appearance.astype(np.float32)
    finite = np.isfinite(appearance).all(axis=(1, 2))
    if not finite.all():
        raise UserError(f"the appearance of clip {finite.argmin()} (counted from 0) is not finite")
    return appearance
