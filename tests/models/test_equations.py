"""The parts of the model against NumPy loops, equation by equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.models.frame_features import ConvolutionalEmbedding
from stvh_jax.models.graphs import spatial_graph, temporal_graph
from stvh_jax.models.hash_heads import HashHead, RelationEncoder
from stvh_jax.models.interleaving import (
    GraphAttention,
    MultiFocusFusion,
    PositionVisualFusion,
    SpatiotemporalLayer,
    combine_attention,
)
from tests.helpers.fakes import random_clips
from tests.helpers.oracles import (
    apply,
    arrays,
    attend_by_loops,
    close_layer,
    drawn,
    layer_norm,
    model_config,
    softmax,
)

B, T, N, D, K = 2, 3, 5, 7, 16


@pytest.fixture
def scene():
    clips = random_clips(3, clips=B, frames=T, actors=N)
    mask = np.array([[True] * N, [True, True, False, True, False]])
    in_time = np.array(temporal_graph(jnp.asarray(clips.boxes)))
    in_space = np.array(spatial_graph(jnp.asarray(clips.boxes), jnp.asarray(mask)))
    return arrays(0, B, T, N, D), in_time, in_space, mask


@pytest.mark.parametrize("product", ["matrix", "hadamard"])
@pytest.mark.parametrize("weight", [True, False])
def test_graph_attention_is_equation_4(product, weight, scene):
    features, _, in_space, mask = scene
    allowed = np.broadcast_to(mask[:, None, None, :], in_space.shape)
    module = GraphAttention(product, weight, jnp.float32)
    variables = drawn(module, features, in_space, allowed)
    actual = apply(module, variables, features, in_space, allowed)
    for b in range(B):
        for t in range(T):
            expected = attend_by_loops(
                features[b, t], in_space[b, t], allowed[b, t], variables["params"],
                product=product, weight=weight,
            )  # fmt: skip
            np.testing.assert_allclose(actual[b, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("product", ["matrix", "hadamard"])
def test_combined_attention_stays_row_stochastic(product):
    first, second = (np.array(jax.nn.softmax(arrays(seed, 5, 5))) for seed in (1, 2))
    combined = combine_attention(jnp.array(first), jnp.array(second), product=product)
    np.testing.assert_allclose(combined.sum(axis=-1), np.ones(5), rtol=1e-5)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("causal", ["zero", "neg_inf"])
def test_position_visual_fusion_in_time_is_equation_3(residual, causal, scene):
    features, in_time, _, mask = scene
    module = PositionVisualFusion(model_config(residual=residual, causal=causal), axis="time")
    variables = drawn(module, features, in_time, mask, train=False)
    actual = apply(module, variables, features, in_time, mask, train=False)
    params = variables["params"]
    allowed = np.ones((T, T), bool) if causal == "zero" else np.tril(np.ones((T, T), bool))
    for b in range(B):
        for n in range(N):
            f = features[b, :, n]
            attended = attend_by_loops(
                layer_norm(f, params["norm"]), in_time[b, n], allowed, params["attention"]
            )
            expected = close_layer(f, attended, params, residual)
            np.testing.assert_allclose(actual[b, :, n], expected, rtol=1e-4, atol=1e-5)


def fuse_in_space_by_loops(features, in_space, mask, params, residual):
    """Eq 3 in space for a batch: each frame on its own, valid actors looked at."""
    fused = np.zeros_like(features)
    for b in range(B):
        allowed = np.broadcast_to(mask[b], (N, N))
        for t in range(T):
            normal = layer_norm(features[b, t], params["norm"])
            attended = attend_by_loops(normal, in_space[b, t], allowed, params["attention"])
            fused[b, t] = close_layer(features[b, t], attended, params, residual)
    return fused


@pytest.mark.parametrize("residual", [True, False])
def test_position_visual_fusion_in_space_is_equation_3(residual, scene):
    features, _, in_space, mask = scene
    module = PositionVisualFusion(model_config(residual=residual), axis="space")
    variables = drawn(module, features, in_space, mask, train=False)
    actual = apply(module, variables, features, in_space, mask, train=False)
    expected = fuse_in_space_by_loops(features, in_space, mask, variables["params"], residual)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_a_layer_of_stvh_goes_through_time_and_then_through_space(scene):
    features, in_time, in_space, mask = scene
    module = SpatiotemporalLayer(model_config())
    variables = drawn(module, features, in_time, in_space, mask, train=False)
    f_t, f_s = apply(module, variables, features, in_time, in_space, mask, train=False)
    params = variables["params"]
    through_time, temporal = np.zeros_like(features), params["temporal"]
    for b in range(B):
        for n in range(N):
            f = features[b, :, n]
            attended = attend_by_loops(
                layer_norm(f, temporal["norm"]), in_time[b, n], np.ones((T, T), bool),
                temporal["attention"],
            )  # fmt: skip
            through_time[b, :, n] = close_layer(f, attended, temporal, residual=True)
    np.testing.assert_allclose(f_t, through_time, rtol=1e-3, atol=1e-3)
    expected = fuse_in_space_by_loops(through_time, in_space, mask, params["spatial"], True)
    np.testing.assert_allclose(f_s, expected, rtol=1e-3, atol=1e-3)


def test_no_frame_sees_a_later_one_when_the_future_is_masked(scene):
    features, in_time, _, mask = scene
    module = PositionVisualFusion(model_config(causal="neg_inf"), axis="time")
    variables = drawn(module, features, in_time, mask, train=False)
    before = apply(module, variables, features, in_time, mask, train=False)
    changed = features.copy()
    changed[:, -1] += 1
    after = apply(module, variables, changed, in_time, mask, train=False)
    np.testing.assert_array_equal(before[:, :-1], after[:, :-1])
    assert not np.allclose(before[:, -1], after[:, -1])


@pytest.mark.parametrize("fusion", ["nested", "sum", "concat"])
@pytest.mark.parametrize("residual", [True, False])
def test_multi_focus_fusion_is_equations_10_and_11(fusion, residual, scene):
    features, in_time, in_space, mask = scene
    module = MultiFocusFusion(model_config(fusion=fusion, residual=residual))
    inputs = features, in_time, in_space, mask
    variables = drawn(module, *inputs, train=False)
    temporal, actual = apply(module, variables, *inputs, train=False)
    assert temporal is None
    params = variables["params"]
    normal = layer_norm(features, params["norm"])

    def objects(f):
        mixed = np.zeros_like(f)
        for b in range(B):
            for n in range(N):
                allowed = np.ones((T, T), bool)
                mixed[b, :, n] = attend_by_loops(
                    f[b, :, n], in_time[b, n], allowed, params["object"]
                )
        return mixed

    def group(f):
        mixed = np.zeros_like(f)
        for b in range(B):
            for t in range(T):
                allowed = np.broadcast_to(mask[b], (N, N))
                mixed[b, t] = attend_by_loops(f[b, t], in_space[b, t], allowed, params["group"])
        return mixed

    if fusion == "nested":
        fused = group(objects(normal))
    elif fusion == "sum":
        fused = objects(normal) + group(normal)
    else:
        joined = np.concatenate([objects(normal), group(normal)], axis=-1)
        fused = joined @ params["fuse"]["kernel"] + params["fuse"]["bias"]
    expected = close_layer(features, fused, params, residual)
    valid = np.broadcast_to(mask[:, None, :], (B, T, N))
    np.testing.assert_allclose(actual[valid], expected[valid], rtol=1e-4, atol=1e-5)


def test_hash_head_is_equation_5(scene):
    features, _, _, mask = scene
    module = HashHead(model_config(bits=K))
    variables = drawn(module, features, mask)
    relaxed, logits = apply(module, variables, features, mask)
    params = variables["params"]
    for b in range(B):
        mean = np.mean([features[b, t, n] for t in range(T) for n in range(N) if mask[b, n]], 0)
        projected = mean @ params["hash"]["kernel"] + params["hash"]["bias"]
        expected = np.tanh(layer_norm(projected, params["norm"]))
        np.testing.assert_allclose(relaxed[b], expected, rtol=1e-4, atol=1e-5)
        scores = expected @ params["activity"]["kernel"] + params["activity"]["bias"]
        np.testing.assert_allclose(logits[K][b], scores, rtol=1e-4, atol=1e-5)


def test_the_head_of_mean_and_maximum_reads_the_valid_actors_of_every_frame(scene):
    features, _, _, mask = scene
    module = HashHead(model_config(bits=K, hash_head="mean_and_maximum"))
    variables = drawn(module, features, mask)
    relaxed, _ = apply(module, variables, features, mask)
    params = variables["params"]
    for b in range(B):
        actors = [n for n in range(N) if mask[b, n]]
        mean = np.mean([features[b, t, n] for t in range(T) for n in actors], 0)
        highest = np.mean([np.max([features[b, t, n] for n in actors], 0) for t in range(T)], 0)
        normal = layer_norm(mean, params["mean_norm"]), layer_norm(highest, params["maximum_norm"])
        projected = np.concatenate(normal) @ params["hash"]["kernel"] + params["hash"]["bias"]
        expected = np.tanh(layer_norm(projected, params["norm"]))
        np.testing.assert_allclose(relaxed[b], expected, rtol=1e-4, atol=1e-5)


def test_relation_encoder_is_two_graph_convolutions(scene):
    _, _, in_space, mask = scene
    logits = arrays(5, B, N, 3)
    module = RelationEncoder(K)
    variables = drawn(module, logits, in_space, mask)
    actual = apply(module, variables, logits, in_space, mask)
    first, second = variables["params"]["first"], variables["params"]["second"]
    for b in range(B):
        nodes = np.array([softmax(row, [True] * 3) for row in logits[b]])
        codes = []
        for t in range(T):
            adjacency = np.array([softmax(row, mask[b]) for row in in_space[b, t]])
            hidden = np.maximum(adjacency @ (nodes @ first["kernel"] + first["bias"]), 0)
            out = adjacency @ (hidden @ second["kernel"] + second["bias"])
            codes.extend(out[n] for n in range(N) if mask[b, n])
        np.testing.assert_allclose(actual[b], np.mean(codes, axis=0), rtol=1e-4, atol=1e-5)


def test_embedding_is_a_3d_then_a_2d_convolution():
    roi = arrays(1, 1, 3, 2, 5, 5, 2)
    module = ConvolutionalEmbedding(4, 2, jnp.float32)
    variables = drawn(module, roi)
    actual = apply(module, variables, roi)
    conv3d, conv2d = variables["params"]["conv3d"], variables["params"]["conv2d"]
    assert actual.shape == (1, 3, 2, 4)
    for n in range(2):
        padded = np.pad(roi[0, :, n], [(1, 1), (0, 0), (0, 0), (0, 0)])
        for t in range(3):
            patch = np.zeros((3, 3, 2))
            for y in range(3):
                for x in range(3):
                    cube = padded[t : t + 3, y : y + 3, x : x + 3]
                    kernel = conv3d["kernel"].reshape(3, 3, 2, 3, 2)  # y x c t d
                    patch[y, x] = np.einsum("tyxc,yxctd->d", cube, kernel)
            patch = np.maximum(patch + variables["params"]["conv3d_bias"], 0)
            kernel = conv2d["kernel"].reshape(3, 3, 2, 4)
            vector = np.einsum("yxc,yxcd->d", patch, kernel) + conv2d["bias"]
            np.testing.assert_allclose(actual[0, t, n], vector, rtol=1e-4, atol=1e-5)
