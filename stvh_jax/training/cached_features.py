"""Fills a feature cache with what the frozen backbone of a run makes of the frames."""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from stvh_jax.config import Config
from stvh_jax.dataset import Dataset
from stvh_jax.models.build import Model
from stvh_jax.models.compiling import jit
from stvh_jax.models.frame_features import RoiFeatures
from stvh_jax.training import pretrained, sharding
from stvh_jax.training.feature_cache import CachedDataset, feature_shape, made_of
from stvh_jax.training.state import TrainState


def with_feature_cache(
    config: Config, dataset: Dataset, model: Model, state: TrainState, mesh: Mesh
) -> CachedDataset:
    """Gives a data set that has features in place of frames, computing those that are missing.

    Args:
      config: the whole config; `config.train.feature_cache` names the cache's folder.
      dataset: a data set with frames.
      model: a model with a frozen backbone.
      state: for the backbone's variables.
      mesh: the devices that compute the features.

    Raises:
      UserError: the cache cannot be used.
    """
    whole = sharding.replicated(mesh)
    module = RoiFeatures(model.config)
    variables = pretrained.take(state.variables, pretrained.ROI_FEATURES)
    backbone = pretrained.digest(jax.device_get(pretrained.take(state.variables)))
    cached = CachedDataset(
        dataset,
        config.train.feature_cache,
        made_of=made_of(config, backbone, dict(model.config.visual.backbone)),
        shape=feature_shape(module, variables, config),
    )
    apply = jit(
        lambda variables, clips: module.apply(
            variables,
            clips.frames,
            jnp.where(clips.actor_mask[:, None, :, None], clips.boxes, 0),
            train=False,
        ),
        in_shardings=(whole, sharding.split_batch(mesh)),
        out_shardings=whole,
    )
    parts = [(config.data.train_split, False)]
    if config.data.flip:
        parts.append((config.data.train_split, True))
    for split in (config.data.validation_split, config.data.get("unlabelled_split")):
        if split:
            parts.append((split, False))
    for split, mirrored in parts:
        cached.fill(
            split,
            lambda clips: apply(variables, sharding.put_batch(clips, mesh)),
            mirrored=mirrored,
            batch_size=config.train.evaluation_batch_size,
            may_write=jax.process_count() == 1,
        )
    return cached
