"""A graded code: what the model gives before the visual end is fitted, and beside it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.mirror import mirror_boxes
from stvh_jax.models import build
from stvh_jax.models.build import build_model
from stvh_jax.models.visual_end import COLLECTION, MODULE
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config
from tests.helpers.oracles import model_config

GRADED = {"objective": "graded", "bits": 32, "visual_bits": 16}


def encode(model, variables, clips):
    return jax.device_get(jax.jit(lambda *given: build.encode(model, *given))(variables, clips))


def initialised(model, clips):
    return jax.jit(lambda key: model.init({"params": key}, clips, train=False))(jax.random.key(0))


def built(appearance=None, **fields):
    """A graded model of boxes with random maps, its variables, and clips."""
    config = small_config(**{**GRADED, **fields}).model
    model = build_model(config, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = jax.tree.map(jnp.asarray, random_clips(1, clips=6, appearance=appearance))
    variables = dict(initialised(model, clips))
    maps = variables[COLLECTION][MODULE]
    keys = jax.random.split(jax.random.key(1), len(maps))
    drawn = {name: jax.random.normal(key, maps[name].shape) for name, key in zip(maps, keys)}
    variables[COLLECTION] = {**variables[COLLECTION], MODULE: drawn}
    return model, variables, clips


@pytest.mark.parametrize(
    ("name", "symmetric"),
    [
        ("stvh", False),
        ("mstvh", True),
        pytest.param("stvh", True, marks=pytest.mark.soak),
        pytest.param("mstvh", False, marks=pytest.mark.soak),
    ],
)
def test_the_codes_by_focus_are_those_of_the_activity_alone(name, symmetric):
    model, variables, clips = built(name=name, symmetric=symmetric)
    outputs = encode(model, variables, clips)
    assert model.foci == ((2,) if name == "stvh" else (1, 2))
    assert outputs.relaxed.shape == (len(model.foci), 6, 16)
    assert outputs.visual.shape == (6, 16)
    printed = build_model(
        small_config(bits=16, name=name, symmetric=symmetric).model,
        activity_names=ACTIVITIES,
        action_names=ACTIONS,
    )
    kept = {"params": variables["params"]}
    if name == "mstvh":  # the code of focus 0 has variables of its own
        first = initialised(printed, clips)
        kept = {**first, "params": {**first["params"], **variables["params"]}}
    expected = encode(printed, kept, clips)
    np.testing.assert_array_equal(outputs.relaxed, expected.relaxed[-len(model.foci) :])
    np.testing.assert_array_equal(outputs.activity_logits, expected.activity_logits)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_visual_bits_are_a_linear_map_of_what_the_clip_shows(symmetric):
    model, variables, clips = built(symmetric=symmetric)
    outputs = encode(model, variables, clips)
    maps = jax.device_get(variables[COLLECTION][MODULE])
    embedded = (outputs.shown.mean(axis=1) - maps["mean"]) @ maps["whitening"]
    np.testing.assert_allclose(outputs.embedded, embedded, rtol=1e-4, atol=1e-4)
    visual = embedded @ maps["projection"] + maps["offset"]
    np.testing.assert_allclose(outputs.visual, visual, rtol=1e-3, atol=1e-3)


def test_what_a_clip_shows_is_the_mean_over_its_people_in_each_frame():
    model, variables, clips = built()
    shown = np.asarray(encode(model, variables, clips).shown)
    assert shown.shape[:2] == (6, 1)
    for place, mask in enumerate(np.asarray(clips.actor_mask)):
        boxes = np.asarray(clips.boxes)[place, 0, mask]
        centre = (boxes[:, 0] + boxes[:, 2]) / 2
        assert shown[place, 0, 0] == pytest.approx(centre.mean(), rel=1e-5)


@pytest.mark.parametrize("symmetric", [pytest.param(False, marks=pytest.mark.soak), True])
def test_appearance_is_what_a_clip_shows_where_it_has_some(symmetric):
    model, variables, clips = built(
        appearance=(3, 7), source="boxes_and_appearance", appearance_channels=7, symmetric=symmetric
    )
    outputs = encode(model, variables, clips)
    np.testing.assert_array_equal(outputs.shown, clips.appearance)
    assert outputs.embedded.shape == (6, 7)
    boxes = jnp.where(clips.actor_mask[:, None, :, None], mirror_boxes(clips.boxes), 0)
    image = encode(model, variables, dataclasses.replace(clips, boxes=boxes))
    np.testing.assert_array_equal(outputs.visual, image.visual)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"visual_bits": 12}, "config.model.visual_bits is 12 of 32; give a multiple of 8"),
        ({"visual_bits": 32}, "config.model.visual_bits is 32 of 32; give a multiple of 8"),
        ({"bits": (16, 32)}, "a graded code has one length"),
        ({"name": "global_hash", "source": "frames"}, "config.model.objective=graded is not for"),
        ({"symmetric": True, "visual_bits": 8}, "or of those that are not visual"),
    ],
)
def test_a_graded_code_that_cannot_be_is_one_line(fields, words):
    with pytest.raises(UserError, match=words):
        model_config(**{**GRADED, "source": "boxes", **fields})
