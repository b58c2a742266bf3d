"""One step of training: the moving average of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stvh_jax.models.build import build_model
from stvh_jax.training.augment import Augmentation
from stvh_jax.training.objectives import supervised
from stvh_jax.training.state import TrainState, create_state
from stvh_jax.training.step import average_decay, make_train_step
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config


def test_the_average_moves_by_its_share_at_each_step_and_is_what_is_used():
    config = small_config(features=8, layers=1)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    optimizer, clips = optax.sgd(0.5), jax.tree.map(jnp.asarray, random_clips(0, clips=4))
    create = jax.jit(lambda key: create_state(key, model, optimizer, clips, averaged=True))
    state = create(jax.random.key(0))
    step = jax.jit(
        make_train_step(
            model,
            optimizer,
            supervised(config.loss),
            optax.constant_schedule(0.5),
            augment=Augmentation(),
            average=0.2,
            accumulate=1,
        )
    )
    expected = jax.device_get(state.params)
    # 1 / 10 and 2 / 11 in the first steps, then never more than was asked for.
    for decay in (1 / 10, 2 / 11, 0.2, 0.2):
        state, _ = step(state, clips, jax.random.key(1))
        after = jax.device_get(state.params)
        expected = jax.tree.map(
            lambda one, new, decay=decay: decay * one + (1 - decay) * new, expected, after
        )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7),
        jax.device_get(state.average),
        expected,
    )
    assert state.variables["params"] is state.average
    again = TrainState.of_items(*state.items())
    assert again.params is state.params
    assert again.average is state.average


def test_the_average_forgets_the_initial_parameters_in_a_short_training():
    left = np.cumprod([float(average_decay(jnp.asarray(n), 0.999)) for n in range(1, 101)])
    assert left[9] < 1e-4  # what the initial parameters still weigh after ten steps
    assert left[99] < 1e-10
    assert float(average_decay(jnp.asarray(10**6), 0.999)) == np.float32(0.999)


def test_without_an_average_a_checkpoint_keeps_what_it_always_kept():
    params = {"kernel": np.ones(2)}
    state = TrainState(step=1, params=params, model_state={"statistics": 3}, opt_state=2)
    variables, train = state.items()
    assert variables == {"params": params, "statistics": 3}
    assert train == {"step": 1, "opt_state": 2}
    assert TrainState.of_items(variables, train) == state
