"""Backbones: shapes, normalisation, types, and the convolution against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax import backbones
from stvh_jax.errors import UserError


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 256, (2, 3, 13, 19, 3)), jnp.uint8)


def run(frames, **options):
    backbone = backbones.build("small", **options)
    variables = jax.jit(backbone.init, static_argnames="train")(
        jax.random.key(0), frames, train=True
    )
    return variables, jax.jit(backbone.apply, static_argnames="train")(
        variables, frames, train=False
    )


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 3, 2, 3, 64)),
        ({"features": (4, 6)}, (2, 3, 4, 5, 6)),
        ({"features": (4, 6, 5), "strides": (4, 1, 2)}, (2, 3, 2, 3, 5)),
        ({"features": [4], "strides": [1]}, (2, 3, 13, 19, 4)),
    ],
)
def test_shapes(frames, options, shape):
    backbone = backbones.build("small", **options)
    out, _ = jax.eval_shape(
        lambda: backbone.init_with_output(jax.random.key(0), frames, train=True)
    )
    assert out.shape == shape


def test_one_stage_equals_the_loop(frames):
    variables, out = run(frames, features=(16,), strides=(5,))
    kernel = np.asarray(variables["params"]["conv_0"]["kernel"], np.float64)
    assert kernel.shape == (5, 5, 3, 16)
    pixels = np.asarray(frames, np.float64) / 127.5 - 1
    # 13 to 3 x 5 and 19 to 4 x 5, the larger half of the padding behind.
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (0, 1), (0, 0)))
    maps = np.zeros(out.shape)
    for y, x in np.ndindex(3, 4):
        patch = padded[:, :, 5 * y : 5 * y + 5, 5 * x : 5 * x + 5]
        maps[:, :, y, x] = np.einsum("btijc,ijcd->btd", patch, kernel)
    groups = maps.reshape(2, 3, 3, 4, 8, 2)
    centred = groups - groups.mean((2, 3, 5), keepdims=True)
    normal = centred / np.sqrt(groups.var((2, 3, 5), keepdims=True) + 1e-6)
    np.testing.assert_allclose(out, np.maximum(normal.reshape(maps.shape), 0), atol=2e-5)


def test_every_frame_is_on_its_own(frames):
    backbone = backbones.build("small", features=(8,))
    variables, out = run(frames, features=(8,))
    alone = backbone.apply(variables, frames[1, 2], train=True)
    np.testing.assert_allclose(alone, out[1, 2], atol=1e-5)


def test_normalisation():
    pixels = jnp.asarray([0, 51, 255], jnp.uint8).reshape(1, 1, 3)
    np.testing.assert_allclose(
        backbones.build("small").normalise(pixels).ravel(), [-1, -0.6, 1], rtol=1e-6
    )


def test_bfloat16_computes_with_float32_parameters(frames):
    variables, out = run(frames, features=(8, 8), dtype=jnp.dtype("bfloat16"))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    exact = run(frames, features=(8, 8))[1]
    # bfloat16 has 8 bits; the values are of order one.
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.1)


def test_gradients_reach_every_parameter_and_are_finite_on_a_black_frame(frames):
    backbone = backbones.build("small", features=(8, 8))
    variables = run(frames, features=(8, 8))[0]

    @jax.jit
    def gradient(frames):
        def total(variables):
            return jnp.square(backbone.apply(variables, frames, train=True)).sum()

        return jax.tree.leaves(jax.grad(total)(variables))

    for leaf in gradient(frames):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)
    for leaf in gradient(jnp.zeros_like(frames)):
        assert np.isfinite(leaf).all()


def test_a_wrong_name_or_option_is_one_clear_line(frames):
    with pytest.raises(UserError, match="backbone 'smal' is unknown; choose one of small"):
        backbones.build("smal")
    with pytest.raises(UserError, match="small has no option 'feature'; it has features, strides"):
        backbones.build("small", feature=(8,))
    backbone = backbones.build("small", features=(8, 8), strides=(4,))
    with pytest.raises(UserError, match="2 features and 1 strides; give as many"):
        backbone.init(jax.random.key(0), frames, train=False)
