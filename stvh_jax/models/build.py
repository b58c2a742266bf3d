"""Builds the model that a config describes."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.errors import UserError, shown
from stvh_jax.fields import look_up
from stvh_jax.mirror import mirror_classes
from stvh_jax.models.backbones.build import check_backbone
from stvh_jax.models.baselines import FrameClassifier, GlobalVideoHasher
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.fusions import FUSIONS
from stvh_jax.models.hash_heads import HASH_HEADS
from stvh_jax.models.hasher import GroupActivityHasher
from stvh_jax.models.outputs import Outputs
from stvh_jax.models.symmetric import SymmetricHasher

Model = GroupActivityHasher | SymmetricHasher | GlobalVideoHasher | FrameClassifier

MODELS: dict[str, type[Model]] = {
    "stvh": GroupActivityHasher,
    "mstvh": GroupActivityHasher,
    "global_hash": GlobalVideoHasher,
    "frame_classifier": FrameClassifier,
}


def build_model(
    config: Config,
    *,
    activity_names: Sequence[str],
    action_names: Sequence[str],
    backbone_options: Mapping[str, Any] | None = None,
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
    classes: dict[str, Any] = {
        "num_activities": len(activity_names),
        "num_actions": len(action_names),
    }
    if config.get("symmetric"):
        classes["mirrored_activities"] = _mirrored(activity_names)
    model_config = ModelConfig.of(config, **classes)
    if backbone_options:
        model_config = model_config.with_backbone_options(backbone_options)
    look_up(FUSIONS, "config.model.position", model_config.fusion.position)
    look_up(HASH_HEADS, "config.model.hash_head", model_config.heads.hash_head)
    if model_config.visual.source == "frames":
        check_backbone(**model_config.visual.backbone)
    if model_config.heads.symmetric:
        return SymmetricHasher(model_config)
    return MODELS[model_config.name](model_config)


def _mirrored(activity_names: Sequence[str]) -> tuple[int, ...]:
    """Finds the mirror image of each activity.

    Raises:
      UserError: the image of one is no activity.
    """
    try:
        return tuple(map(int, mirror_classes(activity_names)))
    except ValueError as error:
        raise UserError(
            f"config.model.symmetric: the activities {shown(list(activity_names))} have one on the "
            "left (l_) or right (r_) side alone; name both, or set it to False"
        ) from error


def encode(model: Model, variables: Mapping[str, Any], clips: Clips) -> Outputs:
    """Applies a model outside of training."""
    return cast(Outputs, model.apply(variables, clips, train=False))
