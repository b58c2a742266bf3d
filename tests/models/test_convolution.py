"""The convolution's own gradient against the one that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stvh_jax.models.backbones.convolution import AXES, PLAIN, conv_general_dilated

NN_CONV = {**PLAIN, "dimension_numbers": AXES}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (1, 3))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("window", [(1, 1), (3, 2), (1, 7)])
def test_gradients_equal_the_derived_ones(window, strides, padding, dtype):
    rng = np.random.default_rng(0)
    maps = jnp.asarray(rng.normal(size=(2, 11, 13, 3)), dtype)
    kernel = jnp.asarray(rng.normal(size=(*window, 3, 5)), dtype)

    def ours(maps, kernel):
        return conv_general_dilated(maps, kernel, strides, padding, **NN_CONV)

    def derived(maps, kernel):
        return lax.conv_general_dilated(maps, kernel, strides, padding, dimension_numbers=AXES)

    out, pull_back = jax.vjp(ours, maps, kernel)
    expected, pull_back_derived = jax.vjp(derived, maps, kernel)
    np.testing.assert_array_equal(out, expected)
    cotangent = jnp.asarray(rng.normal(size=out.shape), dtype)
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    for one, other in zip(pull_back(cotangent), pull_back_derived(cotangent)):
        assert one.dtype == other.dtype
        one, other = (np.asarray(leaf, np.float32) for leaf in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


def test_gradients_in_a_loop_are_convolutions_in_the_fast_order():
    def total(kernels, maps):
        def step(carry, one):
            first = conv_general_dilated(one, kernels[0], (1, 1), "SAME", **NN_CONV)
            second = conv_general_dilated(first, kernels[1], (2, 2), "SAME", **NN_CONV)
            return carry + jnp.square(second).sum(), None

        return lax.scan(step, 0.0, maps)[0]

    kernels = jnp.zeros((3, 3, 3, 5)), jnp.zeros((3, 3, 5, 2))
    text = jax.jit(jax.grad(total)).lower(kernels, jnp.zeros((4, 1, 9, 9, 3))).as_text()
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    # Two forward, and back two for the kernels and one for the maps between them.
    assert len(lines) >= 5
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in lines)


def test_what_it_does_not_know_is_refused():
    options = {**NN_CONV, "rhs_dilation": (2, 2)}
    maps, kernel = jnp.zeros((1, 5, 5, 2)), jnp.zeros((3, 3, 2, 2))
    with pytest.raises(ValueError, match=r"rhs_dilation is \(2, 2\); this convolution knows"):
        conv_general_dilated(maps, kernel, (1, 1), "SAME", **options)
