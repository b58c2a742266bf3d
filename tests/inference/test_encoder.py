"""The encoder: the same codes as the evaluation, whatever way a clip is given."""

import json
import re

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import stvh_jax
from configs import demo
from stvh_jax.codes.packing import binarize, pack
from stvh_jax.errors import UserError
from stvh_jax.inference.encoded_clips import encode_clips
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models.build import build_model
from stvh_jax.models.shapes import example_clips
from tests.helpers.fakes import ACTIONS, ACTIVITIES, FakeDataset


@pytest.fixture(scope="module")
def encoder(trained):
    return stvh_jax.load(trained(), checkpoint="latest")


@pytest.fixture(scope="module")
def clips():
    return FakeDataset().clips["test"]


@pytest.fixture(scope="module")
def encoding(encoder, clips):
    return encoder.encode(None, clips.boxes, clips.actor_mask)


def test_codes_are_those_of_the_evaluation(encoder, clips, encoding):
    batches = FakeDataset().evaluation_batches("test", batch_size=8)
    evaluated = encode_clips(encoder, batches)
    assert sorted(encoding.codes) == sorted(evaluated.codes) == [0, 1]
    for focus, codes in encoding.codes.items():
        assert codes.shape == (23, 2)
        assert len(np.unique(codes, axis=0)) > 2
        np.testing.assert_array_equal(codes, evaluated.codes[focus])
    softmax = np.exp(evaluated.activity_scores)
    softmax /= softmax.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(encoding.activity_probabilities, softmax, rtol=1e-5)


def test_fewer_actors_in_another_order_give_the_same_code(encoder, clips, encoding):
    for index in range(6):
        places = np.flatnonzero(clips.actor_mask[index])
        places = np.random.default_rng(index).permutation(places)
        alone = encoder.encode(None, clips.boxes[index][:, places])
        for focus, codes in encoding.codes.items():
            np.testing.assert_array_equal(alone.codes[focus], codes[index : index + 1])
        assert alone.action_probabilities.shape == (1, len(places), 3)
        np.testing.assert_allclose(
            alone.action_probabilities[0], encoding.action_probabilities[index, places], rtol=1e-5
        )


def test_what_is_shown(encoder, encoding):
    foci = ", ".join(map(str, encoder.foci))
    assert repr(encoding) == (
        f"Encoding({len(encoding.codes[0])} clips, codes of {encoder.bits} bits, foci {foci})"
    )
    assert repr(encoder).startswith(f"Encoder({encoder.config.model.name}, latest checkpoint of ")


def test_one_clip_is_a_batch_of_one(encoder, clips, encoding):
    for index in (0, 7):
        single = encoder.encode(None, clips.boxes[index], clips.actor_mask[index])
        for focus, codes in encoding.codes.items():
            np.testing.assert_array_equal(single.codes[focus], codes[index : index + 1])


def untrained_encoder(source):
    """Makes an encoder with a config read back from JSON, as from a checkpoint."""
    config = demo.get_config()
    config.model.update({"source": source, "objective": "printed"})
    config.data.image_size = (24, 40)
    config.model.update({"num_frames": 2, "key_frame": 1, "num_actors": 3, "features": 8})
    config.model.update({"bits": 8, "layers": 1})
    config.model.backbone = ConfigDict({"name": "small", "features": (4,), "strides": (4,)})
    described = json.loads(config.to_json_best_effort())
    described |= {"activity_names": ACTIVITIES, "action_names": ACTIONS}
    config = ConfigDict(described)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    variables = jax.jit(lambda key: model.init(key, example_clips(config), train=False))(
        jax.random.key(0)
    )
    return Encoder(config, variables, step=0, checkpoint="latest")


@pytest.fixture(scope="module")
def frame_encoder():
    return untrained_encoder("frames")


@pytest.fixture(scope="module")
def feature_encoder():
    return untrained_encoder("features")


@pytest.fixture(scope="module")
def appearance_encoder():
    return untrained_encoder("boxes_and_appearance")


def draw_frames(*shape):
    """Draws smooth frames with an edge, as pictures are."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    waves = np.sin(random.uniform(0.05, 0.5, (*shape[:-2], 3, 1, 1)) * (x + y / 2)) * 90 + 120
    frames = np.moveaxis(waves, -3, -1)
    frames[..., shape[-1] // 3 :, 0] += 40
    return np.clip(frames + random.normal(0, 10, frames.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(53, 71), (48, 80), (17, 90), (11, 13)])
def test_frames_are_resized_as_the_pipeline_does(size, frame_encoder):
    import tensorflow as tf

    frames = draw_frames(1, 2, *size)
    actual = np.asarray(frame_encoder._resize(frames))
    assert actual.dtype == np.uint8
    resized = tf.image.resize(frames[0], (24, 40), antialias=True)
    expected = tf.cast(tf.round(resized), tf.uint8).numpy()
    difference = np.abs(actual[0].astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_frames_of_another_size_are_encoded(frame_encoder):
    boxes = np.random.default_rng(0).uniform(0, 0.5, (2, 3, 4)).astype(np.float32)
    boxes[..., 2:] += 0.5
    small = draw_frames(2, 24, 40)
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    expected, actual = (frame_encoder.encode(frames, boxes) for frames in (small, large))
    assert expected.codes[1].shape == (1, 1)
    np.testing.assert_allclose(
        actual.activity_probabilities, expected.activity_probabilities, rtol=0.2
    )


def test_given_features_take_the_place_of_frames(feature_encoder):
    random = np.random.default_rng(0)
    boxes = np.sort(random.uniform(0, 1, (5, 2, 2, 4)).astype(np.float32), axis=-1)
    features = random.normal(size=(5, 2, 2, 8)).astype(np.float32)
    encoding = feature_encoder.encode(None, boxes, actor_features=features)
    clips = feature_encoder._clips(boxes=boxes, actor_features=features)
    assert clips.actor_features.shape == (5, 2, 3, 8)
    np.testing.assert_array_equal(clips.actor_mask, [[True, True, False]] * 5)
    outputs = jax.device_get(feature_encoder.apply(feature_encoder.variables, clips))
    np.testing.assert_array_equal(encoding.codes[1], pack(binarize(outputs.relaxed[1])))


def float_boxes(*shape):
    return np.full(shape, 0.5, np.float32)


MISTAKES = [
    ((None, float_boxes(4)), "boxes have shape (4,); give [T, N, 4] or [B, T, N, 4]"),
    ((None, float_boxes(2, 3)), "boxes have shape (2, 3); give"),
    ((None, float_boxes(3, 3, 4)), "boxes is float32 (1, 3, 3, 4); this model takes floating [1, "),
    ((None, float_boxes(2, 3, 5)), "boxes is float32 (1, 2, 3, 5);"),
    ((None, np.zeros((2, 3, 4), int)), "boxes is int64 (1, 2, 3, 4);"),
    ((None, float_boxes(2, 3, 4)), "this model reads frames; give uint8 pixels"),
    ((np.zeros((2, 8, 8, 3), np.uint8), float_boxes(2, 4, 4)), "a clip has 4 actors; this model"),
    ((np.zeros((2, 8, 8, 3)), float_boxes(2, 3, 4)), "frames is float64 (1, 2, 8, 8, 3); this mod"),
    ((np.zeros((3, 8, 8, 3), np.uint8), float_boxes(2, 3, 4)), "frames is uint8 (1, 3, 8, 8, 3);"),
    ((np.zeros((8, 8, 3), np.uint8), float_boxes(2, 3, 4)), "frames is uint8 (1, 8, 8, 3);"),
    ((None, float_boxes(2, 3, 4), np.ones(2, bool)), "actor_mask is bool (1, 2); this model takes"),
    ((None, float_boxes(2, 3, 4), np.ones(3)), "actor_mask is float64 (1, 3);"),
    ((None, None), "there are no boxes; give [T, N, 4]"),
    ((None, "boxes"), "boxes have shape (); give"),
    ((None, [[[1, 2], [3]], [4]]), "boxes is not one array of numbers"),
    ((None, float_boxes(2, 3, 4).astype(object)), "boxes is object (1, 2, 3, 4);"),
    ((None, float_boxes(2, 3, 4), [[True], [True, False]]), "actor_mask is not one array"),
    ((None, float_boxes(0, 2, 3, 4)), "boxes have shape (0, 2, 3, 4), which is no clip; give one"),
    ((np.zeros((2, 0, 8, 3), np.uint8), float_boxes(2, 3, 4)), "frames have no pixels: their sha"),
    ((np.zeros((2, 8, 8, 4), np.uint8), float_boxes(2, 3, 4)), "frames is uint8 (1, 2, 8, 8, 4);"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_what_does_not_fit_is_said(given, message, frame_encoder, unchecked_shapes):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        frame_encoder.encode(*given)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 20, 30, 40], "[10, 20, 30, 40] is far beyond the frame; give boxes in 0..1 of it"),
        ([0.1, 0.1, 0.2, 1.6], "[0.1, 0.1, 0.2, 1.6] is far beyond the frame"),
        ([0.5, 0.1, 0.4, 0.2], "[0.5, 0.1, 0.4, 0.2] is inverted; give y_min, x_min, y_max, x_ma"),
        ([0.1, 0.5, 0.2, 0.4], "[0.1, 0.5, 0.2, 0.4] is inverted"),
        ([np.nan, 0.1, 0.4, 0.2], "[nan, 0.1, 0.4, 0.2] is not finite"),
        ([0.1, 0.1, np.inf, 0.2], "[0.1, 0.1, inf, 0.2] is not finite"),
        ([0.1, 0.1, 1e300, 0.2], "[0.1, 0.1, 1e+300, 0.2] is far beyond the frame"),
    ],
)
def test_a_box_that_cannot_be_a_persons_is_said(box, reason, encoder, unchecked_shapes):
    boxes = np.full((3, 1, 4, 4), [0.1, 0.2, 0.3, 0.4])
    expected = encoder.encode(None, boxes[:, :, :3])
    boxes[1, 0, 3] = box
    message = f"boxes of clip 1, frame 0, person 3 (counted from 0): {reason}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        encoder.encode(None, boxes)
    # Of nobody it may be anything.
    masked = encoder.encode(None, boxes, np.tile([True, True, True, False], (3, 1)))
    np.testing.assert_array_equal(masked.codes[1], expected.codes[1])


def test_people_may_leave_the_frame_by_a_part_of_it(encoder):
    boxes = np.full((1, 2, 4), [-0.4, 0.2, 1.4, 0.2], np.float32)
    assert np.isfinite(encoder.encode(None, boxes).activity_probabilities).all()


def test_a_clip_with_nobody_is_said(encoder, clips):
    mask = clips.actor_mask.copy()
    mask[5] = False
    with pytest.raises(UserError, match=r"^clip 5 \(counted from 0\) has nobody; leave it out$"):
        encoder.encode(None, clips.boxes, mask)


def test_features_that_are_not_finite_are_said(feature_encoder):
    boxes, features = float_boxes(2, 3, 4), np.ones((2, 3, 8))
    mask = np.array([True, True, False])
    expected = feature_encoder.encode(None, boxes, mask, actor_features=features)
    features[1, 2, 5] = np.nan
    padded = feature_encoder.encode(None, boxes, mask, actor_features=features)
    np.testing.assert_array_equal(padded.codes[1], expected.codes[1])
    for value in (np.nan, np.inf, 1e300):
        features[1, 1, 5] = value
        with pytest.raises(UserError, match="^actor_features of clip 0, frame 1, person 1"):
            feature_encoder.encode(None, boxes, mask, actor_features=features)


def test_codes_of_numbers_that_overflow_are_refused(feature_encoder):
    features = np.full((2, 3, 8), 3e38, np.float32)
    with pytest.raises(UserError, match=r"^clip 0 \(counted from 0\) has no codes: the model mak"):
        feature_encoder.encode(None, float_boxes(2, 3, 4), actor_features=features)


def test_features_of_another_size_are_said(feature_encoder, unchecked_shapes):
    features = np.zeros((2, 3, 9), np.float32)
    with pytest.raises(UserError, match=r"^actor_features is float32 \(1, 2, 3, 9\); .*, 8\] besi"):
        feature_encoder.encode(None, float_boxes(2, 3, 4), actor_features=features)


def test_what_the_model_reads_is_said(frame_encoder, feature_encoder):
    boxes, features = float_boxes(2, 3, 4), float_boxes(2, 3, 8)
    frames = np.zeros((2, 24, 40, 3), np.uint8)
    with pytest.raises(UserError, match="^this model takes actor_features; give them"):
        feature_encoder.encode(frames, boxes)
    with pytest.raises(UserError, match="^this model takes frames"):
        frame_encoder.encode(frames, boxes, actor_features=features)


def test_appearance_is_given_beside_the_boxes(appearance_encoder):
    boxes = float_boxes(2, 2, 3, 4)
    appearance = np.random.default_rng(0).normal(size=(2, 4, 2048))
    encoding = appearance_encoder.encode(None, boxes, appearance=appearance)
    assert (encoding.codes[0][0] != encoding.codes[0][1]).any()
    np.testing.assert_array_equal(encoding.codes[1][0], encoding.codes[1][1])
    # The frames may be pooled before, and a clip may come alone.
    pooled = appearance.mean(axis=1, keepdims=True)
    alone = appearance_encoder.encode(None, boxes[1], appearance=pooled[1])
    np.testing.assert_array_equal(alone.codes[0][0], encoding.codes[0][1])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("appearance", "message"),
    [
        (None, "this model takes appearance; give features of the whole frames, see config.model"),
        (np.zeros((1, 2047)), "appearance is float64 (1, 1, 2047); this model takes floating [1, "),
        (np.zeros(2048), "appearance is float64 (1, 2048); this model takes floating [1, S, 2048]"),
        (np.zeros((1, 2048), int), "appearance is int64 (1, 1, 2048); this model takes floating"),
        (np.zeros((0, 2048)), "appearance has no frames: its shape is (1, 0, 2048)"),
        (np.full((1, 2048), np.nan), "the appearance of clip 0 (counted from 0) is not finite"),
        (np.full((1, 2048), 1e300), "the appearance of clip 0 (counted from 0) is not finite"),
        ("grey", "appearance is <U4 (1,); this model takes floating"),
    ],
)
def test_appearance_that_does_not_fit_is_said(appearance_encoder, appearance, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        appearance_encoder.encode(None, float_boxes(2, 3, 4), appearance=appearance)


def test_appearance_for_a_model_that_does_not_read_it_is_said(encoder):
    with pytest.raises(UserError, match="^this model takes boxes, see config.model.source$"):
        encoder.encode(None, float_boxes(1, 3, 4), appearance=np.zeros((1, 2048)))


def test_a_model_of_boxes_needs_no_frames(encoder):
    with_frames = encoder.encode(np.zeros((1, 8, 8, 3), np.uint8), float_boxes(1, 2, 4))
    without = encoder.encode(None, float_boxes(1, 2, 4))
    np.testing.assert_array_equal(with_frames.codes[1], without.codes[1])
