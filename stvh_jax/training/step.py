"""One step of training and one of validation, as pure functions to be jitted."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import optax

from stvh_jax.clips import Clips
from stvh_jax.models.build import Model, encode
from stvh_jax.training.objectives import Objective
from stvh_jax.training.state import READERS, TrainState

# Of the key of a step, what the objective draws with beside the dropout; and what validation does.
_DRAWN, _VALIDATION_KEY = 1, 0


def make_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    learning_rate: optax.Schedule,
    *,
    augment: Callable[[jax.Array, Clips], Clips],
    average: float,
    accumulate: int,
):
    """Makes `step(state, clips, root_key) -> state, metrics`; its clips are augmented first.

    The key of a step is `fold_in(root_key, step)`: a resumed run draws what an uninterrupted one
    does. Metrics are the loss, its terms, the gradient's norm and the learning rate, as scalars.
    With `average` d the moving average of the parameters p becomes d' average + (1 - d') p, where
    d' = `average_decay`(n, d) at step n. With `accumulate` the gradient is the mean over that many
    parts of the batch, one computed after the other.
    """

    def gradient_of(params, model_state, clips, dropout):
        shown = objective.prepare(jax.random.fold_in(dropout, _DRAWN), clips)

        def loss_of(params):
            outputs, changed = model.apply(
                {"params": params, **model_state},
                shown,
                train=True,
                rngs={"dropout": dropout},
                mutable=list(model_state),
            )
            loss, terms = objective.loss(outputs, shown, clips, params.get(READERS))
            return loss, (terms, changed)

        (loss, (terms, changed)), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        return gradient, dict(changed), {"loss": loss, **terms}

    compute = gradient_of if accumulate == 1 else mean_over_parts(gradient_of, accumulate)

    def train_step(state: TrainState, clips: Clips, root_key: jax.Array):
        dropout, augmentation = jax.random.split(jax.random.fold_in(root_key, state.step))
        clips = augment(augmentation, clips)
        trained = state.trained
        gradient, model_state, metrics = compute(trained, state.model_state, clips, dropout)
        updates, opt_state = optimizer.update(gradient, state.opt_state, trained)
        metrics |= {
            "gradient_norm": optax.tree.norm(gradient),
            "learning_rate": jnp.asarray(learning_rate(state.step), jnp.float32),
        }
        params = cast(dict, optax.apply_updates(trained, updates))
        readers = params.pop(READERS, None)
        averaged = state.average
        if average:
            decay = average_decay(state.step + 1, average)
            averaged = optax.incremental_update(params, averaged, 1 - decay)
        state = TrainState(state.step + 1, params, model_state, opt_state, averaged, readers)
        return state, metrics

    return train_step


def average_decay(step: jax.Array, largest: float) -> jax.Array:
    """Gives the decay of the moving average at a step, counted from 1: min(largest, n / (n + 9)).

    The average reaches back over a tenth of the steps so far, and so forgets the initial parameters
    in a short training too.
    """
    return jnp.minimum(largest, step / (step + 9))


def mean_over_parts(gradient_of, parts: int):
    """Makes of `gradient_of` the mean over the parts of a batch, one computed after the other."""

    def mean_gradient(params, model_state, clips, dropout):
        # Every device keeps clips of its own in each part.
        def split(array):
            return jnp.moveaxis(array.reshape(-1, parts, *array.shape[1:]), 1, 0)

        def add(carry, part):
            total, model_state = carry
            clips, key = part
            gradient, model_state, metrics = gradient_of(params, model_state, clips, key)
            return (jax.tree.map(jnp.add, total, gradient), model_state), metrics

        zeros = jax.tree.map(jnp.zeros_like, params)
        batches = jax.tree.map(split, clips), jax.random.split(dropout, parts)
        (total, model_state), metrics = jax.lax.scan(add, (zeros, model_state), batches)
        mean = jax.tree.map(lambda leaf: leaf / parts, total)
        return mean, model_state, {name: values.mean() for name, values in metrics.items()}

    return mean_gradient


def make_validation_step(model: Model, objective: Objective):
    """Makes `step(variables, clips) -> sums`: the loss and what the objective judges.

    Both are summed over the valid clips, which `clips` counts. Readers are for
    training alone, so the loss is without what they read.
    """

    def validation_step(variables: dict, clips: Clips) -> dict[str, jax.Array]:
        shown = objective.prepare(jax.random.key(_VALIDATION_KEY), clips)
        outputs = encode(model, variables, shown)
        loss, _ = objective.loss(outputs, shown, clips, None)
        count = clips.clip_mask.sum()
        return {"clips": count, "loss": loss * count, **objective.judge(outputs, shown)}

    return validation_step
