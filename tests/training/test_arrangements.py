"""Arrangements of people: against loops, and what does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.training.arrangements import arrangement_loss, describe_people, distances
from tests.helpers.fakes import random_clips

ASPECT, REACH, SHARPNESS, TEMPERATURE = 1.5, 1.5, 0.05, 0.2
CLIPS = random_clips(3, clips=7, frames=5, actors=6)

describe = jax.jit(lambda boxes, mask: describe_people(boxes, mask, aspect=ASPECT))
measure = jax.jit(lambda people, mask: distances(people, mask, reach=REACH))
lose = jax.jit(
    lambda views, apart, mask: arrangement_loss(
        views, apart, mask, sharpness=SHARPNESS, temperature=TEMPERATURE
    )
)


@pytest.fixture(scope="module")
def people():
    return np.asarray(describe(CLIPS.boxes, CLIPS.actor_mask))


def test_people_are_described_as_a_loop_describes_them(people):
    standing, moving = [], []
    for clip, (boxes, mask) in enumerate(zip(CLIPS.boxes, CLIPS.actor_mask)):
        there = np.flatnonzero(mask)
        own = boxes[:, there].astype(np.float64)
        x = ASPECT * (own[..., 1] + own[..., 3]) / 2
        height = (own[..., 2] - own[..., 0]).mean(axis=0)
        width = ASPECT * (own[..., 3] - own[..., 1]).mean(axis=0)
        foot = own[..., 2].mean(axis=0)
        size = height.mean()
        lower = foot - foot.mean()
        # The slope of the line of least squares, held down where all stand alike.
        slope = (lower * (height - size)).mean() / ((lower**2).mean() + 1e-4)
        tall = (own[..., 2] - own[..., 0]).mean(axis=0)
        motion = []
        for person in range(len(there)):
            seen = [own[:, person, [0, 2]].mean(1), ASPECT * own[:, person, [1, 3]].mean(1)]
            seen += [own[:, person, 2] - own[:, person, 0]]
            seen += [ASPECT * (own[:, person, 3] - own[:, person, 1])]
            motion.append(np.stack([(each - each.mean()) / tall[person] for each in seen], -1))
        motion = (np.stack(motion) - np.mean(motion, axis=0)) / len(boxes)
        centre = x.mean(axis=0)
        expected = [
            centre - centre.mean(), lower, width, height / 2,
            4 * (height - size - slope * lower),
        ]  # fmt: skip
        standing.append(np.stack(expected, -1) / size)
        moving.append(motion.reshape(len(there), -1))
        assert not people[clip, ~mask].any()
    standing, moving = np.concatenate(standing), np.concatenate(moving)
    differ = [np.abs(each - each.mean(axis=0)).sum(axis=1).mean() for each in (standing, moving)]
    expected = np.concatenate([standing, differ[0] / differ[1] * moving], axis=1)
    np.testing.assert_allclose(people[CLIPS.actor_mask], expected, rtol=1e-3, atol=2e-4)


def test_motion_of_people_who_stand_still_is_not_enlarged_without_end():
    steps = np.random.default_rng(0).normal(0, 1e-4, CLIPS.boxes.shape)
    still = np.where(CLIPS.boxes > 0, CLIPS.boxes[:, :1] + steps, 0).astype(np.float32)
    people = np.asarray(describe(still, CLIPS.actor_mask))[CLIPS.actor_mask]
    standing, moving = (np.abs(each - each.mean(axis=0)) for each in (people[:, :5], people[:, 5:]))
    assert 0 < moving.sum(axis=1).mean() < 0.2 * standing.sum(axis=1).mean()


def test_neither_place_nor_zoom_of_the_camera_counts(people):
    moved = CLIPS.boxes * 0.5 + np.array([0.3, 0.1, 0.3, 0.1], np.float32)
    again = np.asarray(describe(moved, CLIPS.actor_mask))
    # All but the line through the heights, which is held down by a small constant.
    kept = np.arange(people.shape[-1]) != 4
    np.testing.assert_allclose(again[..., kept], people[..., kept], atol=1e-3)


def test_distances_are_those_of_a_loop(people):
    mask = CLIPS.actor_mask

    def kernel(one, other):
        return np.mean([[np.exp(-np.abs(p - q).sum() / REACH) for q in other] for p in one])

    groups = [each[own] for each, own in zip(people.astype(np.float64), mask)]
    expected = [[kernel(a, a) + kernel(b, b) - 2 * kernel(a, b) for b in groups] for a in groups]
    found = np.asarray(measure(people, mask))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    order = np.random.default_rng(0).permutation(mask.shape[1])
    shuffled = measure(people[:, order], mask[:, order])
    np.testing.assert_allclose(shuffled, found, atol=1e-6)


def test_the_loss_is_that_of_a_loop_and_a_masked_clip_a_deleted_one(people):
    random = np.random.default_rng(1)
    both = random.normal(size=(2, 7, 16)).astype(np.float32)
    both /= np.linalg.norm(both, axis=2, keepdims=True)
    apart = np.asarray(measure(people, CLIPS.actor_mask))
    mask = np.arange(7) != 4
    found = np.asarray(lose(tuple(both), apart, mask))
    kept = np.flatnonzero(mask)
    mean = {i: np.mean([apart[i, j] for j in kept if j != i]) for i in kept}
    for i in kept:
        others = [j for j in kept if j != i]
        logits = [-apart[i, j] / (SHARPNESS * np.sqrt(mean[i] * mean[j])) for j in others]
        target = np.exp(logits - np.max(logits))
        target /= target.sum()
        losses = []
        for own, other in ((0, 1), (1, 0)):
            cosine = [both[own, i] @ both[other, j] / TEMPERATURE for j in others]
            losses.append(-target @ (cosine - np.log(np.exp(cosine).sum())))
        np.testing.assert_allclose(found[i], np.mean(losses), rtol=1e-4)
    assert found[4] == 0
    fewer = lose((both[0, mask], both[1, mask]), apart[np.ix_(mask, mask)], np.ones(6, bool))
    np.testing.assert_allclose(found[mask], fewer, rtol=1e-5)


def test_codes_that_tell_arrangements_lose_less_than_those_that_are_all_alike(people):
    apart = np.asarray(measure(people, CLIPS.actor_mask))
    # Classical scaling gives vectors that lie as far apart as the clips.
    centre = np.eye(7) - 1 / 7
    values, vectors = np.linalg.eigh(-centre @ apart @ centre / 2)
    told = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    alike = np.ones_like(told) / np.sqrt(7)
    all_of_them = np.ones(7, bool)
    assert (
        lose((told, told), apart, all_of_them).mean()
        < lose((alike, alike), apart, all_of_them).mean() - 0.1
    )


def test_gradients_are_finite_where_all_stand_alike():
    boxes = jnp.broadcast_to(CLIPS.boxes[:1], CLIPS.boxes.shape)
    mask = jnp.broadcast_to(CLIPS.actor_mask[:1], CLIPS.actor_mask.shape)
    apart = measure(describe(boxes, mask), mask)
    views = (jnp.ones((7, 16)), jnp.ones((7, 16)))
    gradients = jax.grad(lambda views: lose(views, apart, jnp.ones(7, bool)).sum())(views)
    assert all(np.isfinite(each).all() for each in gradients)
