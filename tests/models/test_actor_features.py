"""The visual module: chunks, frozen backbones, features from a cache, several maps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.config import get_config
from stvh_jax.errors import UserError
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.box_features import describe_motion
from stvh_jax.models.build import build_model
from stvh_jax.models.frame_features import RoiFeatures
from stvh_jax.models.roi_align import roi_align
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips
from tests.helpers.oracles import apply, model_config

pytestmark = pytest.mark.slow

SMALL = {"name": "small", "features": (4, 6)}


def roi_features(**fields):
    """Makes the module for clips of four frames."""
    base = {"num_frames": 4, "key_frame": 2, "roi_size": 3, "backbone": SMALL}
    return RoiFeatures(model_config(**{**base, **fields}))


def clips_of_frames(seed=0, *, clips=2, frames=4, actors=3):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (clips, frames, 24, 32, 3)).astype(np.uint8)
    made = random_clips(seed, clips=clips, frames=frames, actors=actors)
    return jax.tree.map(jnp.asarray, dataclasses.replace(made, frames=pixels))


def initialised(module, clips):
    initialise = jax.jit(lambda key: module.init(key, clips.frames, clips.boxes, train=False))
    return initialise(jax.random.key(0))


def features(module, variables, clips, *, train=False):
    return apply(module, variables, clips.frames, clips.boxes, train=train)


def gradient(module, variables, clips):
    def total(params):
        roi = module.apply({**variables, "params": params}, clips.frames, clips.boxes, train=True)
        return jnp.square(roi).mean()

    return jax.jit(jax.value_and_grad(total))(variables["params"])


@pytest.mark.parametrize("chunk", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_chunks_of_frames_change_neither_features_nor_gradients(chunk):
    clips = clips_of_frames()
    whole = roi_features()
    parts = roi_features(frames_per_chunk=chunk)
    variables = initialised(whole, clips)
    shapes = jax.eval_shape(
        lambda: parts.init(jax.random.key(0), clips.frames, clips.boxes, train=False)
    )
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)
    out = [features(module, variables, clips) for module in (whole, parts)]
    np.testing.assert_allclose(*out, atol=1e-5)
    (value, slope), (other, other_slope) = (
        gradient(module, variables, clips) for module in (whole, parts)
    )
    np.testing.assert_allclose(value, other, rtol=1e-5)
    for one, two in zip(jax.tree.leaves(slope), jax.tree.leaves(other_slope)):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_a_chunk_is_all_that_is_kept_for_the_backward_pass():
    clips = clips_of_frames()

    def kept(chunk):
        module = roi_features(frames_per_chunk=chunk)

        def pull_back(clips):
            variables = module.init(jax.random.key(0), clips.frames, clips.boxes, train=False)
            run = functools.partial(
                module.apply, frames=clips.frames, boxes=clips.boxes, train=True
            )
            return jax.vjp(run, variables)[1]

        leaves = jax.tree.leaves(jax.eval_shape(pull_back, clips))
        return sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    assert kept(1) < 0.5 * kept(0)


def test_a_frozen_backbone_has_no_gradient_and_half_precision():
    clips = clips_of_frames()
    free, frozen = roi_features(), roi_features(freeze_backbone=True)
    variables = initialised(free, clips)
    exact = features(free, variables, clips, train=True)
    rounded = features(frozen, variables, clips, train=True)
    np.testing.assert_array_equal(rounded, exact.astype(jnp.float16).astype(jnp.float32))
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient(frozen, variables, clips)[1]))


def test_maps_of_two_strides_are_joined_each_read_at_its_own():
    clips = clips_of_frames(clips=1, frames=1)
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 1, 75, 85, 3)), jnp.uint8)
    module = roi_features(backbone={"name": "inception_v3"})
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), frames, clips.boxes, train=False)
    )
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(-0.05, 0.1, leaf.shape).astype(np.float32) + (leaf.ndim == 1),
        shapes,
    )
    roi = jax.jit(lambda v: module.apply(v, frames, clips.boxes, train=False))(variables)
    assert roi.shape == (1, 1, 3, 3, 3, 288 + 768)

    pool = {name: part["pool"]["backbone"] for name, part in variables.items()}
    fine, coarse = jax.jit(
        lambda v: build_backbone("inception_v3").apply(v, frames[0], train=False)
    )(pool)
    for maps, part in ((fine, roi[..., :288]), (coarse, roi[..., 288:])):
        expected = roi_align(maps, jnp.asarray(clips.boxes[0]), size=3)
        np.testing.assert_allclose(part[0], expected, rtol=1e-4, atol=1e-4 * np.abs(maps).max())


def model_and_variables(clips, **fields):
    config = get_config().model
    config.update(
        {"features": 8, "bits": 8, "layers": 1, "num_frames": 4, "num_actors": 3, "key_frame": 2}
    )
    config.update({"backbone": SMALL, "roi_size": 3, "freeze_backbone": True, **fields})
    model = build_model(config, activity_names=ACTIVITIES, action_names=ACTIONS)
    variables = jax.jit(lambda: model.init(jax.random.key(0), clips, train=False))()
    return model, variables


@pytest.mark.parametrize("name", ["mstvh", "frame_classifier"])
def test_a_model_is_the_same_from_frames_and_from_their_features(name):
    clips = clips_of_frames(3)
    model, variables = model_and_variables(clips, name=name, roi_channels=5)
    frames_alone = {c: part["visual"]["roi"] for c, part in variables.items() if "visual" in part}
    boxes = jnp.where(clips.actor_mask[:, None, :, None], clips.boxes, 0)
    frozen = roi_features(freeze_backbone=True)
    roi = features(frozen, frames_alone, dataclasses.replace(clips, boxes=boxes))
    kept = dataclasses.replace(clips, frames=None, roi_features=roi.astype(jnp.float16))
    apply = jax.jit(lambda clips: model.apply(variables, clips, train=False))
    for one, other in zip(jax.tree.leaves(apply(clips)), jax.tree.leaves(apply(kept))):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_frame_classifier_ignores_padding_and_order():
    clips = clips_of_frames(4)
    clips = dataclasses.replace(clips, actor_mask=jnp.array([[True, True, False]] * 2))
    model, variables = model_and_variables(clips, name="frame_classifier")
    apply = jax.jit(lambda clips: model.apply(variables, clips, train=False))
    outputs = apply(clips)
    assert model.foci == ()
    assert outputs.relaxed is None
    assert outputs.activity_logits.shape == (1, 2, len(ACTIVITIES))
    assert outputs.action_logits.shape == (2, 3, len(ACTIONS))
    other = clips.boxes.at[:, :, 2].set(jnp.nan)
    swapped = clips.boxes[:, :, [1, 0, 2]]
    for boxes, order in ((other, [0, 1]), (swapped, [1, 0])):
        again = apply(dataclasses.replace(clips, boxes=boxes))
        np.testing.assert_allclose(again.activity_logits, outputs.activity_logits, atol=1e-5)
        np.testing.assert_allclose(
            again.action_logits[:, order], outputs.action_logits[:, :2], atol=1e-5
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frames_per_chunk": 3}, "frames_per_chunk is 3 and a clip has 4 frames; use a divisor"),
        (
            {
                "frames_per_chunk": 2,
                "freeze_backbone": False,
                "backbone": {"name": "inception_v3", "batch_norm": "trained"},
            },
            "batch_norm=trained needs the statistics of all frames",
        ),
        ({"roi_border": "none"}, "roi_border is 'none'; choose one of clamp, zero"),
        ({"source": "boxes"}, "source=boxes has no backbone to freeze"),
        (
            {"name": "frame_classifier", "source": "boxes", "freeze_backbone": False},
            "source=boxes has no frames to read",
        ),
    ],
)
def test_a_wrong_field_is_one_clear_line(fields, message):
    with pytest.raises(UserError, match=message):
        model_and_variables(None, **fields)


def test_motion_is_in_tenths_of_the_actors_own_size():
    # Two actors, three frames: the first steps right by half its width, both climb with the camera.
    start = np.array([[0.1, 0.1, 0.5, 0.2], [0.3, 0.6, 0.5, 0.8]])
    step = np.array([[0.02, 0.05, 0.02, 0.05], [0.01, 0.0, 0.01, 0.0]])
    boxes = np.stack([start + t * step for t in range(3)])[None]
    padded = np.concatenate([boxes, np.full((1, 3, 1, 4), np.nan)], axis=2).astype(np.float32)
    motion = np.asarray(describe_motion(jnp.array(padded), jnp.array([[True, True, False]])))
    assert motion.shape == (1, 3, 3, 8)
    # Heights 0.4 and 0.2: both climb by a twentieth of their heights a frame.
    expected = np.zeros((3, 2, 4))
    expected[..., 0] = np.array([-0.5, 0.0, 0.5])[:, None]
    expected[:, 0, 1] = [-5.0, 0.0, 5.0]
    np.testing.assert_allclose(motion[0, :, :2, :4], expected, atol=1e-4)
    relative = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(motion[0, :, :2, 4:], relative, atol=1e-4)
    np.testing.assert_array_equal(motion[0, :, 2], 0)
