"""The whole model: equation 13, and what must never change a code."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import make_encode_step
from stvh_jax.models.build import build_model
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config
from tests.helpers.oracles import apply, drawn, layer_norm


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
    {**FRAMES, "embed": "boxes"},
]


def test_boxes_are_all_that_the_activity_is_read_from_where_they_are_embedded():
    model, variables, encode = built("mstvh", **FRAMES, embed="boxes")
    clips = clips_of(1, clips=4, **FRAMES)
    others = dataclasses.replace(clips, frames=255 - clips.frames)
    before, after = encode(variables, clips), encode(variables, others)
    assert model.foci[0] == 0
    np.testing.assert_array_equal(before.relaxed[1:], after.relaxed[1:])
    np.testing.assert_array_equal(before.action_logits, after.action_logits)
    assert np.abs(before.relaxed[0] - after.relaxed[0]).max() > 0.1  # what focus 0 shows
    np.testing.assert_array_equal(before.reconstruction_error, 0)


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


@pytest.mark.parametrize(
    ("name", "fields", "module"),
    [
        ("stvh", {"action_features": "f_T"}, ("layer_2", "temporal")),
        ("stvh", {"action_features": "f_S"}, ("layer_2", "spatial")),
        ("stvh", {"action_features": "f_T", "position": "add"}, ("plain_fusion", "layer_2")),
        ("mstvh", {"action_features": "f_T"}, ("layer_2",)),
        ("mstvh", {"action_features": "f_S"}, ("layer_2",)),
    ],
    ids=str,
)
def test_actions_are_read_from_the_mean_over_time_of(name, fields, module):
    frames, actors = 3, 5
    model, variables, _ = built(name, num_frames=frames, key_frame=1, **fields)
    clips = random_clips(3, clips=2, frames=frames)
    outputs, captured = apply(
        model,
        variables,
        clips,
        train=False,
        capture_intermediates=lambda _, method: method == "__call__",
    )
    found = functools.reduce(lambda part, key: part[key], module, captured["intermediates"])
    features = found["__call__"][0]
    # A layer of M-STVH has no f_T, a block takes the actors of all frames as one list.
    features = features[1] if name == "mstvh" else features
    features = features.reshape(2, frames, actors, -1)
    params = variables["params"]
    for b in range(2):
        valid = np.flatnonzero(clips.actor_mask[b])
        x = clips.boxes[b, 1, :, [1, 3]].mean(axis=0)
        for place, n in enumerate(sorted(valid, key=lambda n: x[n])):
            mean = sum(features[b, t, place] for t in range(frames)) / frames
            normal = layer_norm(mean, params["action_norm"])
            scores = normal @ params["action"]["kernel"] + params["action"]["bias"]
            np.testing.assert_allclose(outputs.action_logits[b, n], scores, rtol=1e-4, atol=1e-4)


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
