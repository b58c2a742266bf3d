"""Fits the filter matrix F to a model's own codes of every focus (5.4)."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int64, UInt8

from stvh_jax.codes.filter_matrix import (
    ENTRY_BITS,
    LARGEST_REAL,
    FilterMatrix,
    Normalise,
    Values,
    ceil_quotient,
)
from stvh_jax.codes.packing import unpack

# The most clips that F is fitted on; larger base sets are subsampled evenly.
_MOST_CLIPS = 1 << 14

_STEPS, _STEPS_AT_ONCE, _LEARNING_RATE = 1000, 50, 1e-2

# Called with the steps done, all steps and the loss.
Progress = Callable[[int, int, float], None]


def fit(
    codes: Mapping[int, UInt8[np.ndarray, "M bytes"]],
    *,
    values: Values = "binary",
    per_step: bool = False,
    normalise: Normalise = "code",
    seed: int = 0,
    progress: Progress | None = None,
) -> FilterMatrix:
    r"""Fits F so that the codes it derives are near the network's own codes of every focus (5.4).

    $$\min_F \frac{1}{L} \sum_{\tau < L} \left\| \frac{b'_\tau - \mu}{\sigma} - b_\tau \right\|^2$$

    by Adam on all clips at once. A binary F is binary in the forward pass, and its gradient is that
    of the real matrix behind it (straight-through).

    Args:
      codes: packed codes of the base set, of every focus 0..L.
      values: see `FilterMatrix`.
      per_step: fits an F for each step instead of one for all.
      normalise: see `FilterMatrix`.
      seed: F depends only on the seed and the codes.
      progress: called from time to time.

    Raises:
      ValueError: an option has a value that it cannot have, or a focus is missing.
    """
    layers = max(codes)
    if sorted(codes) != list(range(layers + 1)) or layers < 1:
        raise ValueError(f"codes of foci {sorted(codes)}; give every one from 0 to the last")
    if values not in ENTRY_BITS or normalise not in ("code", "bit"):
        raise ValueError(f"values={values!r}, normalise={normalise!r}; see FilterMatrix")
    clips = len(codes[layers])
    chosen = np.linspace(0, clips - 1, min(clips, _MOST_CLIPS)).round().astype(int)
    stored, *targets = (unpack(codes[focus][chosen]) for focus in range(layers, -1, -1))
    bits = stored.shape[1]
    shadow, loss = _minimise(
        _loss_function(stored, targets, values, axis=-1 if normalise == "code" else 0),
        shape=(layers if per_step else 1, bits, bits),
        bounded=values != "real",
        seed=seed,
        progress=progress,
    )
    fitted = np.asarray(_as_values(shadow, values), np.float64)
    if values == "real":
        fitted *= LARGEST_REAL / np.abs(fitted).max()
    matrix = FilterMatrix(
        np.rint(fitted).astype(np.int64),
        layers,
        values,
        normalise,
        facts={"clips": len(chosen), "seed": seed, "steps": _STEPS, "loss": loss},
    )
    if normalise == "bit":
        matrix = dataclasses.replace(matrix, means=_means(matrix, codes))
    return matrix


def _loss_function(
    stored: Float[np.ndarray, "M K"],
    targets: Sequence[Float[np.ndarray, "M K"]],
    values: Values,
    *,
    axis: int,
) -> Callable[[Float[Array, "S K K"]], Float[Array, ""]]:
    """Makes the loss of a shadow matrix.

    Args:
      stored: the signs of the codes of focus L.
      targets: those of the foci L - 1 to 0, in this order.
      values: see `FilterMatrix`.
      axis: the axis over which mu and sigma are taken: -1 for the bits, 0 for the clips.
    """

    def loss_of(shadow):
        matrix, value, loss = _as_values(shadow, values), jnp.asarray(stored), jnp.float32(0)
        for step, target in enumerate(targets):
            value = value @ matrix[step % len(matrix)].T
            centred = value - value.mean(axis, keepdims=True)
            deviation = jnp.sqrt((centred**2).mean(axis, keepdims=True) + 1e-6)
            loss += jnp.mean((centred / deviation - target) ** 2) / len(targets)
        return loss

    return loss_of


def _minimise(
    loss_of: Callable[[Float[Array, "S K K"]], Float[Array, ""]],
    *,
    shape: tuple[int, int, int],
    bounded: bool,
    seed: int,
    progress: Progress | None,
) -> tuple[Float[Array, "S K K"], float]:
    """Minimises a loss from a random start; returns the shadow matrix and the last loss.

    Args:
      loss_of: the loss of a shadow matrix.
      shape: the shape of the shadow matrix.
      bounded: whether entries stay in -1..1.
      seed: the seed of the start.
      progress: called from time to time.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))

    def one_step(carry, _):
        shadow, state = carry
        loss, gradient = jax.value_and_grad(loss_of)(shadow)
        updates, state = optimizer.update(gradient, state, shadow)
        shadow = jnp.asarray(optax.apply_updates(shadow, updates))
        # Beyond 1 an entry would only take longer to change its sign.
        return (jnp.clip(shadow, -1, 1) if bounded else shadow, state), loss

    @jax.jit
    def some_steps(carry):
        return jax.lax.scan(one_step, carry, length=_STEPS_AT_ONCE)

    shadow, loss = 0.01 * jax.random.normal(jax.random.key(seed), shape), math.nan
    carry = shadow, optimizer.init(shadow)
    for done in range(_STEPS_AT_ONCE, _STEPS + 1, _STEPS_AT_ONCE):
        carry, losses = some_steps(carry)
        loss = float(losses[-1])
        if progress:
            progress(done, _STEPS, loss)
    return carry[0], loss


def _as_values(shadow, values: Values):
    """Gives the entries that a shadow matrix stands for; their gradient is that of the shadow."""
    if values == "real":
        return shadow
    low = -1.0 if values == "binary" else 0.0
    return shadow + jax.lax.stop_gradient(jnp.where(shadow >= 0, 1.0, low) - shadow)


def _means(matrix: FilterMatrix, codes) -> Int64[np.ndarray, "L K"]:
    """Gives the exact mean of each bit's value over the base set, rounded up."""
    stored = codes[matrix.layers]
    ones = np.unpackbits(stored, axis=-1).sum(axis=0, dtype=np.int64)
    sums = [matrix.matrices[focus] @ (2 * ones - len(stored)) for focus in range(matrix.layers)]
    return ceil_quotient(np.stack(sums), len(stored))
