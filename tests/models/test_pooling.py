"""The poolings of 3x3 cells are those of Flax, and so are their gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.models.backbones import pooling

SIZES = ((7, 9), (8, 6), (3, 12), (11, 4))


def maps(size, dtype=jnp.float32):
    drawn = np.random.default_rng(sum(size)).normal(size=(2, *size, 5))
    return jnp.asarray(drawn, dtype)


def both(function, x):
    """Gives the result, and the gradient of a sum that weighs its numbers differently."""

    @jax.jit
    def run(x):
        result, pull_back = jax.vjp(function, x)
        weights = jnp.arange(result.size, dtype=result.dtype).reshape(result.shape)
        return result, pull_back(weights)[0]

    return [np.asarray(array, np.float64) for array in run(x)]


@pytest.mark.parametrize("size", SIZES)
def test_the_maximum(size):
    x = maps(size)
    expected = both(lambda x: nn.max_pool(x, (3, 3), strides=(2, 2)), x)
    for ours, theirs in zip(both(pooling.max_pool, x), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_equal_cells_have_the_whole_gradient_of_a_window_together():
    x = jnp.ones((1, 9, 9, 1))
    _, gradient = both(pooling.max_pool, x)
    assert gradient.sum() == sum(range(16))
    assert np.isin(gradient, [0, *range(16)]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_maximum_keeps_what_is_not_finite(value):
    x = maps((9, 9)).at[0, 4, 4].set(value)
    expected = nn.max_pool(x, (3, 3), strides=(2, 2))
    np.testing.assert_array_equal(pooling.max_pool(x), expected)


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("size", [*SIZES, (1, 5), (1, 1)])
def test_the_average(size, count_padding):
    x = maps(size)
    options = {"padding": "SAME", "count_include_pad": count_padding}
    expected = both(lambda x: nn.avg_pool(x, (3, 3), **options), x)
    actual = both(lambda x: pooling.average_pool(x, count_padding=count_padding), x)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "pool", [pooling.max_pool, lambda x: pooling.average_pool(x, count_padding=False)]
)
def test_any_number_of_axes_stands_before_the_maps(pool):
    x = maps((7, 9), jnp.bfloat16)
    assert pool(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(pool(x[None])[0], pool(x))
    np.testing.assert_array_equal(pool(x[0]), pool(x)[0])
