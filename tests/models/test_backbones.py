"""Backbones: shapes, normalisation, types, and the convolution against a loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.backbones.preprocessing import normalise
from stvh_jax.models.backbones.vgg16 import halve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 256, (2, 3, 13, 19, 3)), jnp.uint8)


def run(frames, **options):
    backbone = build_backbone("small", **options)
    variables = jax.jit(backbone.init, static_argnames="train")(
        jax.random.key(0), frames, train=True
    )
    (maps,) = jax.jit(backbone.apply, static_argnames="train")(variables, frames, train=False)
    return variables, maps


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
    backbone = build_backbone("small", **options)
    (out,), _ = jax.eval_shape(
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
    backbone = build_backbone("small", features=(8,))
    variables, out = run(frames, features=(8,))
    (alone,) = backbone.apply(variables, frames[1, 2], train=True)
    np.testing.assert_allclose(alone, out[1, 2], atol=1e-5)


def test_normalisations_by_hand():
    pixels = jnp.asarray([0, 51, 255], jnp.uint8).reshape(1, 1, 3)
    for name, expected in {
        "symmetric": [-1, -0.6, 1],
        "imagenet": [-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225],
        "caffe": [-123.68, 51 - 116.779, 255 - 103.939],
    }.items():
        np.testing.assert_allclose(normalise(pixels, name).ravel(), expected, rtol=1e-5)
    with pytest.raises(UserError, match="normalisation 'x' is unknown; choose one of symmetric"):
        normalise(pixels, "x")


def test_bfloat16_computes_with_float32_parameters(frames):
    variables, out = run(frames, features=(8, 8), dtype=jnp.dtype("bfloat16"))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    exact = run(frames, features=(8, 8))[1]
    # bfloat16 has 8 bits; the values are of order one.
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.1)


def test_gradients_reach_every_parameter_and_are_finite_on_a_black_frame(frames):
    backbone = build_backbone("small", features=(8, 8))
    variables = run(frames, features=(8, 8))[0]

    @jax.jit
    def gradient(frames):
        def total(variables):
            (maps,) = backbone.apply(variables, frames, train=True)
            return jnp.square(maps).sum()

        return jax.tree.leaves(jax.grad(total)(variables))

    for leaf in gradient(frames):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)
    for leaf in gradient(jnp.zeros_like(frames)):
        assert np.isfinite(leaf).all()


def test_a_wrong_name_or_option_is_one_clear_line(frames):
    with pytest.raises(
        UserError, match="backbone 'smal' is unknown; choose one of small, vgg16, inception_v3"
    ):
        build_backbone("smal")
    with pytest.raises(UserError, match="small has no option 'feature'; it has features, strides"):
        build_backbone("small", feature=(8,))
    backbone = build_backbone("small", features=(8, 8), strides=(4,))
    with pytest.raises(UserError, match="2 features and 1 strides; give as many"):
        backbone.init(jax.random.key(0), frames, train=False)
    with pytest.raises(UserError, match="backbone.din_compat is 'yes'; use True or False"):
        build_backbone("vgg16", din_compat="yes")


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("options", [{"features": (8, 0)}, {"strides": (0,)}, {"features": 8}])
def test_a_size_that_no_stage_has_is_one_clear_line(options, frames):
    (name,) = options
    with pytest.raises(UserError, match=f"^config.model.backbone.{name} is .*; give one whole"):
        build_backbone("small", **options).init(jax.random.key(0), frames, train=False)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        # The paper's 720x1280: 512 at 1/32, and 288 at stride 8 with 768 at stride 16.
        ("vgg16", [(22, 40, 512)]),
        ("inception_v3", [(87, 157, 288), (43, 78, 768)]),
    ],
)
def test_maps_at_the_size_of_the_paper(name, shapes):
    backbone = build_backbone(name)
    frames = jax.ShapeDtypeStruct((1, 720, 1280, 3), jnp.uint8)
    maps, _ = jax.eval_shape(
        lambda frames: backbone.init_with_output(jax.random.key(0), frames, train=True), frames
    )
    assert [out.shape[1:] for out in maps] == shapes


def drawn(backbone, frames, **options):
    """Draws variables without compiling an initialisation."""
    shapes = jax.eval_shape(
        lambda: backbone.init(jax.random.key(0), frames, train=False, **options)
    )
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            return rng.normal(0, np.sqrt(2 / fan_in), leaf.shape).astype(np.float32)
        return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(draw, shapes)


def test_batch_norm_is_frozen_or_trained():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 39, 43, 3)), jnp.uint8)
    variables = drawn(build_backbone("inception_v3"), frames, taps=("Mixed_5b",))
    changed = {}
    for batch_norm in ("frozen", "trained"):
        backbone = build_backbone("inception_v3", batch_norm=batch_norm)
        outs = [
            backbone.apply(
                variables, frames, train=train, taps=("Mixed_5b",), mutable=["batch_stats"]
            )
            for train in (False, True)
        ]
        assert np.allclose(*(maps[0] for maps, _ in outs)) == (batch_norm == "frozen")
        before, after = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(outs[1][1])
        changed[batch_norm] = [not np.array_equal(*pair) for pair in zip(before, after)]
    assert not any(changed["frozen"])
    assert all(changed["trained"])
    with pytest.raises(UserError, match="batch_norm is 'x'; choose frozen or trained"):
        build_backbone("inception_v3", batch_norm="x").apply(variables, frames, train=False)


@pytest.mark.parametrize(("name", "taps"), [("vgg16", ("pool2",)), ("inception_v3", ("Mixed_5b",))])
def test_remat_changes_no_gradient(name, taps):
    frames = jnp.asarray(np.random.default_rng(1).integers(0, 256, (1, 33, 39, 3)), jnp.uint8)
    variables = drawn(build_backbone(name), frames, taps=taps)

    def gradient(remat):
        backbone = build_backbone(name, remat=remat)

        def total(params):
            (maps,) = backbone.apply({**variables, "params": params}, frames, train=True, taps=taps)
            return jnp.square(maps).mean()

        return jax.jit(jax.grad(total))(variables["params"])

    kept, again = gradient(False), gradient(True)
    assert jax.tree.structure(kept) == jax.tree.structure(again)
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(again)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("name", ["vgg16", "inception_v3"])
def test_remat_keeps_a_tenth_for_the_backward_pass(name):
    frames = jax.ShapeDtypeStruct((1, 720, 1280, 3), jnp.uint8)

    def kept(remat):
        backbone = build_backbone(name, remat=remat)
        variables = jax.eval_shape(
            lambda frames: backbone.init(jax.random.key(0), frames, train=True), frames
        )

        def pull_back(variables, frames):
            def run(params):
                return backbone.apply({**variables, "params": params}, frames, train=True)

            return jax.vjp(run, variables["params"])[1]

        leaves = jax.tree.leaves(jax.eval_shape(pull_back, variables, frames))
        return sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    assert kept(True) < 0.15 * kept(False)


def test_halving_is_maximum_pooling():
    maps = jnp.asarray(np.random.default_rng(2).normal(size=(2, 3, 7, 10, 4)), jnp.float32)

    def pool(maps):
        return nn.max_pool(maps, (2, 2), strides=(2, 2))

    np.testing.assert_array_equal(halve(maps), pool(maps))
    cotangent = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 3, 5, 4)), jnp.float32)
    one, other = (jax.vjp(function, maps)[1](cotangent)[0] for function in (halve, pool))
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("name", "taps"), [("vgg16", ("pool2",)), ("inception_v3", ("Mixed_5b",))])
def test_large_backbones_in_bfloat16(name, taps):
    frames = jnp.asarray(np.random.default_rng(4).integers(0, 256, (1, 43, 39, 3)), jnp.uint8)
    variables = drawn(build_backbone(name), frames, taps=taps)
    (exact,), (rough,) = (
        build_backbone(name, dtype=jnp.dtype(dtype)).apply(
            variables, frames, train=False, taps=taps
        )
        for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == jnp.bfloat16
    error = jnp.abs(rough.astype(jnp.float32) - exact)
    assert error.mean() < 0.02 * jnp.abs(exact).mean()


@pytest.mark.parametrize("name", ["vgg16", "inception_v3"])
def test_an_unknown_tap_is_named(name):
    frames = jnp.zeros((1, 80, 80, 3), jnp.uint8)
    with pytest.raises(UserError, match="tap 'conv9' is unknown; choose from"):
        build_backbone(name).init(jax.random.key(0), frames, train=False, taps=("conv9",))


def test_din_compat_feeds_vgg16_the_symmetric_range():
    frames = jnp.asarray(np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3)), jnp.uint8)
    variables = drawn(build_backbone("vgg16"), frames, taps=("pool1",))
    outs = [
        build_backbone("vgg16", **options).apply(variables, frames, train=False, taps=("pool1",))
        for options in ({"din_compat": True}, {"normalisation": "symmetric"}, {})
    ]
    np.testing.assert_array_equal(outs[0][0], outs[1][0])
    assert not np.allclose(outs[0][0], outs[2][0])
