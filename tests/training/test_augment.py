"""What augmentation does to boxes, and what it leaves."""

import jax
import jax.numpy as jnp
import numpy as np

from stvh_jax.training.augment import Augmentation, leave_out, shake_boxes, shake_camera
from stvh_jax.unknown import UNKNOWN
from tests.helpers.fakes import random_clips

KEY = jax.random.key(3)
CLIPS = random_clips(0, clips=200, frames=2)
BOXES, MASK = jnp.asarray(CLIPS.boxes), jnp.asarray(CLIPS.actor_mask)


def test_nothing_is_done_where_nothing_is_asked_for():
    augmented = Augmentation()(KEY, jax.tree.map(jnp.asarray, CLIPS))
    for name in ("boxes", "actor_mask", "action"):
        np.testing.assert_array_equal(getattr(augmented, name), getattr(CLIPS, name))


def test_a_camera_moves_all_boxes_of_a_clip_alike():
    shaken = np.asarray(shake_camera(KEY, BOXES, MASK, strength=0.1))
    for before, after, mask in zip(CLIPS.boxes, shaken, CLIPS.actor_mask):
        size = before[:, mask, 2:] - before[:, mask, :2]
        zoom = (after[:, mask, 2:] - after[:, mask, :2]) / size
        np.testing.assert_allclose(zoom, zoom.flat[0], rtol=1e-3)
        assert not after[:, ~mask].any()


def test_noise_moves_the_sides_of_each_box_by_a_share_of_its_height():
    shaken = np.asarray(shake_boxes(KEY, BOXES, MASK, strength=0.05))
    height = (CLIPS.boxes[..., 2] - CLIPS.boxes[..., 0])[..., None]
    moves = np.moveaxis((shaken - CLIPS.boxes) / np.maximum(height, 1e-9), 2, 1)[CLIPS.actor_mask]
    # The same in both frames, of another size for every actor and side.
    np.testing.assert_allclose(moves[:, 0], moves[:, 1], atol=1e-5)
    moved = moves[:, 0][moves[:, 0].any(axis=1)]
    assert abs(moved.mean()) < 0.01
    assert abs(moved.std() - 0.05) < 0.005
    assert (shaken[..., 2:] >= shaken[..., :2]).all()
    assert not np.moveaxis(shaken, 2, 1)[~CLIPS.actor_mask].any()


def test_no_box_is_turned_inside_out():
    shaken = np.asarray(shake_boxes(KEY, BOXES, MASK, strength=3.0))
    assert (shaken[..., 2:] >= shaken[..., :2]).all()


def test_some_actors_are_left_out_and_most_stay():
    kept = np.asarray(leave_out(KEY, jnp.ones((2000, 12), bool), share=0.15))
    assert abs(kept.mean() - 0.85) < 0.01
    kept = np.asarray(leave_out(KEY, MASK, share=0.6))
    assert not (kept & ~CLIPS.actor_mask).any()
    assert (2 * kept.sum(axis=1) > CLIPS.actor_mask.sum(axis=1)).all()
    assert kept.sum() < CLIPS.actor_mask.sum()


def test_who_is_left_out_has_neither_box_nor_action():
    augmented = jax.device_get(Augmentation(leave_out=0.3)(KEY, jax.tree.map(jnp.asarray, CLIPS)))
    gone = CLIPS.actor_mask & ~augmented.actor_mask
    assert gone.any()
    assert (augmented.action[gone] == UNKNOWN).all()
    assert not np.moveaxis(augmented.boxes, 2, 1)[gone].any()
    stay = augmented.actor_mask
    np.testing.assert_array_equal(augmented.action[stay], CLIPS.action[stay])
