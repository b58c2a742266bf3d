"""What is told of movement and of neighbours, against loops over the actors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.models.neighbours import describe_movement, describe_neighbours
from tests.helpers.fakes import random_clips
from tests.helpers.oracles import model_config

FRAMES = 4


def moving_clips():
    """Clips of up to five people, each with a movement of its own."""
    clips = random_clips(3, clips=3, frames=FRAMES, actors=5)
    rng = np.random.RandomState(0)
    speed = 0.01 * rng.randn(3, 1, 5, 2) * np.arange(FRAMES)[None, :, None, None]
    moved = clips.boxes + np.concatenate([speed, speed], axis=-1)
    boxes = np.where(clips.actor_mask[:, None, :, None], moved, 0)
    return boxes.astype(np.float32), np.array(clips.actor_mask)


def line(values):
    """The slope, per unit of time of length one, and the rest, of a series."""
    time = np.arange(len(values)) - (len(values) - 1) / 2
    time = time / np.sqrt((time**2).sum())
    slope = float((np.array(values) * time).sum())
    rest = np.array(values) - np.mean(values) - slope * time
    return slope, float(np.sqrt((rest**2).mean() + 1e-10))


def test_movement_is_that_of_a_line_through_each_track():
    boxes, mask = moving_clips()
    actual = np.asarray(jax.jit(describe_movement)(boxes, mask))
    for b in range(3):
        people = np.flatnonzero(mask[b])
        slopes, rests, growths = {}, {}, {}
        for n in people:
            track = boxes[b, :, n].astype(float)
            height = track[:, 2] - track[:, 0]
            lines = [line((track[:, k] + track[:, k + 2]) / 2) for k in (0, 1)]
            slopes[n] = np.array([10 * slope / height.mean() for slope, _ in lines])
            rests[n] = [10 * rest / height.mean() for _, rest in lines]
            growths[n] = 10 * line(np.log(height))[0]
        mean = np.mean([slopes[n] for n in people], axis=0)
        for n in range(5):
            if not mask[b, n]:
                assert not actual[b, :, n].any()
                continue
            speed = math.sqrt((slopes[n] ** 2).sum() + 1e-8)
            own = slopes[n] - mean
            expected = [*slopes[n], *abs(slopes[n]), *own, *abs(own), speed]
            expected += [math.log(speed + 0.05), growths[n], *rests[n]]
            for t in range(FRAMES):
                bounded = np.clip(expected, -10, 10)
                np.testing.assert_allclose(actual[b, t, n], bounded, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_neighbours_are_the_nearest_by_feet_and_height(count):
    boxes, mask = moving_clips()
    actual = np.asarray(
        jax.jit(lambda *given: describe_neighbours(*given, count=count))(boxes, mask)
    )
    assert actual.shape == (3, FRAMES, 5, 12 * count + 3)
    for b, t, n in np.ndindex(3, FRAMES, 5):
        if not mask[b, n]:
            assert not actual[b, t, n].any()
            continue
        box, height = boxes[b, t].astype(float), boxes[b, t, :, 2] - boxes[b, t, :, 0]
        feet = np.stack([box[:, 2], (box[:, 1] + box[:, 3]) / 2], axis=1)
        others = []
        for m in np.flatnonzero(mask[b]):
            if m == n:
                continue
            offset, ratio = (feet[m] - feet[n]) / height[n], math.log(height[m] / height[n])
            others.append((math.sqrt((offset**2).sum() + ratio**2 + 1e-8), m, offset, ratio))
        others.sort(key=lambda other: other[0])
        found = actual[b, t, n].reshape(-1)
        for place in range(count):
            part = found[12 * place : 12 * place + 12]
            if place >= len(others):
                assert part[1] == 0
                assert not part[2:].any()
                continue
            distance, _, offset, ratio = others[place]
            np.testing.assert_allclose(part[:2], [math.log(distance + 0.1), 1], rtol=1e-3)
            values = np.clip([*offset, ratio], -5, 5)
            np.testing.assert_allclose(part[2:5], values, rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(part[7:12], abs(part[2:7]), rtol=1e-6)
        near = [sum(other[0] < radius for other in others) / 5 for radius in (1, 2, 4)]
        np.testing.assert_allclose(found[-3:], near, rtol=1e-5)


def test_a_single_frame_shows_no_movement_and_nobody_has_neighbours_alone():
    boxes = jnp.array([[[[0.2, 0.2, 0.5, 0.3], [0, 0, 0, 0]]]], jnp.float32)
    mask = jnp.array([[True, False]])
    movement = np.asarray(describe_movement(boxes, mask))
    assert np.isfinite(movement).all()
    assert not movement[0, 0, 0, :8].any()
    others = np.asarray(describe_neighbours(boxes, mask, count=2))
    assert np.isfinite(others).all()
    assert others[0, 0, 0, 1] == others[0, 0, 0, 13] == 0


def test_a_model_of_frames_is_not_told_of_neighbours():
    with pytest.raises(UserError, match="^config.model.neighbours describes boxes alone; set it"):
        model_config(source="frames", neighbours=2)
