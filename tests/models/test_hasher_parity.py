"""The models beside an independent definition in PyTorch, on boxes and on actor features."""

import jax
import numpy as np
import pytest

from benchmarks.random_models import random_clips, random_model
from stvh_jax import config as base
from stvh_jax import recipes
from stvh_jax.models.build import encode
from stvh_jax.training.losses import total_loss

pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")


def features(name):
    config = base.get_config()
    config.model.name, config.model.source, config.model.features = name, "features", 16
    config.model.action_features, config.loss.action_reduction = "f_T", "sum"
    config.model.num_frames, config.model.key_frame = 3, 1
    return config


def boxes():
    config = base.get_config()
    recipes.make_boxes_only(config)
    recipes.make_symmetric_boxes(config)
    config.model.features = 16
    config.model.num_frames, config.model.key_frame = 1, 0
    return config


@pytest.mark.parametrize(
    "config", [features("stvh"), features("mstvh"), boxes()], ids=["stvh", "mstvh", "boxes"]
)
def test_outputs_and_loss_are_those_of_pytorch(config):
    import torch

    from benchmarks.peers import hasher_training, hasher_variables
    from benchmarks.peers.hasher import Batch

    config.model.layers, config.model.num_actors = 2, 5
    ours, clips = random_model(config), random_clips(config, batch=4)
    clips.actor_mask[0, 3:] = clips.actor_mask[2, 1] = False
    clips.action[~clips.actor_mask] = -1
    module, batch = hasher_variables.equal_to(ours, clips), Batch.of(clips)
    with torch.no_grad():
        expected = float(hasher_training.loss_of(module(batch), batch, config.loss))

    @jax.jit
    def loss_of(variables, clips):
        return total_loss(encode(ours.model, variables, clips), clips, weights=config.loss)[0]

    np.testing.assert_allclose(float(loss_of(ours.variables, clips)), expected, rtol=1e-5)
