"""Models of boxes with the appearance of whole frames: focus 0 shows it, and nothing else does."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import make_encode_step
from stvh_jax.mirror import mirror_classes
from stvh_jax.models.build import build_model
from stvh_jax.models.shapes import example_clips, variable_shapes
from stvh_jax.training.trainer import train
from tests.helpers.fakes import (
    ACTIONS,
    ACTIVITIES,
    FakeDataset,
    mirror,
    random_clips,
    small_config,
    tiny_config,
)
from tests.helpers.oracles import apply, drawn

CHANNELS, BITS = 7, 32
FIELDS = {"source": "boxes_and_appearance", "appearance_channels": CHANNELS, "bits": BITS}
FORMS = pytest.mark.parametrize("symmetric", [False, True], ids=["plain", "symmetric"])


def clips_of(seed, *, frames=3):
    return random_clips(seed, clips=5, appearance=(frames, CHANNELS))


@functools.cache
def built(**fields):
    """Builds a model with random variables, and compiles it."""
    config = small_config(**{"name": "mstvh", **FIELDS, **fields})
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    variables = drawn(model, clips_of(0), train=False)
    step = jax.jit(make_encode_step(model))
    return model, variables, lambda clips: jax.device_get(step(variables, clips))


def other_boxes(clips):
    return dataclasses.replace(clips, boxes=random_clips(9, clips=5).boxes)


def other_appearance(clips):
    return dataclasses.replace(clips, appearance=clips_of(9).appearance)


@FORMS
def test_focus_0_projects_the_mean_appearance_and_is_made_of_nothing_else(symmetric):
    model, variables, encode = built(symmetric=symmetric)
    clips = clips_of(1)
    codes = encode(clips).relaxed
    assert (model.foci, codes.shape) == ((0, 1, 2), (3, 5, BITS))
    statistics = variables["batch_stats"]["head_0"]["standardise"]
    kernel = variables["projection"]["head_0"]["kernel"]
    assert kernel.shape == (CHANNELS, BITS)
    for b in range(5):
        pooled = sum(clips.appearance[b, s].astype(np.float64) for s in range(3)) / 3
        standardised = (pooled - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5)
        np.testing.assert_allclose(codes[0, b], np.tanh(standardised @ kernel), atol=1e-5)
    np.testing.assert_array_equal(encode(other_boxes(clips)).relaxed[0], codes[0])
    assert (encode(other_appearance(clips)).relaxed[0] != codes[0]).mean() > 0.9


@FORMS
def test_the_layers_do_not_see_the_appearance(symmetric):
    _, _, encode = built(symmetric=symmetric)
    clips = clips_of(1)
    one, other = encode(clips), encode(other_appearance(clips))
    np.testing.assert_array_equal(one.relaxed[1:], other.relaxed[1:])
    for name in ("activity_logits", "action_logits", "relation", "reconstruction_error"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (encode(other_boxes(clips)).relaxed[1:] != one.relaxed[1:]).mean() > 0.9


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@FORMS
def test_the_layers_are_those_of_a_model_of_boxes(name, symmetric):
    model, variables, encode = built(name=name, symmetric=symmetric)
    clips = clips_of(2)
    boxes = build_model(
        small_config(name=name, bits=BITS, symmetric=symmetric).model,
        activity_names=ACTIVITIES,
        action_names=ACTIONS,
    )
    # Of its own it has only the code of focus 0.
    made = drawn(boxes, clips, train=False) | {"params": variables["params"]}
    found, expected = encode(clips), apply(boxes, made, clips, train=False)
    first = 1 if name == "mstvh" else 0
    np.testing.assert_allclose(found.relaxed[first:], expected.relaxed[first:], atol=1e-6)
    np.testing.assert_allclose(found.activity_logits, expected.activity_logits, atol=1e-5)
    np.testing.assert_allclose(found.reconstruction_error, expected.reconstruction_error, rtol=1e-5)


@FORMS
def test_neither_padding_nor_the_order_of_actors_changes_a_code(symmetric):
    _, _, encode = built(symmetric=symmetric)
    clips = clips_of(3)
    before = encode(clips)
    boxes = np.where(clips.actor_mask[:, None, :, None], clips.boxes, np.nan)
    padded = encode(dataclasses.replace(clips, boxes=boxes))
    np.testing.assert_array_equal(padded.relaxed, before.relaxed)
    order = np.random.default_rng(0).permutation(5)
    shuffled = dataclasses.replace(
        clips, boxes=clips.boxes[:, :, order], actor_mask=clips.actor_mask[:, order]
    )
    np.testing.assert_allclose(encode(shuffled).relaxed, before.relaxed, atol=1e-6)


def test_the_bits_of_focus_0_are_all_different_in_a_symmetric_model():
    _, _, encode = built(symmetric=True)
    clips = random_clips(4, clips=40, appearance=(1, CHANNELS))
    codes = encode(clips).relaxed[0]
    same = np.abs(np.corrcoef(codes.T)) > 0.9999
    np.testing.assert_array_equal(same, np.eye(BITS, dtype=bool))


def test_a_mirrored_clip_looks_the_same_and_does_the_mirrored():
    _, _, encode = built(symmetric=True)
    clips = clips_of(5)
    one, other = encode(clips), encode(mirror(clips, np.ones(5, bool)))
    np.testing.assert_array_equal(other.relaxed[0], one.relaxed[0])
    np.testing.assert_allclose(other.relaxed[1:, :, ::2], one.relaxed[1:, :, 1::2], atol=1e-4)
    image = mirror_classes(ACTIVITIES)
    np.testing.assert_allclose(other.activity_logits, one.activity_logits[..., image], atol=1e-4)


@FORMS
def test_nested_codes_of_focus_0_are_its_first_bits(symmetric):
    _, _, encode = built(symmetric=symmetric, bits=(16, 32))
    outputs = encode(clips_of(6))
    assert outputs.relaxed.shape == (3, 5, 32)
    assert outputs.prefix(16).activity_logits.shape == (2, 5, 4)
    np.testing.assert_array_equal(outputs.prefix(16).relaxed, outputs.relaxed[..., :16])


@FORMS
def test_any_number_of_frames_fits_the_shapes_of_the_config(symmetric):
    config = small_config(name="mstvh", symmetric=symmetric, **FIELDS)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    assert example_clips(config).appearance.shape == (1, 1, CHANNELS)
    shapes = variable_shapes(model, config)
    for frames in (1, 9):
        drawn_shapes = jax.tree.map(np.shape, drawn(model, clips_of(0, frames=frames), train=False))
        assert drawn_shapes == jax.tree.map(lambda leaf: leaf.shape, shapes)


def test_running_statistics_follow_the_appearance():
    model, variables, _ = built()
    clips = clips_of(7)
    dropout = {"dropout": jax.random.key(0)}
    _, changed = apply(model, variables, clips, train=True, mutable=["batch_stats"], rngs=dropout)
    before = variables["batch_stats"]["head_0"]["standardise"]["mean"]
    mean = clips.appearance.astype(np.float32).mean(axis=(0, 1))
    found = changed["batch_stats"]["head_0"]["standardise"]["mean"]
    np.testing.assert_allclose(found, 0.99 * before + 0.01 * mean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@FORMS
def test_clips_without_appearance_are_refused(name, symmetric):
    model, variables, _ = built(name=name, symmetric=symmetric)
    with pytest.raises(UserError, match="^config.model.source=boxes_and_appearance needs clips "):
        apply(model, variables, random_clips(0, clips=2), train=False)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("shape", [(2, 3, 8), (2, CHANNELS)])
def test_appearance_of_another_shape_is_refused(shape):
    model, variables, _ = built()
    clips = dataclasses.replace(random_clips(0, clips=2), appearance=np.zeros(shape, np.float16))
    message = r"^the appearance of the clips is \[2, .*channels=7 needs \[clips, frames, 7\]"
    with pytest.raises(UserError, match=message):
        apply(model, variables, clips, train=False)


def test_focus_0_cannot_show_the_boxes_as_well():
    with pytest.raises(UserError, match="^config.model.visual_code=f_v shows the boxes at focus"):
        built(visual_code="f_v")


class SeenDataset(FakeDataset):
    """Clips with appearance, as prepared ones say it."""

    def __init__(self, channels=CHANNELS, **options):
        super().__init__(appearance=channels and (2, channels), **options)
        self.appearance_channels = channels


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (None, "config.model.source=boxes_and_appearance needs clips with appearance; config.data"),
        (8, "config.model.appearance_channels is 7, but the appearance of these clips has 8; set"),
    ],
)
def test_what_the_data_lack_is_said_before_training(tmp_path, channels, message):
    config = small_config(**FIELDS)
    with pytest.raises(UserError, match=f"^{message}"):
        train(config, SeenDataset(channels), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_model_is_trained_with_everything_random_switched_on(tmp_path):
    config = tiny_config()
    config.model.update({**FIELDS, "bits": 16})
    config.data.variant = "boxes_and_appearance"
    train(config, SeenDataset(), tmp_path)
    assert (tmp_path / "finished.json").exists()
