"""Fits the filter matrix F to a model's own codes of every focus (5.4)."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Int64, UInt8

from stvh_jax.codes.filter_matrix import (
    ENTRY_BITS,
    LARGEST_REAL,
    FilterMatrix,
    Normalise,
    Values,
    ceil_quotient,
)
from stvh_jax.codes.packing import unpack

# What `fit` does unless told otherwise.
DEFAULTS = {"values": "binary", "per_step": False, "normalise": "code"}


# The most clips that F is fitted on; of a larger base set every so-manieth is taken.
_MOST_CLIPS = 1 << 14


_STEPS, _STEPS_AT_ONCE, _LEARNING_RATE = 1000, 50, 1e-2


def fit(
    codes: Mapping[int, UInt8[np.ndarray, "M bytes"]],
    *,
    values: Values = "binary",
    per_step: bool = False,
    normalise: Normalise = "code",
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> FilterMatrix:
    r"""Fits F so that what it derives is near the network's own codes of every focus (5.4).

    $$\min_F \frac{1}{L} \sum_{\tau < L} \left\| \frac{b'_\tau - \mu}{\sigma} - b_\tau \right\|^2$$

    by Adam on all clips at once; F is made binary going forward, and its gradient is that of the
    real matrix behind it (straight-through).

    Args:
      codes: packed codes of the base set, of every focus 0..L.
      values: see `FilterMatrix`.
      per_step: an F for each step in place of one for all.
      normalise: see `FilterMatrix`.
      seed: F is a function of it and the codes.
      progress: called with the steps done, all steps and the loss, now and then.

    Raises:
      ValueError: an option is none of its choices, or a focus is missing.
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
    axis = -1 if normalise == "code" else 0

    def loss_of(shadow):
        matrix, value, loss = _as_values(shadow, values), jnp.asarray(stored), 0.0
        for step, target in enumerate(targets):
            value = value @ matrix[step % len(matrix)].T
            centred = value - value.mean(axis, keepdims=True)
            deviation = jnp.sqrt((centred**2).mean(axis, keepdims=True) + 1e-6)
            loss += jnp.mean((centred / deviation - target) ** 2) / layers
        return loss

    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))

    def one_step(carry, _):
        shadow, state = carry
        loss, gradient = jax.value_and_grad(loss_of)(shadow)
        updates, state = optimizer.update(gradient, state, shadow)
        shadow = optax.apply_updates(shadow, updates)
        # Beyond 1 the matrix behind a binary one would only be slower to change its mind.
        return (shadow if values == "real" else jnp.clip(shadow, -1, 1), state), loss

    @jax.jit
    def some_steps(carry):
        return jax.lax.scan(one_step, carry, length=_STEPS_AT_ONCE)

    shape = (layers if per_step else 1, bits, bits)
    shadow = 0.01 * jax.random.normal(jax.random.key(seed), shape)
    carry = shadow, optimizer.init(shadow)
    for done in range(_STEPS_AT_ONCE, _STEPS + 1, _STEPS_AT_ONCE):
        carry, losses = some_steps(carry)
        if progress:
            progress(done, _STEPS, float(losses[-1]))
    fitted = np.asarray(_as_values(carry[0], values), np.float64)
    if values == "real":
        fitted *= LARGEST_REAL / np.abs(fitted).max()
    matrix = FilterMatrix(
        np.rint(fitted).astype(np.int64),
        layers,
        values,
        normalise,
        facts={"clips": len(chosen), "seed": seed, "steps": _STEPS, "loss": float(losses[-1])},
    )
    return (
        matrix if normalise == "code" else dataclasses.replace(matrix, means=_means(matrix, codes))
    )


def _as_values(shadow, values: Values):
    """Gives the entries that a shadow stands for, with its gradient."""
    if values == "real":
        return shadow
    low = -1.0 if values == "binary" else 0.0
    return shadow + jax.lax.stop_gradient(jnp.where(shadow >= 0, 1.0, low) - shadow)


def _means(matrix: FilterMatrix, codes) -> Int64[np.ndarray, "L K"]:
    """Gives the mean of each bit's value over the base set, rounded up, exactly."""
    stored = codes[matrix.layers]
    ones = np.unpackbits(stored, axis=-1).sum(axis=0, dtype=np.int64)
    sums = [matrix.matrices[focus] @ (2 * ones - len(stored)) for focus in range(matrix.layers)]
    return ceil_quotient(np.stack(sums), len(stored))
