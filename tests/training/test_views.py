"""What a view changes of a clip, and what it keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.config import LabelFreeConfig
from stvh_jax.training import views
from stvh_jax.training.views import View, draw_views
from stvh_jax.unknown import UNKNOWN
from tests.helpers.fakes import mirror, random_clips, take

KEY = jax.random.key(5)
T = 5
CLIPS = random_clips(0, clips=101, frames=T, pixels=(6, 7), features=3)
# All that a view may change, much stronger than anybody would have it.
STRONG = {
    "zoom": 1.0,
    "shift": 1.0,
    "squeeze": 1.0,
    "tilt": 1.0,
    "person_shift": 2.0,
    "person_size": 1.0,
    "box_noise": 1.0,
    "leave_out": 0.4,
    "moment": 2.0,
    "speed": 1.0,
    "next_frames": 2,
}


def view_of(clips=CLIPS, key=KEY, **strengths):
    """Draws a view of each clip, as NumPy arrays."""
    return jax.device_get(jax.jit(View(**strengths))(key, nameless(clips)))


def nameless(clips):
    return dataclasses.replace(clips, match=None, clip=None)


def corners_of(boxes):
    """The middle of the bottom side of each box, and its height and width."""
    top, left, bottom, right = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    return bottom, (left + right) / 2, bottom - top, right - left


def test_every_field_of_the_config_that_is_of_no_loss_is_a_strength_of_a_view():
    fields = {
        name
        for name in LabelFreeConfig.defaults()
        if name != "temperature"
        and not name.startswith(("contrast", "arrangement"))
        and not name.endswith("_weight")
    }
    assert fields == {field.name for field in dataclasses.fields(View)} == {*STRONG, "colour"}


def test_a_view_of_strength_zero_is_the_clip():
    seen = view_of()
    for name, values in vars(nameless(CLIPS)).items():
        np.testing.assert_array_equal(getattr(seen, name), values)


@pytest.mark.parametrize("name", sorted({*STRONG, "colour"}))
def test_every_strength_changes_something_and_nothing_of_padding(name):
    seen = view_of(**{name: STRONG.get(name, 0.5)})
    changed = [
        field for field in vars(CLIPS) if not same(getattr(CLIPS, field), getattr(seen, field))
    ]
    expected = {"leave_out": ["boxes", "actor_mask"], "colour": ["frames"]}
    in_time = ["boxes", "frames", "actor_features"]
    usual = in_time if name in ("moment", "speed", "next_frames") else ["boxes"]
    assert sorted(changed) == sorted(expected.get(name, usual))
    assert not np.moveaxis(seen.boxes, 2, 1)[~seen.actor_mask].any()
    assert not (seen.actor_mask & ~CLIPS.actor_mask).any()


def same(one, other):
    return one is None and other is None or np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_no_box_is_turned_inside_out(seed):
    seen = view_of(key=jax.random.key(seed), **STRONG)
    boxes = np.moveaxis(seen.boxes, 2, 1)[seen.actor_mask]
    assert np.isfinite(boxes).all()
    assert (boxes[..., 2:] > boxes[..., :2]).all()


def test_two_views_of_a_clip_stand_side_by_side_and_are_drawn_apart():
    given = jax.tree.map(jnp.asarray, nameless(CLIPS))
    drawn = jax.device_get(draw_views(View(zoom=0.1, moment=1.0), KEY, given))
    np.testing.assert_array_equal(drawn.frame, np.repeat(CLIPS.frame, 2))
    np.testing.assert_array_equal(drawn.actor_mask, np.repeat(CLIPS.actor_mask, 2, axis=0))
    apart = np.abs(drawn.boxes[::2] - drawn.boxes[1::2]).max(axis=(1, 2, 3))
    assert (apart > 1e-4).all()
    alike = jax.device_get(draw_views(View(), KEY, given))
    np.testing.assert_array_equal(alike.boxes[::2], CLIPS.boxes)
    np.testing.assert_array_equal(alike.boxes[1::2], CLIPS.boxes)


def test_another_clip_in_the_batch_changes_no_view():
    changed = dataclasses.replace(CLIPS, boxes=CLIPS.boxes.copy())
    changed.boxes[7] *= 0.5
    one, other = view_of(**STRONG), view_of(changed, **STRONG)
    others = np.arange(len(CLIPS.frame)) != 7
    np.testing.assert_array_equal(one.boxes[others], other.boxes[others])
    assert not np.array_equal(one.boxes[7], other.boxes[7])


def test_what_stands_in_padded_slots_changes_no_view():
    padding = ~CLIPS.actor_mask[:, None, :, None]
    filled = dataclasses.replace(CLIPS, boxes=np.where(padding, 0.7, CLIPS.boxes).astype("f4"))
    np.testing.assert_array_equal(view_of(filled, **STRONG).boxes, view_of(**STRONG).boxes)


def test_a_camera_shows_a_clip_as_the_formula_says():
    strengths = {"zoom": 0.2, "shift": 0.1, "squeeze": 0.3, "tilt": 0.4}
    boxes = np.asarray(views.move_camera(KEY, jnp.asarray(CLIPS.boxes), **strengths))
    draws = np.asarray(jax.random.normal(KEY, (5, len(boxes), 1, 1)), np.float64)[..., 0, 0]
    for clip in range(0, len(boxes), 9):
        zoom, squeeze, down, aside, tilt = draws[:, clip] * [
            strengths[name] for name in ("zoom", "squeeze", "shift", "shift", "tilt")
        ]
        for actor in np.flatnonzero(CLIPS.actor_mask[clip]):
            for frame in range(T):
                top, left, bottom, right = CLIPS.boxes[clip, frame, actor].astype(np.float64)
                top, bottom = (
                    np.exp(zoom + squeeze / 2) * (y - 0.5) + 0.5 + down for y in (top, bottom)
                )
                left, right = (
                    np.exp(zoom - squeeze / 2) * (x - 0.5) + 0.5 + aside for x in (left, right)
                )
                larger = np.exp(tilt * (bottom - 0.5))
                tall, wide = larger * (bottom - top), larger * (right - left)
                middle = 0.5 + larger * ((left + right) / 2 - 0.5)
                expected = [bottom - tall, middle - wide / 2, bottom, middle + wide / 2]
                np.testing.assert_allclose(
                    boxes[clip, frame, actor], expected, rtol=1e-4, atol=1e-5
                )


def test_a_tilted_camera_makes_those_in_front_larger_and_those_behind_smaller_or_all_otherwise():
    seen = np.asarray(views.move_camera(KEY, jnp.asarray(CLIPS.boxes), tilt=2.0))
    for before, after, mask in zip(CLIPS.boxes, seen, CLIPS.actor_mask):
        bottom, _, tall, _ = corners_of(before[:, mask])
        _, _, taller, _ = corners_of(after[:, mask])
        order = np.argsort(bottom, axis=None)
        grows = np.diff((taller / tall).reshape(-1)[order])
        assert (grows >= -1e-3).all() or (grows <= 1e-3).all()


def test_people_move_by_shares_of_their_height_alike_in_all_frames():
    seen = np.asarray(views.move_people(KEY, jnp.asarray(CLIPS.boxes), shift=0.1, size=0.2))
    there = np.moveaxis(np.broadcast_to(CLIPS.actor_mask[:, None], CLIPS.boxes.shape[:3]), 2, 1)
    before, after = (
        [np.moveaxis(each, 2, 1)[there].reshape(-1, T) for each in corners_of(boxes)]
        for boxes in (CLIPS.boxes, seen)
    )
    down, aside = ((after[place] - before[place]) / before[2] for place in range(2))
    larger = [np.log(after[place] / before[place]) for place in (2, 3)]
    np.testing.assert_allclose(*larger, atol=1e-3)
    for values, strength in ((down, 0.1), (aside, 0.1), (larger[0], 0.2)):
        np.testing.assert_allclose(values, values[:, :1] * np.ones(T), atol=1e-3)
        assert abs(values[:, 0].mean()) < 0.2 * strength
        assert abs(values[:, 0].std() - strength) < 0.15 * strength


def test_another_time_shows_what_was_then():
    moment, speed = 0.8, 0.5
    given = jax.tree.map(jnp.asarray, nameless(CLIPS))
    seen = jax.device_get(views.at_another_time(KEY, given, moment=moment, speed=speed))
    draws = np.asarray(jax.random.normal(KEY, (2, len(CLIPS.frame), 1)), np.float64)[..., 0]
    clamped = 0
    for clip in range(len(CLIPS.frame)):
        for frame in range(T):
            place = 2 + np.exp(speed * draws[0, clip]) * (frame - 2) + moment * draws[1, clip]
            clamped += not 0 <= place <= T - 1
            place = min(max(place, 0), T - 1)
            for actor in range(CLIPS.boxes.shape[2]):
                for side in range(4):
                    was = CLIPS.boxes[clip, :, actor, side]
                    expected = np.interp(place, range(T), was)
                    assert seen.boxes[clip, frame, actor, side] == pytest.approx(expected, abs=1e-5)
            if abs(place % 1 - 0.5) > 1e-3:
                nearest = round(place)
                np.testing.assert_array_equal(seen.frames[clip, frame], CLIPS.frames[clip, nearest])
                np.testing.assert_array_equal(
                    seen.actor_features[clip, frame], CLIPS.actor_features[clip, nearest]
                )
    assert 0 < clamped < len(CLIPS.frame) * T / 2


def test_a_clip_of_one_frame_has_no_other_time():
    still = random_clips(1, clips=7)
    np.testing.assert_array_equal(view_of(still, moment=5.0, speed=2.0).boxes, still.boxes)


def test_colours_are_mixed_alike_in_all_frames_and_stay_pixels():
    seen = np.asarray(views.change_colours(KEY, jnp.asarray(CLIPS.frames), strength=0.3))
    assert seen.dtype == np.uint8
    mixing, added = jax.random.split(KEY)
    mixed = np.asarray(jax.random.normal(mixing, (len(seen), 3, 3)), np.float64)
    moved = np.asarray(jax.random.normal(added, (len(seen), 1, 1, 1, 3)), np.float64)
    for clip in range(0, len(seen), 20):
        pixels = CLIPS.frames[clip] / 255 - 0.5
        expected = pixels @ (np.eye(3) + 0.3 * mixed[clip]) + 0.15 * moved[clip, 0] + 0.5
        expected = 255 * np.clip(expected, 0, 1)
        np.testing.assert_allclose(seen[clip], expected, atol=0.5 + 1e-3)


def test_no_label_is_left():
    bare = views.without_labels(jax.tree.map(jnp.asarray, nameless(CLIPS)))
    assert (bare.activity == UNKNOWN).all() and (bare.action == UNKNOWN).all()
    np.testing.assert_array_equal(bare.boxes, CLIPS.boxes)


@pytest.mark.parametrize("name", ["tilt", "moment", "leave_out", "zoom", "squeeze"])
def test_the_view_of_a_mirrored_clip_is_the_mirrored_view(name):
    """None of these moves anything to one side."""
    whole = np.ones(len(CLIPS.frame), bool)
    mirrored = view_of(mirror(CLIPS, whole), **{name: 0.3})
    expected = mirror(view_of(**{name: 0.3}), whole)
    np.testing.assert_array_equal(mirrored.actor_mask, expected.actor_mask)
    np.testing.assert_allclose(mirrored.boxes, expected.boxes, atol=1e-5)


def test_a_clip_that_fills_a_batch_stays_empty():
    filled = take(CLIPS, [0, -1])
    seen = view_of(filled, **STRONG)
    assert seen.clip_mask.tolist() == [True, False]
    assert not seen.boxes[1].any() and not seen.actor_mask[1].any()
