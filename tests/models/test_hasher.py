"""The model against NumPy loops, and what must never change a code."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import make_encode_step
from stvh_jax.models.build import build_model
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
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config
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
    actual = apply(module, variables, features, in_time, in_space, mask, train=False)
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
    expected = fuse_in_space_by_loops(through_time, in_space, mask, params["spatial"], True)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


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
    actual = apply(module, variables, *inputs, train=False)
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


def test_reconstruction_is_equation_13():
    clips = random_clips(0, clips=3)
    model, variables, encode = built("mstvh")
    captured = apply(
        model,
        variables,
        clips,
        train=False,
        capture_intermediates=lambda module, _: module.name == "boxes",
    )[1]
    _, f_roi, decoded = captured["intermediates"]["boxes"]["__call__"][0]
    errors = encode(variables, clips).reconstruction_error
    for b in range(3):
        squares = [
            (f_roi[b, 0, n, d] - decoded[b, 0, n, d]) ** 2
            for n in range(clips.actor_mask[b].sum())
            for d in range(f_roi.shape[-1])
        ]
        np.testing.assert_allclose(errors[b], np.mean(squares), rtol=1e-4)


def test_reconstruction_moves_the_decoder_and_not_its_target():
    clips = clips_of(0, clips=2, **FRAMES)
    model, variables, _ = built("mstvh", **FRAMES)
    visual = variables["params"]["visual"]
    # A decoder that ignores f_v leaves the target as the only way to the backbone.
    decoder = {**visual["decoder"], "kernel": np.zeros_like(visual["decoder"]["kernel"])}

    def error(visual):
        params = {**variables["params"], "visual": visual}
        outputs = model.apply({**variables, "params": params}, clips, train=False)
        return outputs.reconstruction_error.sum()

    clips = jax.tree.map(jnp.asarray, clips)
    gradient = jax.jit(jax.grad(error))({**visual, "decoder": decoder})
    assert np.abs(gradient["decoder"]["bias"]).max() > 0
    assert np.abs(gradient["decoder"]["kernel"]).max() > 0
    others = {name: value for name, value in gradient.items() if name != "decoder"}
    assert len(others) > 1
    assert all(not leaf.any() for leaf in jax.tree.leaves(others))


FRAMES = {"source": "frames", "num_frames": 3, "key_frame": 1}


def clips_of(seed, *, clips, source="boxes", num_frames=1, **_):
    """Draws clips as a model with these fields reads them, with pixels where it reads frames."""
    drawn_clips = random_clips(seed, clips=clips, frames=num_frames)
    if source != "frames":
        return drawn_clips
    shape = (clips, num_frames, 24, 40, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return dataclasses.replace(drawn_clips, frames=pixels)


@functools.cache
def built(name, **fields):
    """Builds a model and its variables, once for all tests, that compile it once."""
    config = small_config(name=name, **fields)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = clips_of(0, clips=1, **config.model)
    encode_step = jax.jit(make_encode_step(model))
    return model, drawn(model, clips, train=False), lambda *xs: jax.device_get(encode_step(*xs))


VARIANTS = [
    {},
    {"residual": False},
    {"product": "hadamard"},
    {"causal": "neg_inf"},
    {"distance": "literal"},
    {"graph_weight": False},
    {"fusion": "sum"},
    {"fusion": "concat"},
    {"position": "before"},
    {"position": "after", "num_frames": 3, "key_frame": 1},
    {"position": "add"},
    {"position": "concat"},
    {"num_frames": 3, "key_frame": 1},
    {"num_frames": 3, "key_frame": 0, "temporal_contrast": True},
    FRAMES,
    {**FRAMES, "embed": "fc", "temporal_contrast": True, "visual_code": "f_v"},
    {**FRAMES, "dtype": "bfloat16"},
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_nothing_in_a_padded_slot_changes_anything(name, fields):
    model, variables, encode = built(name, **fields)
    clips = clips_of(1, clips=4, **fields)
    before = encode(variables, clips)
    boxes = np.where(clips.actor_mask[:, None, :, None], clips.boxes, np.nan)
    after = encode(variables, dataclasses.replace(clips, boxes=boxes))
    for field in ("relaxed", "activity_logits", "relation", "reconstruction_error"):
        np.testing.assert_array_equal(getattr(before, field), getattr(after, field))
    valid = clips.actor_mask
    np.testing.assert_array_equal(before.action_logits[valid], after.action_logits[valid])


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@pytest.mark.parametrize(
    "fields",
    [{**FRAMES, "source": "boxes"}, FRAMES, {**FRAMES, "source": "boxes", "position": "before"}],
    ids=str,
)
def test_the_order_of_the_actors_changes_no_code(name, fields):
    model, variables, encode = built(name, **fields)
    clips = clips_of(2, clips=4, **fields)
    order = np.random.default_rng(0).permutation(5)
    shuffled = dataclasses.replace(
        clips, boxes=clips.boxes[:, :, order], actor_mask=clips.actor_mask[:, order]
    )
    before, after = encode(variables, clips), encode(variables, shuffled)
    np.testing.assert_array_equal(before.relaxed, after.relaxed)
    valid = shuffled.actor_mask
    np.testing.assert_array_equal(before.action_logits[:, order][valid], after.action_logits[valid])


def test_precomputed_features_of_any_size_are_embedded():
    config = small_config(source="features")
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = random_clips(1, clips=3, features=11)
    variables = drawn(model, clips, train=False)
    assert variables["params"]["embedding"]["kernel"].shape == (11, 16)
    outputs = apply(model, variables, clips, train=False)
    assert outputs.relaxed.shape == (3, 3, 16)
    noise = np.where(clips.actor_mask[:, None, :, None], clips.actor_features, np.nan)
    given = dataclasses.replace(clips, actor_features=noise.astype(np.float32))
    np.testing.assert_array_equal(
        apply(model, variables, given, train=False).relaxed, outputs.relaxed
    )


@pytest.mark.parametrize("visual_code", ["f_roi", "f_v"])
def test_focus_0_is_a_projection_of_what_stands_before_any_layer(visual_code):
    clips = random_clips(2, clips=4)
    model, variables, encode = built("mstvh", visual_code=visual_code)
    captured = apply(
        model,
        variables,
        clips,
        train=False,
        capture_intermediates=lambda module, _: module.name == "boxes",
    )[1]
    f_v, f_roi, _ = captured["intermediates"]["boxes"]["__call__"][0]
    features = f_roi if visual_code == "f_roi" else f_v
    head = variables["batch_stats"]["head_0"]["standardise"]
    kernel = variables["projection"]["head_0"]["kernel"]
    for b in range(4):
        pooled = features[b, :, : clips.actor_mask[b].sum()].mean(axis=(0, 1))
        standardised = (pooled - head["mean"]) / np.sqrt(head["var"] + 1e-5)
        np.testing.assert_allclose(
            encode(variables, clips).relaxed[0, b], np.tanh(standardised @ kernel), atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@pytest.mark.parametrize("source", ["boxes", "frames"])
def test_gradients_are_finite_for_one_actor_and_for_empty_boxes(name, source):
    from stvh_jax.training.losses import total_loss

    fields = {**FRAMES, "source": source}
    model, variables, encode = built(name, **fields)
    clips = clips_of(4, clips=3, **fields)
    boxes, mask = clips.boxes.copy(), clips.actor_mask.copy()
    mask[0] = [True, False, False, False, False]
    boxes[1] = 0.5
    boxes[2, :, 0, 2:] = boxes[2, :, 0, :2]
    clips = dataclasses.replace(
        clips, boxes=boxes, actor_mask=mask, action=np.where(mask, 0, -1).astype(np.int32)
    )

    clips, boxes = jax.tree.map(jnp.asarray, (clips, boxes))

    def loss(params, boxes):
        inputs = dataclasses.replace(clips, boxes=boxes)
        outputs = model.apply({**variables, "params": params}, inputs, train=False)
        return total_loss(outputs, inputs, weights=small_config().loss)[0]

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], boxes)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("layers", [2, 3, 4, 5])
@pytest.mark.parametrize("bits", [16, 32, 64, 128])
def test_foci_and_bits(layers, bits):
    for name, foci in (("stvh", (layers,)), ("mstvh", tuple(range(layers + 1)))):
        config = small_config(name=name, layers=layers, bits=bits)
        model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
        clips = random_clips(0, clips=2)
        initialise = functools.partial(model.init_with_output, train=False)
        outputs, _ = jax.eval_shape(initialise, jax.random.key(0), clips)
        assert model.foci == foci
        assert outputs.relaxed.shape == (len(foci), 2, bits)
        assert outputs.action_logits.shape == (2, 5, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roi_size": 2, "source": "frames"}, "config.model.roi_size is 2; embed=conv needs"),
        ({"heads": 4}, "config.model has an unknown field 'heads'"),
        ({"bits": 12}, "config.model.bits is 12; use a multiple of 8"),
        ({"product": "sum"}, "config.model.product is 'sum'; choose one of matrix, hadamard"),
    ],
)
def test_a_field_that_no_model_has_is_said(change, message):
    fields = dict(small_config().model) | change
    with pytest.raises(UserError, match=f"^{message}"):
        build_model(fields, activity_names=ACTIVITIES, action_names=ACTIONS)


def test_a_config_of_another_version_is_said():
    fields = dict(small_config().model)
    del fields["visual_code"]
    with pytest.raises(UserError, match="^config.model has no field 'visual_code'"):
        build_model(fields, activity_names=ACTIVITIES, action_names=ACTIONS)
