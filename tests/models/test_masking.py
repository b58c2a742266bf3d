"""The masked softmax and mean against what is left without the masked places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from stvh_jax.models import masking

# Compiled, and thereby also open to NumPy arrays.
masked_softmax = jax.jit(masking.masked_softmax, static_argnames="axis")

B, T, N, D = 3, 5, 7, 4
MASK = np.arange(N) < np.array([[7], [4], [1]])


def test_masked_mean_of_a_clip_without_actors_is_zero():
    mean = masking.masked_mean(jnp.ones((1, T, N, D)), jnp.zeros((1, N), bool))
    np.testing.assert_array_equal(mean, np.zeros((1, D)))


def test_masked_maximum_of_a_clip_without_actors_is_zero_and_moves_nothing():
    def total(values):
        return masking.masked_maximum(values, jnp.zeros((1, N), bool)).sum()

    value, gradient = jax.value_and_grad(total)(jnp.ones((1, T, N, D)))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((1, T, N, D)))


@pytest.mark.parametrize("axis", [-1, 1])
def test_masked_softmax_equals_the_softmax_of_what_is_left(axis):
    rng = np.random.default_rng(4)
    logits = rng.normal(scale=30, size=(B, T, N)).astype(np.float32)
    mask = rng.random((B, T, N)) < 0.6
    mask[0], mask[1] = False, True
    out = np.asarray(masked_softmax(logits, mask, axis=axis))
    rows = np.moveaxis(logits, axis, -1).reshape(-1, logits.shape[axis])
    masks = np.moveaxis(mask, axis, -1).reshape(rows.shape)
    outs = np.moveaxis(out, axis, -1).reshape(rows.shape)
    for row, kept, result in zip(rows, masks, outs):
        expected = np.zeros(len(row))
        if kept.any():
            expected[kept] = softmax(row[kept].astype(np.float64))
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)


def test_masked_softmax_keeps_what_is_masked_out():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(B, N, N)).astype(np.float32)
    mask = MASK[:, None, :]
    out = masked_softmax(logits, mask)
    for rubbish in (np.nan, np.inf, -np.inf, 1e38):
        filled = np.where(mask, logits, np.float32(rubbish))
        np.testing.assert_array_equal(masked_softmax(filled, mask), out)
        gradient = jax.grad(lambda x: jnp.square(masked_softmax(x, mask)).sum())(filled)
        assert np.isfinite(gradient).all()
        assert not gradient[np.broadcast_to(~mask, gradient.shape)].any()


def test_masked_softmax_gradient_equals_the_jacobian():
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(2, N)).astype(np.float32)
    mask = np.array([[True, False, True, True, False, True, True], [False] * N])
    cotangent = rng.normal(size=(2, N)).astype(np.float32)
    out, pull_back = jax.vjp(lambda logits: masked_softmax(logits, mask), logits)
    p = np.asarray(out, np.float64)
    expected = p * (cotangent - (p * cotangent).sum(-1, keepdims=True))
    np.testing.assert_allclose(pull_back(cotangent)[0], expected, atol=1e-6)


def test_masked_softmax_computes_in_float32():
    logits = jnp.linspace(-3, 3, N).astype(jnp.bfloat16)
    out = masked_softmax(logits, jnp.ones(N, bool))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, softmax(np.asarray(logits, np.float64)), rtol=1e-6)
