"""A symmetric model: what it says of a mirrored clip is the mirror image of what it says of it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.mirror import mirror_boxes, mirror_classes
from stvh_jax.models import build
from stvh_jax.models.build import build_model
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config

IMAGE = mirror_classes(ACTIVITIES)


def encode(model, variables, clips):
    return jax.jit(functools.partial(build.encode, model))(variables, clips)


def built(**fields):
    config = small_config(**{"symmetric": True, "bits": 32, **fields}).model
    model = build_model(config, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = jax.tree.map(jnp.asarray, random_clips(1, clips=6))
    initialise = jax.jit(lambda key: model.init({"params": key}, clips, train=False))
    variables = initialise(jax.random.key(0))
    return model, variables, clips


def mirrored(clips):
    boxes = jnp.where(clips.actor_mask[:, None, :, None], mirror_boxes(clips.boxes), 0)
    return dataclasses.replace(clips, boxes=boxes)


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
def test_a_mirrored_clip_has_mirrored_scores_and_the_halves_of_its_code_swapped(name):
    model, variables, clips = built(name=name)
    one = jax.device_get(encode(model, variables, clips))
    other = jax.device_get(encode(model, variables, mirrored(clips)))
    close = {"rtol": 1e-4, "atol": 1e-4}
    assert one.activity_logits.std(axis=-1).min() > 0.01
    np.testing.assert_allclose(other.activity_logits, one.activity_logits[..., IMAGE], **close)
    np.testing.assert_allclose(other.relaxed[..., ::2], one.relaxed[..., 1::2], **close)
    np.testing.assert_allclose(other.relaxed[..., 1::2], one.relaxed[..., ::2], **close)
    np.testing.assert_allclose(other.relation[..., ::2], one.relation[..., 1::2], **close)
    mask = np.asarray(clips.actor_mask)
    np.testing.assert_allclose(other.action_logits[mask], one.action_logits[mask], **close)
    error, image = other.reconstruction_error, one.reconstruction_error
    np.testing.assert_allclose(error, image, **close)


def test_the_halves_are_those_of_one_network_read_twice():
    model, variables, clips = built(name="mstvh")
    half = build_model(
        small_config(bits=16, name="mstvh").model, activity_names=ACTIVITIES, action_names=ACTIONS
    )
    inner = {name: tree["half"] for name, tree in variables.items()}
    whole = encode(model, variables, clips)
    one, other = encode(half, inner, clips), encode(half, inner, mirrored(clips))
    np.testing.assert_allclose(whole.relaxed[..., ::2], one.relaxed, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole.relaxed[..., 1::2], other.relaxed, rtol=1e-4, atol=1e-5)
    scores = one.activity_logits + other.activity_logits[..., IMAGE]
    np.testing.assert_allclose(whole.activity_logits, scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [16, 32])
def test_the_classifier_reads_the_whole_code_and_the_first_bits_of_nested_ones(length):
    model, variables, clips = built(name="stvh", bits=(16, 32))
    outputs = jax.device_get(encode(model, variables, clips).prefix(length))
    kernel, bias = jax.device_get(model.classifier(variables["params"], length))
    assert kernel.shape == (length, len(ACTIVITIES))
    scores = outputs.relaxed[-1] @ kernel + bias
    np.testing.assert_allclose(scores, outputs.activity_logits[-1], rtol=1e-4, atol=1e-4)


def test_what_cannot_be_symmetric_is_said():
    with pytest.raises(UserError, match="^config.model.symmetric mirrors boxes alone; set it to"):
        built(source="features")
    with pytest.raises(UserError, match="^config.model.bits is 24; .*: use multiples of 16$"):
        built(bits=24)
    config = small_config(symmetric=True, bits=32).model
    with pytest.raises(UserError, match="have one on the left .* name both, or set it to False$"):
        build_model(config, activity_names=("l_set", "r_spike"), action_names=ACTIONS)
