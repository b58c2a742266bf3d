"""Builds the model that a config describes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from stvh_jax.codes.packing import code_lengths
from stvh_jax.errors import UserError
from stvh_jax.models.baselines import FrameClassifier, GlobalVideoHasher
from stvh_jax.models.hasher import GroupActivityHasher
from stvh_jax.models.interleaving import (
    CAUSALITIES,
    FUSIONS,
    PRODUCTS,
)
from stvh_jax.models.plain_fusion import HEADS, POSITIONS
from stvh_jax.models.roi_align import BORDERS

CHOICES = {
    "name": ("stvh", "mstvh", "global_hash", "frame_classifier"),
    "source": ("frames", "boxes", "features"),
    "roi_border": BORDERS,
    "embed": ("conv", "fc"),
    "visual_code": ("f_roi", "f_v"),
    "position": POSITIONS,
    "distance": ("normalised", "literal"),
    "product": PRODUCTS,
    "causal": CAUSALITIES,
    "fusion": FUSIONS,
    "dtype": ("float32", "bfloat16"),
}


Model = GroupActivityHasher | GlobalVideoHasher | FrameClassifier


def build_model(
    config,
    *,
    activity_names: Sequence[str],
    action_names: Sequence[str],
    backbone_options: Mapping | None = None,
) -> Model:
    """Builds the model of `config.model` for these classes.

    Args:
      config: `config.model`.
      activity_names: the G activities.
      action_names: the A actions.
      backbone_options: what the weights that the backbone starts with ask of it, such as their
        pixel normalisation.

    Raises:
      UserError: a field has a value that no model has.
    """
    fields = dict(config)
    known = {field.name for field in dataclasses.fields(GroupActivityHasher)}
    known = known - {"num_activities", "num_actions", "name_", "prefixes", "parent"} | {"name"}
    for field in sorted(known ^ set(fields)):
        has = "has no" if field in known else "has an unknown"
        raise UserError(f"config.model {has} field {field!r}: it is of another version of stvh_jax")
    for field, choices in CHOICES.items():
        if fields[field] not in choices:
            raise UserError(
                f"config.model.{field} is {fields[field]!r}; choose one of {', '.join(choices)}"
            )
    *fields["prefixes"], fields["bits"] = checked_lengths(fields["bits"])
    fields["prefixes"] = tuple(fields["prefixes"])
    if fields["layers"] < 1:
        raise UserError(f"config.model.layers is {fields['layers']}; use 1 or more")
    if fields["position"] != "graphs" and fields["features"] % HEADS:
        raise UserError(
            f"config.model.features is {fields['features']}; position={fields['position']} needs a "
            f"multiple of {HEADS}, one part for each attention head"
        )
    if fields["source"] == "frames":
        check_visual_fields(fields)
    elif fields["freeze_backbone"]:
        raise UserError(
            f"config.model.source={fields['source']} has no backbone to freeze; set "
            "config.model.freeze_backbone=False"
        )
    elif fields["name"] in ("frame_classifier", "global_hash"):
        raise UserError(
            f"config.model.source={fields['source']} has no frames to read; use source=frames "
            f"for config.model.name={fields['name']}"
        )
    fields["backbone"] = with_options(dict(fields["backbone"]), backbone_options or {})
    fields["dtype"] = jnp.dtype(fields["dtype"])
    classes = {"num_activities": len(activity_names), "num_actions": len(action_names)}
    others = {"frame_classifier": FrameClassifier, "global_hash": GlobalVideoHasher}
    if fields["name"] in others:
        kind, fields = others[fields["name"]], fields | classes
        wanted = kind.__dataclass_fields__.keys() & fields.keys() - {"name"}
        return kind(**{field: fields[field] for field in wanted})
    fields["name_"] = fields.pop("name")
    return GroupActivityHasher(**classes, **fields)


def checked_lengths(bits: Any) -> tuple[int, ...]:
    """Gives the lengths that `config.model.bits` asks for.

    Raises:
      UserError: they are no lengths of nested codes.
    """
    lengths = code_lengths(bits)
    whole = lengths and all(type(length) is int for length in lengths)
    if not whole or lengths[0] < 8 or any(length % 8 for length in lengths):
        raise UserError(
            f"config.model.bits is {bits!r}; use a multiple of 8, e.g. 128, or several of them for "
            "nested codes, e.g. (16, 32, 64, 128)"
        )
    if list(lengths) != sorted(set(lengths)):
        raise UserError(f"config.model.bits is {bits!r}; give each length once, the shortest first")
    return lengths


def with_options(backbone: Mapping, options: Mapping) -> dict:
    """Adds to a backbone's fields what its weights ask of it.

    Raises:
      UserError: the config asks for something else.
    """
    for name, option in options.items():
        if backbone.get(name, option) != option:
            raise UserError(
                f"config.model.backbone.{name} is {backbone[name]!r}, and the weights it starts "
                f"with were trained with {option!r}; set it to that"
            )
    return {**options, **backbone}


def check_visual_fields(fields: Mapping) -> None:
    """Checks the fields of the visual module.

    Raises:
      UserError: names the field and what to do.
    """
    if fields["roi_size"] < 1:
        raise UserError(f"config.model.roi_size is {fields['roi_size']}; use 1 or more")
    if fields["embed"] == "conv" and fields["roi_size"] < 3:
        raise UserError(
            f"config.model.roi_size is {fields['roi_size']}; embed=conv needs 3 or more"
        )
    chunk = fields["frames_per_chunk"]
    if chunk < 0 or chunk and fields["num_frames"] % chunk:
        raise UserError(
            f"config.model.frames_per_chunk is {chunk} and a clip has {fields['num_frames']} "
            "frames; use a divisor of that, or 0 for all at once"
        )
    trained = fields["backbone"].get("batch_norm") == "trained" and not fields["freeze_backbone"]
    if chunk and trained:
        raise UserError(
            "config.model.backbone.batch_norm=trained needs the statistics of all frames; set "
            "config.model.frames_per_chunk=0, or batch_norm=frozen"
        )
