"""RoIAlign against a slow loop written from its definition."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stvh_jax.errors import UserError
from stvh_jax.models import roi_align as library

# Compiled, and thereby also open to NumPy arrays.
roi_align = jax.jit(library.roi_align, static_argnames=("size", "sampling_ratio", "border"))

# name -> [y_min, x_min, y_max, x_max], on a map of 11 x 13 cells.
BOXES = {
    "interior": (0.2, 0.3, 0.7, 0.6),
    "narrower than a cell": (0.41, 0.52, 0.44, 0.55),
    "whole image": (0.0, 0.0, 1.0, 1.0),
    "crossing the top left corner": (-0.3, -0.4, 0.3, 0.2),
    "crossing the bottom right corner": (0.8, 0.7, 1.4, 1.5),
    "larger than the image": (-0.5, -0.5, 1.5, 1.5),
    "outside": (1.2, 1.3, 1.5, 1.6),
    "empty": (0.5, 0.5, 0.5, 0.5),
    "empty on one side": (0.25, 0.5, 0.75, 0.5),
    "empty at the far corner": (1.0, 1.0, 1.0, 1.0),
}


def interpolate(frame, y, x, border):
    """Reads one sample of a frame [H, W, C]."""
    height, width = frame.shape[:2]
    margin = 1 if border == "clamp" else 0
    if y < -margin or y > height - 1 + margin or x < -margin or x > width - 1 + margin:
        return np.zeros(frame.shape[2])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = (1 - across) * frame[top, left] + across * frame[top, right]
    lower = (1 - across) * frame[bottom, left] + across * frame[bottom, right]
    return (1 - down) * upper + down * lower


def loop(features, boxes, size, sampling_ratio, border="clamp"):
    """RoIAlign in float64, one sample at a time."""
    count, height, width, channels = features.shape
    features, boxes = features.astype(np.float64), boxes.astype(np.float64)
    out = np.zeros((count, boxes.shape[1], size, size, channels))
    for b, r, p, q in np.ndindex(out.shape[:4]):
        y_min, x_min, y_max, x_max = boxes[b, r] * (height, width, height, width) - 0.5
        bin_height, bin_width = (y_max - y_min) / size, (x_max - x_min) / size
        for i, j in np.ndindex(sampling_ratio, sampling_ratio):
            y = y_min + (p + (i + 0.5) / sampling_ratio) * bin_height
            x = x_min + (q + (j + 0.5) / sampling_ratio) * bin_width
            out[b, r, p, q] += interpolate(features[b], y, x, border) / sampling_ratio**2
    return out


def random_boxes(rng, *shape):
    """Draws boxes of which many cross the border of the image."""
    centre, extent = rng.uniform(-0.1, 1.1, (*shape, 2)), rng.uniform(0, 0.9, (*shape, 2))
    return np.concatenate([centre - extent / 2, centre + extent / 2], -1).astype(np.float32)


@pytest.mark.parametrize("border", ["clamp", "zero"])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 4])
def test_named_boxes_equal_the_loop(sampling_ratio, border):
    features = np.random.default_rng(0).normal(size=(1, 11, 13, 3)).astype(np.float32)
    boxes = np.array([list(BOXES.values())], np.float32)
    expected = loop(features, boxes, 5, sampling_ratio, border)
    out = np.asarray(roi_align(features, boxes, sampling_ratio=sampling_ratio, border=border))
    for index, name in enumerate(BOXES):
        np.testing.assert_allclose(out[:, index], expected[:, index], atol=2e-5, err_msg=name)
    assert not out[:, list(BOXES).index("outside")].any()


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("extent", [(7, 5), (1, 3), (1, 1)])
def test_random_boxes_equal_the_loop(size, extent):
    rng = np.random.default_rng(size)
    features = rng.normal(size=(2, *extent, 3)).astype(np.float32)
    boxes = random_boxes(rng, 2, 7)
    out = roi_align(features, boxes, size=size)
    assert out.shape == (2, 7, size, size, 3)
    np.testing.assert_allclose(out, loop(features, boxes, size, 2), atol=2e-5)


def test_an_unknown_border_is_named():
    with pytest.raises(UserError, match="border is 'none'; choose clamp or zero"):
        library.roi_align(jnp.zeros((1, 3, 3, 1)), jnp.zeros((1, 1, 4)), border="none")


def test_hand_computed():
    # One bin over a whole map of 2 x 2 cells: the four samples of ratio 2 are the cells' centres.
    features = jnp.array([[[[1.0], [2.0]], [[4.0], [9.0]]]])
    whole = jnp.array([[[0.0, 0.0, 1.0, 1.0]]])
    assert roi_align(features, whole, size=1).item() == 4.0
    # The centre of the first cell, and the middle between the first and the second.
    points = jnp.array([[[0.25, 0.25, 0.25, 0.25], [0.25, 0.5, 0.25, 0.5]]])
    np.testing.assert_array_equal(roi_align(features, points, size=1).ravel(), [1.0, 1.5])
    # One cell outside the map still reads the border; beyond it there is nothing.
    edges = jnp.array([[[-0.25, 0.25, -0.25, 0.25], [-0.3, 0.25, -0.3, 0.25]]])
    np.testing.assert_array_equal(roi_align(features, edges, size=1).ravel(), [1.0, 0.0])
    # H itself is inside by the definition, although one and a half cells from the last centre.
    far = jnp.array([[[1.25, 0.75, 1.25, 0.75], [1.3, 0.75, 1.3, 0.75]]])
    np.testing.assert_array_equal(roi_align(features, far, size=1).ravel(), [9.0, 0.0])


def test_a_linear_ramp_is_read_at_the_bin_centres():
    y, x = np.mgrid[:17, :19].astype(np.float32)
    features = np.stack([y, x], -1)[None]
    box = np.array([[[0.25, 0.2, 0.75, 0.6]]], np.float32)
    out = np.asarray(roi_align(features, box))[0, 0]
    centres = (np.arange(5) + 0.5) / 5
    np.testing.assert_allclose(out[:, 0, 0], (0.25 + 0.5 * centres) * 17 - 0.5, rtol=1e-5)
    np.testing.assert_allclose(out[0, :, 1], (0.2 + 0.4 * centres) * 19 - 0.5, rtol=1e-5)


def test_the_zero_border_is_crop_and_resize():
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is the oracle")
    rng = np.random.default_rng(7)
    height, width, size = 11, 13, 5
    features = rng.normal(size=(1, height, width, 3)).astype(np.float32)
    boxes = np.concatenate([random_boxes(rng, 1, 9), np.array([list(BOXES.values())])], 1)
    boxes = boxes.astype(np.float32)
    # Its corners are the centres of the outer bins, in cells over the last cell.
    start, stop = boxes[0, :, :2], boxes[0, :, 2:]
    cells = np.array([height, width])
    half = (stop - start) / (2 * size)
    first, last = ((end * cells - 0.5) / (cells - 1) for end in (start + half, stop - half))
    expected = tensorflow.image.crop_and_resize(
        features,
        np.concatenate([first, last], axis=1).astype(np.float32),
        np.zeros(len(start), np.int32),
        (size, size),
    )
    out = roi_align(features, boxes, size=size, sampling_ratio=1, border="zero")
    np.testing.assert_allclose(out[0], expected, atol=2e-5)


def test_a_1x1_convolution_before_equals_one_after():
    rng = np.random.default_rng(8)
    features = rng.normal(size=(2, 7, 9, 6)).astype(np.float32)
    kernel = rng.normal(size=(6, 4)).astype(np.float32)
    # The rules of the border keep it linear, but would not keep a bias.
    for border in ("clamp", "zero"):
        boxes = random_boxes(rng, 2, 5)
        after = roi_align(features, boxes, border=border) @ kernel
        before = roi_align(features @ kernel, boxes, border=border)
        np.testing.assert_allclose(after, before, atol=2e-5)


def test_a_coarse_map_is_read_as_its_enlargement_is():
    # At the centres of the enlarged map's cells, where interpolation has nothing to do.
    rng = np.random.default_rng(9)
    coarse = rng.normal(size=(1, 5, 7, 2)).astype(np.float32)
    fine = jax.image.resize(coarse, (1, 10, 14, 2), "bilinear")
    y, x = (np.arange(10) + 0.5) / 10, (np.arange(14) + 0.5) / 14
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(1, -1, 2)
    boxes = np.concatenate([points, points], axis=-1).astype(np.float32)
    one, other = (roi_align(maps, boxes, size=1, sampling_ratio=1) for maps in (coarse, fine))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("border", ["clamp", "zero"])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 4])
def test_the_gradient_is_the_transpose_of_the_loop(sampling_ratio, border):
    # RoIAlign is linear: with one channel a cell, the loop returns its whole Jacobian.
    height, width = 5, 7
    identity = np.eye(height * width).reshape(1, height, width, height * width)
    rng = np.random.default_rng(1)
    # Off the round numbers: on the very edge of a map, rounding decides what is inside.
    named = np.array([list(BOXES.values())]) + 0.0013
    boxes = np.concatenate([random_boxes(rng, 1, 5), named], 1).astype(np.float32)
    jacobian = loop(identity, boxes, 3, sampling_ratio, border)[0]
    cotangent = rng.normal(size=(1, boxes.shape[1], 3, 3, 2)).astype(np.float32)
    expected = np.einsum("rpqk,rpqc->kc", jacobian, cotangent[0]).reshape(1, height, width, 2)

    def align(features):
        return roi_align(features, boxes, size=3, sampling_ratio=sampling_ratio, border=border)

    _, pull_back = jax.vjp(align, jnp.zeros((1, height, width, 2)))
    np.testing.assert_allclose(pull_back(cotangent)[0], expected, atol=2e-5)


def test_the_gradient_passes_finite_differences():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)
    boxes = random_boxes(rng, 2, 3)
    # The step is large because the function is linear: no truncation, little rounding.
    check_grads(
        lambda features: roi_align(features, boxes, size=2),
        (features,),
        order=1,
        modes=["rev"],
        eps=1.0,
        atol=1e-4,
        rtol=1e-4,
    )


def test_boxes_get_a_zero_gradient():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1, 5, 7, 3)).astype(np.float32)
    boxes = random_boxes(rng, 1, 5)
    gradient = jax.grad(lambda boxes: jnp.square(roi_align(features, boxes)).sum())(boxes)
    np.testing.assert_array_equal(gradient, np.zeros_like(boxes))


def test_boxes_that_are_not_finite_give_zeros():
    features = jnp.ones((1, 5, 7, 2))
    nan, inf = math.nan, math.inf
    boxes = jnp.array([[[nan] * 4, [-inf, -inf, inf, inf], [0.2, nan, 0.4, 0.5]]])
    out, pull_back = jax.vjp(lambda features: roi_align(features, boxes), features)
    assert not np.asarray(out).any()
    assert not np.asarray(pull_back(jnp.ones_like(out))[0]).any()


def test_bfloat16_in_and_out_with_sums_in_float32():
    rng = np.random.default_rng(4)
    features = jnp.asarray(rng.normal(size=(2, 7, 11, 3)), jnp.bfloat16)
    boxes = random_boxes(rng, 2, 5)
    cotangent = jnp.asarray(rng.normal(size=(2, 5, 5, 5, 3)), jnp.bfloat16)
    out, pull_back = jax.vjp(lambda features: roi_align(features, boxes), features)
    exact, pull_back_exact = jax.vjp(
        lambda features: roi_align(features, boxes), features.astype(jnp.float32)
    )
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))
    (gradient,), (gradient_exact,) = (
        pull_back(cotangent),
        pull_back_exact(cotangent.astype(jnp.float32)),
    )
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient, gradient_exact.astype(jnp.bfloat16))


def test_vmap():
    rng = np.random.default_rng(5)
    features = jnp.asarray(rng.normal(size=(3, 2, 5, 7, 2)), jnp.float32)
    boxes = jnp.asarray(random_boxes(rng, 3, 2, 5))
    expected = np.stack([roi_align(f, b) for f, b in zip(features, boxes)])
    np.testing.assert_allclose(jax.vmap(roi_align)(features, boxes), expected, atol=1e-6)


def test_frames_on_several_devices_need_no_communication():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    rng = np.random.default_rng(6)
    features = rng.normal(size=(8, 5, 7, 3)).astype(np.float32)
    boxes = random_boxes(rng, 8, 5)

    def gradient(features, boxes):
        return jax.grad(lambda features: jnp.square(roi_align(features, boxes)).sum())(features)

    sharded = jax.jit(gradient, in_shardings=(rows, rows), out_shardings=rows)
    compiled = sharded.lower(features, boxes).compile()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled.as_text()
    placed = jax.device_put((features, boxes), rows)
    np.testing.assert_allclose(compiled(*placed), gradient(features, boxes), atol=2e-5)
