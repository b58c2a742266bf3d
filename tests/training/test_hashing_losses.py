"""The objectives of other hashing methods against loops over their papers' sums."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from stvh_jax import config
from stvh_jax.clips import Clips
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import hashing_losses as objectives
from stvh_jax.training import sharding
from stvh_jax.training.losses import LOSSES, total_loss
from stvh_jax.unknown import UNKNOWN

B, K, G = 11, 16, 3
NAMES = ("pairwise", "centre", "orthogonal", "supervised_contrastive", "bit_balance")
ETA, LAMBDA, MARGIN, SCALE, TEMPERATURE = 0.3, 0.7, 0.2, 5.0, 0.4


@pytest.fixture(scope="module")
def relaxed():
    return np.tanh(np.random.default_rng(0).normal(size=(B, K))).astype(np.float32)


@pytest.fixture(scope="module")
def activity():
    """Two clips at least of each class but the last, which has one."""
    return np.array([0, 1, 0, 1, 1, 0, 2, 0, 1, 1, 0])


def weights(**changes):
    loss = config.get_config().loss
    loss.pairwise_quantisation, loss.centre_quantisation = ETA, LAMBDA
    loss.orthogonal_margin, loss.orthogonal_scale = MARGIN, SCALE
    loss.supervised_temperature = TEMPERATURE
    for name, value in changes.items():
        loss[name] = value
    return loss


def term(name, relaxed, activity, mask=None):
    """Computes a term of `LOSSES` of one focus, per clip."""
    mask = np.ones(len(activity), bool) if mask is None else mask
    outputs = Outputs(activity_logits=np.zeros((1, len(activity), G)), relaxed=relaxed[None])
    clips = Clips(boxes=None, actor_mask=None, action=None, activity=activity)
    outputs, clips, mask = jax.tree.map(jnp.asarray, (outputs, clips, mask))
    return LOSSES[name].term(outputs, clips, mask, weights())


def pairwise(h, y):
    """DPSH, from the likelihood of each pair."""
    losses = []
    for i in range(len(h)):
        terms = []
        for j in range(len(h)):
            if j != i:
                probability = 1 / (1 + np.exp(-h[i] @ h[j] / 2))
                terms.append(-np.log(probability if y[i] == y[j] else 1 - probability))
        gap = [(np.where(bit >= 0, 1, -1) - bit) ** 2 for bit in h[i]]
        losses.append((np.mean(terms) if terms else 0) + ETA * np.mean(gap))
    return losses


def centre(h, y):
    """CSQ, with the binary cross-entropy written out and centres from SciPy."""
    rows = scipy.linalg.hadamard(K)
    losses = []
    for code, label in zip(h, y):
        total = 0.0
        for bit, target in zip((code + 1) / 2, (rows[label] + 1) / 2):
            total -= target * np.log(bit) + (1 - target) * np.log(1 - bit)
            total += LAMBDA * np.log(np.cosh(abs(2 * bit - 1) - 1))
        losses.append(total / K)
    return losses


def orthogonal(h, y):
    """OrthoHash, with codes from SciPy."""
    rows = scipy.linalg.hadamard(K)[:G]
    losses = []
    for code, label in zip(h, y):
        cosines = [code @ row / np.linalg.norm(code) / np.linalg.norm(row) for row in rows]
        cosines[label] -= MARGIN
        scores = np.exp(SCALE * np.array(cosines))
        losses.append(-np.log(scores[label] / scores.sum()))
    return losses


def supervised_contrastive(h, y):
    """SupCon's Eq 2."""
    z = [code / np.linalg.norm(code) for code in h]
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        total = sum(np.exp(z[i] @ z[a] / TEMPERATURE) for a in others)
        terms = [-np.log(np.exp(z[i] @ z[p] / TEMPERATURE) / total) for p in others if y[p] == y[i]]
        losses.append(np.mean(terms) if terms else 0)
    return losses


def bit_balance(h, y):
    """The squared mean of each bit, averaged over bits."""
    return [np.mean([np.mean([code[k] for code in h]) ** 2 for k in range(K)])] * len(y)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_papers_formula(name, relaxed, activity):
    expected = globals()[name](relaxed.astype(float), activity)
    np.testing.assert_allclose(term(name, relaxed, activity), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_clip_is_a_deleted_one_whatever_is_in_it(name, relaxed, activity):
    kept = np.array([0, 2, 3, 4, 6, 9])
    mask = np.isin(np.arange(B), kept)
    noise = np.where(mask[:, None], relaxed, -0.9).astype(np.float32)
    actual = term(name, noise, np.where(mask, activity, 1), mask)
    np.testing.assert_allclose(
        actual[kept], term(name, relaxed[kept], activity[kept]), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_clip_of_unknown_activity_is_a_deleted_one(name, relaxed, activity):
    kept = np.array([0, 2, 3, 4, 6, 9])
    known = np.isin(np.arange(B), kept)
    actual = term(name, relaxed, np.where(known, activity, UNKNOWN))
    np.testing.assert_array_equal(actual[~known], 0)
    np.testing.assert_allclose(
        actual[kept], term(name, relaxed[kept], activity[kept]), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_clips_does_not_matter(name, relaxed, activity):
    order = np.random.default_rng(1).permutation(B)
    np.testing.assert_allclose(
        term(name, relaxed[order], activity[order]),
        np.array(term(name, relaxed, activity))[order],
        rtol=1e-5,
    )


ODD = {
    "no two of one class": (np.arange(G), np.ones(G, bool)),
    "one class": (np.zeros(G, int), np.ones(G, bool)),
    "one clip": (np.arange(G), np.array([True, False, False])),
    "none": (np.arange(G), np.zeros(G, bool)),
    "unknown": (np.full(G, UNKNOWN), np.ones(G, bool)),
}


@pytest.mark.parametrize("batch", ODD)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite(name, batch, relaxed):
    activity, mask = ODD[batch]
    # Codes at their signs, and of zeros: single precision reaches both.
    for codes in (relaxed[:G], np.sign(relaxed[:G]), np.zeros((G, K), np.float32)):
        value, gradient = jax.value_and_grad(
            lambda codes: jnp.where(mask, term(name, codes, activity, mask), 0).sum()
        )(jnp.asarray(codes))
        assert np.isfinite(value) and np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~mask], 0)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_class_codes_themselves_are_better_than_any_drawn_codes(name, activity):
    ideal = objectives.class_codes(G, K)[activity].astype(np.float32)
    best = term(name, ideal, activity).mean()
    for seed in range(20):
        drawn = np.sign(np.random.default_rng(seed).normal(size=(B, K))).astype(np.float32)
        assert best < term(name, drawn, activity).mean()


@pytest.mark.parametrize("classes, bits", [(8, 128), (8, 8), (13, 8), (16, 8)])
def test_class_codes_are_rows_of_the_hadamard_matrix(classes, bits):
    rows = scipy.linalg.hadamard(bits)
    codes = objectives.class_codes(classes, bits)
    np.testing.assert_array_equal(codes, np.concatenate([rows, -rows])[:classes])
    distances = (bits - codes @ codes.T) // 2
    assert (distances[~np.eye(classes, dtype=bool)] >= bits // 2).all()


@pytest.mark.parametrize("classes, bits", [(8, 24), (17, 8), (300, 128)])
def test_other_class_codes_are_drawn_and_always_the_same(classes, bits):
    codes = objectives.class_codes(classes, bits)
    assert codes.shape == (classes, bits) and set(codes.flat) == {-1, 1}
    np.testing.assert_array_equal(codes, objectives.class_codes(classes, bits))
    distances = ((bits - codes @ codes.T) / 2)[~np.eye(classes, dtype=bool)]
    # Of a binomial distribution, over a few classes.
    assert abs(distances.mean() - bits / 2) < bits / 8


@pytest.mark.parametrize("lengths", [(16, 32, 64, 128), (24, 48, 96)])
def test_class_codes_of_nested_lengths_are_prefixes(lengths):
    longest = objectives.class_codes(8, lengths[-1])
    for length in lengths:
        np.testing.assert_array_equal(objectives.class_codes(8, length), longest[:, :length])


@pytest.mark.parametrize("name", NAMES)
def test_a_term_counts_by_its_weight_and_by_default_not_at_all(name, relaxed, activity):
    outputs = Outputs(activity_logits=np.zeros((2, B, G)), relaxed=np.stack([-relaxed, relaxed]))
    clips = Clips(boxes=None, actor_mask=None, action=None, activity=activity)
    clips = dataclasses.replace(clips, clip_mask=np.ones(B, bool))
    outputs, clips = jax.tree.map(jnp.asarray, (outputs, clips))
    before, terms = total_loss(outputs, clips, weights=weights())
    assert name not in terms
    after, terms = total_loss(outputs, clips, weights=weights(**{name: 0.5}))
    mean = np.mean(term(name, relaxed, activity))
    np.testing.assert_allclose(terms[name], mean, rtol=1e-5)
    np.testing.assert_allclose(after, before + 0.5 * mean, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_of_nested_codes_it_is_the_mean_over_lengths(name, relaxed, activity):
    logits = np.zeros((1, B, G))
    outputs = Outputs(activity_logits=logits, relaxed=relaxed[None], prefix_logits={8: logits})
    clips = Clips(boxes=None, actor_mask=None, action=None, activity=activity)
    clips = dataclasses.replace(clips, clip_mask=np.ones(B, bool))
    outputs, clips = jax.tree.map(jnp.asarray, (outputs, clips))
    _, terms = total_loss(outputs, clips, weights=weights(**{name: 1.0}))
    each = [np.mean(term(name, relaxed[:, :length], activity)) for length in (8, K)]
    np.testing.assert_allclose(terms[name], np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_jitted_and_on_several_devices(name, relaxed, activity):
    split = sharding.split_batch(sharding.make_mesh(2))
    codes, labels = relaxed[: B - 1], activity[: B - 1]
    expected = term(name, codes, labels)
    actual = jax.jit(lambda *arrays: term(name, *arrays))(*jax.device_put((codes, labels), split))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)
