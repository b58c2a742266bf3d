"""Checks the arrays of clips that an encoder is given, each fault in one line."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from ml_collections import ConfigDict

from stvh_jax.errors import UserError
from stvh_jax.inference.boxes import first_fault

# What clips carry for the models of one `config.model.source` alone, and what to say without it.
_GIVEN = {
    "actor_features": ("features", "actor_features; give them"),
    "appearance": ("boxes_and_appearance", "appearance; give features of the whole frames"),
}


def checked_arrays(model: ConfigDict, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Makes arrays of a batch of clips, and checks that a model takes them.

    Args:
      model: the fields of the model.
      given: `boxes`, and by their names what else there is of the clips, or of one clip; what is
        None is left out.

    Returns:
      What is given, of B clips; `actor_mask` is always there.

    Raises:
      UserError: something is missing, is no array, or does not fit the model, or a box cannot be
        one of a person.
    """
    if given["boxes"] is None:
        raise UserError("there are no boxes; give [T, N, 4] or [B, T, N, 4]")
    arrays = {name: _as_array(name, value) for name, value in given.items() if value is not None}
    if arrays["boxes"].ndim == 3:
        arrays = {name: array[None] for name, array in arrays.items()}
    _check_fit(model, arrays)
    batch, _, actors = arrays["boxes"].shape[:3]
    arrays.setdefault("actor_mask", np.ones((batch, actors), bool))
    _check_boxes(arrays["boxes"], arrays["actor_mask"])
    return arrays


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is not one array of numbers; give one") from error


def _check_fit(model: ConfigDict, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises a `UserError` for what does not fit the model, of these fields, or the boxes."""
    boxes = arrays["boxes"]
    if boxes.ndim != 4:
        raise UserError(f"boxes have shape {boxes.shape}; give [T, N, 4] or [B, T, N, 4]")
    if not len(boxes):
        raise UserError(f"boxes have shape {boxes.shape}, which is no clip; give one at least")
    for name, (source, takes) in _GIVEN.items():
        if (model.source == source) != (name in arrays):
            takes = takes if model.source == source else model.source
            raise UserError(f"this model takes {takes}, see config.model.source")
    batch, _, actors = boxes.shape[:3]
    wanted = {
        "boxes": (np.floating, (batch, model.num_frames, actors, 4)),
        "actor_mask": (np.bool_, (batch, actors)),
        "frames": (np.uint8, (batch, model.num_frames, "H", "W", 3)),
        "actor_features": (np.floating, (batch, model.num_frames, actors, model.features)),
        "appearance": (np.floating, (batch, "S", model.get("appearance_channels", "C"))),
    }
    for name, array in arrays.items():
        kind, shape = wanted[name]
        fits = array.ndim == len(shape) and all(
            isinstance(want, str) or want == have for want, have in zip(shape, array.shape)
        )
        if not fits or not np.issubdtype(array.dtype, kind):
            sizes = ", ".join(map(str, shape))
            raise UserError(
                f"{name} is {array.dtype} {array.shape}; this model takes {kind.__name__} "
                f"[{sizes}] beside these boxes, with {model.num_frames} frames per clip"
            )
    if actors > model.num_actors:
        raise UserError(f"a clip has {actors} actors; this model takes up to {model.num_actors}")
    if model.source == "frames" and "frames" not in arrays:
        raise UserError("this model reads frames; give uint8 pixels [T, H, W, 3]")
    if "frames" in arrays and not arrays["frames"].size:
        raise UserError(f"frames have no pixels: their shape is {arrays['frames'].shape}")
    if "appearance" in arrays and not arrays["appearance"].size:
        raise UserError(f"appearance has no frames: its shape is {arrays['appearance'].shape}")


def _check_boxes(boxes: Float[np.ndarray, "B T N 4"], mask: Bool[np.ndarray, "B N"]) -> None:
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
