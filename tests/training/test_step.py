"""One step of training: the moving average of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stvh_jax.models.build import build_model
from stvh_jax.training.augment import Augmentation
from stvh_jax.training.state import TrainState, create_state
from stvh_jax.training.step import make_train_step
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config


def test_the_average_moves_by_its_share_at_each_step_and_is_what_is_used():
    config = small_config(features=8, layers=1)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    optimizer, clips = optax.sgd(0.5), jax.tree.map(jnp.asarray, random_clips(0, clips=4))
    state = create_state(jax.random.key(0), model, optimizer, clips, averaged=True)
    step = jax.jit(
        make_train_step(
            model,
            optimizer,
            config.loss,
            optax.constant_schedule(0.5),
            augment=Augmentation(),
            average=0.9,
            accumulate=1,
        )
    )
    expected = jax.device_get(state.params)
    for _ in range(3):
        state, _ = step(state, clips, jax.random.key(1))
        after = jax.device_get(state.params)
        expected = jax.tree.map(lambda one, new: 0.9 * one + 0.1 * new, expected, after)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7),
        jax.device_get(state.average),
        expected,
    )
    assert state.variables["params"] is state.average
    again = TrainState.of_items(*state.items())
    assert again.params is state.params
    assert again.average is state.average


def test_without_an_average_a_checkpoint_keeps_what_it_always_kept():
    params = {"kernel": np.ones(2)}
    state = TrainState(step=1, params=params, model_state={"statistics": 3}, opt_state=2)
    variables, train = state.items()
    assert variables == {"params": params, "statistics": 3}
    assert train == {"step": 1, "opt_state": 2}
    assert TrainState.of_items(variables, train) == state
