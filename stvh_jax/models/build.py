"""Builds the model that a config describes."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.fields import look_up
from stvh_jax.models.backbones.build import check_backbone
from stvh_jax.models.baselines import FrameClassifier, GlobalVideoHasher
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.fusions import FUSIONS
from stvh_jax.models.hash_heads import HASH_HEADS
from stvh_jax.models.hasher import GroupActivityHasher
from stvh_jax.models.outputs import Outputs

Model = GroupActivityHasher | GlobalVideoHasher | FrameClassifier

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
    classes = {"num_activities": len(activity_names), "num_actions": len(action_names)}
    model_config = ModelConfig.of(config, **classes)
    if backbone_options:
        model_config = model_config.with_backbone_options(backbone_options)
    look_up(FUSIONS, "config.model.position", model_config.fusion.position)
    look_up(HASH_HEADS, "config.model.hash_head", model_config.heads.hash_head)
    if model_config.visual.source == "frames":
        check_backbone(**model_config.visual.backbone)
    return MODELS[model_config.name](model_config)


def encode(model: Model, variables: Mapping[str, Any], clips: Clips) -> Outputs:
    """Applies a model outside of training."""
    return cast(Outputs, model.apply(variables, clips, train=False))
