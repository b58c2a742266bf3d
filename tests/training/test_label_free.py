"""Learning without labels: the losses against loops, and that no label is read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stvh_jax import config
from stvh_jax.clips import Clips
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import sharding
from stvh_jax.training.label_free import CONTRASTS, terms_of_views, views_found

B, K = 11, 16
TEMPERATURE = 0.3
NAMES = sorted(CONTRASTS)
ALL = np.ones(B, bool)
COMPILED = {
    name: jax.jit(functools.partial(loss, temperature=TEMPERATURE))
    for name, loss in CONTRASTS.items()
}


@pytest.fixture(scope="module")
def views():
    """Codes of two views of each clip, not far from each other."""
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(B, 1, K))
    both = clips + 0.4 * rng.normal(size=(B, 2, K))
    return np.tanh(both).reshape(2 * B, K).astype(np.float32)


def contrast(name, views, mask=None):
    mask = np.ones(len(views) // 2, bool) if mask is None else mask
    return np.asarray(COMPILED[name](views, mask))


def info_nce(one, other):
    losses = []
    mean = np.concatenate([one, other]).mean(axis=0)
    one, other = one - mean, other - mean
    cosine = [[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in other] for u in one]
    weights = np.exp(np.array(cosine) / TEMPERATURE)
    for i in range(len(one)):
        there = -np.log(weights[i, i] / sum(weights[i, j] for j in range(len(one))))
        back = -np.log(weights[i, i] / sum(weights[j, i] for j in range(len(one))))
        losses.append((there + back) / 2)
    return losses


def vicreg(one, other):
    def spread(h):
        covariance = np.cov(h.T, bias=True)
        narrow = [max(0, 0.5 - np.sqrt(covariance[k, k] + 1e-4)) for k in range(K)]
        across = sum(covariance[k, m] ** 2 for k in range(K) for m in range(K) if k != m)
        return np.mean(narrow) + across / K / 25

    apart = [np.mean((u - v) ** 2) for u, v in zip(one, other)]
    return [each + spread(one) + spread(other) for each in apart]


def barlow_twins(one, other):
    deviations = [np.sqrt(h.var(axis=0) + 1e-4) for h in (one, other)]
    loss = 0.0
    for k in range(K):
        for m in range(K):
            products = (one[:, k] - one[:, k].mean()) * (other[:, m] - other[:, m].mean())
            correlation = products.mean() / deviations[0][k] / deviations[1][m]
            loss += (1 - correlation) ** 2 if k == m else 0.01 * correlation**2
    return [loss / K] * len(one)


LOOPS = {"info_nce": info_nce, "vicreg": vicreg, "barlow_twins": barlow_twins}


@pytest.mark.parametrize("name", NAMES)
def test_a_contrast_is_what_its_paper_says(name, views):
    expected = LOOPS[name](*views.astype(np.float64).reshape(B, 2, K).transpose(1, 0, 2))
    np.testing.assert_allclose(contrast(name, views), expected, rtol=2e-5)


def test_info_nce_is_the_cross_entropy_of_the_cosines_about_the_mean(views):
    centred = jnp.asarray(views - views.mean(axis=0))
    one, other = centred[::2], centred[1::2]
    logits = optax.losses.cosine_similarity(one[:, None], other[None]) / TEMPERATURE
    both = [
        optax.losses.softmax_cross_entropy_with_integer_labels(each, jnp.arange(B))
        for each in (logits, logits.T)
    ]
    np.testing.assert_allclose(contrast("info_nce", views), sum(both) / 2, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_clips_does_not_matter(name, views):
    order = np.random.default_rng(1).permutation(B)
    shuffled = views.reshape(B, 2, K)[order].reshape(2 * B, K)
    np.testing.assert_allclose(contrast(name, shuffled), contrast(name, views)[order], rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_which_view_comes_first_does_not_matter(name, views):
    swapped = views.reshape(B, 2, K)[:, ::-1].reshape(2 * B, K)
    np.testing.assert_allclose(contrast(name, swapped), contrast(name, views), rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_that_only_fills_the_batch_counts_no_more_than_one_that_is_not_there(name, views):
    mask = np.arange(B) % 3 != 1
    filled = np.where(np.repeat(mask, 2)[:, None], views, 0.9)
    found = contrast(name, filled, mask)
    np.testing.assert_array_equal(found[~mask], 0)
    alone = contrast(name, views[np.repeat(mask, 2)])
    np.testing.assert_allclose(found[mask], alone, rtol=2e-5)

    def summed(values):
        options = {"temperature": TEMPERATURE}
        return CONTRASTS[name](values, jnp.asarray(mask), **options).sum()

    gradient = jax.jit(jax.grad(summed))(filled)
    np.testing.assert_array_equal(gradient[np.repeat(~mask, 2)], 0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_identical_views_have_less_loss_than_other_views_of_the_same_clips(name, views):
    same = np.repeat(views[::2], 2, axis=0)
    assert contrast(name, same).mean() < contrast(name, views).mean()
    rng = np.random.default_rng(2)
    unrelated = views.reshape(B, 2, K).copy()
    unrelated[:, 1] = unrelated[rng.permutation(B), 1]
    unrelated = unrelated.reshape(2 * B, K)
    assert contrast(name, views).mean() < contrast(name, unrelated).mean()


@pytest.mark.parametrize("name", NAMES)
def test_codes_that_are_all_the_same_have_a_high_loss(name, views):
    for collapsed in (np.tile(views[:1], (2 * B, 1)), np.zeros_like(views)):
        assert contrast(name, collapsed).mean() > 1.5 * contrast(name, views).mean()
    if name == "info_nce":  # no better than by chance
        alike = np.tile(views[:1], (2 * B, 1))
        np.testing.assert_allclose(contrast(name, alike), np.log(B), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite(name, views):
    def summed(codes, mask):
        return CONTRASTS[name](codes, mask, temperature=TEMPERATURE).sum()

    compute = jax.jit(jax.value_and_grad(summed))
    for given in (views, np.sign(views), np.zeros_like(views), np.tile(views[:1], (2 * B, 1))):
        for mask in (ALL, np.zeros(B, bool), np.arange(B) == 3):
            value, gradient = compute(given, mask)
            assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_on_several_devices(name, views):
    split = sharding.split_batch(sharding.make_mesh(2))
    some, mask = views[: 2 * (B - 1)], ALL[: B - 1]
    found = COMPILED[name](*jax.device_put((some, mask), split))
    np.testing.assert_allclose(found, contrast(name, some), rtol=2e-5, atol=1e-7)


def test_foci_weigh_by_their_place_and_lengths_alike(views):
    mask = np.arange(B) != 4
    stacked = np.stack([views, views[::-1], -0.5 * views])
    logits = np.zeros((2, 2 * B, 3))
    outputs = Outputs(activity_logits=logits, relaxed=stacked, prefix_logits={8: logits})
    outputs = jax.tree.map(jnp.asarray, outputs)
    named = label_free_config(temperature=TEMPERATURE, arrangement_weight=0.0)
    shown = Clips(boxes=None, actor_mask=None, clip_mask=jnp.repeat(jnp.asarray(mask), 2))
    terms = jax.jit(lambda *given: terms_of_views(*given, config=named, aspect=1.5))
    found = terms(outputs, shown, shown)
    assert found.keys() == {"contrast"}
    expected = []
    for length in (8, K):
        # Of three foci the last two learn: w = 1/2 and 1.
        each = [contrast("info_nce", h[:, :length], mask)[mask].mean() for h in stacked[1:]]
        expected.append(each[0] / 2 + each[1])
    np.testing.assert_allclose(found["contrast"], np.mean(expected), rtol=1e-5)


def label_free_config(**changes):
    fields = config.get_config().label_free
    fields.update(changes)
    return fields


def test_views_that_are_found_are_counted(views):
    mask = np.arange(B) != 2
    logits = np.zeros((1, 2 * B, 3))
    outputs = jax.tree.map(jnp.asarray, Outputs(activity_logits=logits, relaxed=views[None]))
    found = np.asarray(views_found(outputs, jnp.asarray(mask)))
    for clip in range(B):
        u = views[2 * clip]
        cosine = {
            other: u @ views[2 * other + 1] / np.linalg.norm(views[2 * other + 1])
            for other in np.flatnonzero(mask)
        }
        assert found[clip] == (mask[clip] and max(cosine, key=cosine.get) == clip)
    assert found.sum() > 0
    same = dataclasses.replace(outputs, relaxed=jnp.repeat(outputs.relaxed[:, ::2], 2, axis=1))
    np.testing.assert_array_equal(views_found(same, jnp.asarray(mask)), mask)
