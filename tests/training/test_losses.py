"""The losses against loops over the printed sums, and masks against deletion."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from stvh_jax import config
from stvh_jax.clips import UNKNOWN, Clips
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import losses

B, K, N, A, G, L = 5, 16, 7, 3, 4, 2


def arrays(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def log_softmax(row):
    return row - np.log(np.exp(row).sum())


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    mask = np.arange(N) < random.integers(1, N + 1, B)[:, None]
    clips = Clips(
        boxes=np.zeros((B, 1, N, 4), np.float32),
        actor_mask=mask,
        clip_mask=np.ones(B, bool),
        action=np.where(mask, random.integers(0, A, (B, N)), UNKNOWN),
        activity=random.integers(0, G, B),
    )
    outputs = Outputs(
        relaxed=np.tanh(arrays(1, L + 1, B, K)),
        activity_logits=arrays(2, L, B, G),
        action_logits=arrays(3, B, N, A),
        relation=arrays(4, B, K),
        reconstruction_error=arrays(5, B) ** 2,
    )
    return jax.tree.map(jnp.asarray, (outputs, clips))


def test_action_cross_entropy_is_equation_6(batch):
    outputs, clips = batch
    weights = (1.0, 2.0, 0.5)
    actual = losses.action_cross_entropy(outputs.action_logits, clips.action, class_weights=weights)
    for b in range(B):
        terms = [
            -weights[label] * log_softmax(np.array(outputs.action_logits[b, n]))[label]
            for n, label in enumerate(np.array(clips.action[b]))
            if label != UNKNOWN
        ]
        np.testing.assert_allclose(actual[b], np.mean(terms), rtol=1e-5)


def test_a_smoothed_label_is_partly_that_of_every_class():
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([0, 3, 1, 2, UNKNOWN])
    spread = 0.8 * np.eye(4)[labels[:4]] + 0.2 / 4
    expected = -(spread * scipy.special.log_softmax(logits[:4], axis=1)).sum(axis=1)
    found = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels), smoothing=0.2)
    np.testing.assert_allclose(found, [*expected, 0], rtol=1e-5)


def test_cross_entropy_of_an_unknown_label_is_zero():
    value = losses.cross_entropy(jnp.ones((1, G)), jnp.full(1, UNKNOWN))
    np.testing.assert_array_equal(value, [0])


def test_quantisation_is_equation_7_at_the_batch_of_the_paper():
    relaxed = np.tanh(arrays(1, 2, K))
    codes = np.where(relaxed >= 0, 1.0, -1.0)
    printed = sum(
        np.exp(abs(relaxed[i] @ relaxed[j] - codes[i] @ codes[j]) / K)
        for i in range(2)
        for j in range(2)
    )
    ours = losses.quantisation(jnp.asarray(relaxed), jnp.ones(2, bool))
    # The printed sum over clips of every loss is twice our mean at B = 2.
    np.testing.assert_allclose(2 * ours.mean(), printed, rtol=1e-5)


def test_quantisation_of_a_code_at_its_signs_is_two():
    codes = jnp.where(jnp.asarray(arrays(1, B, K)) > 0, 1.0, -1.0)
    np.testing.assert_allclose(losses.quantisation(codes, jnp.ones(B, bool)), np.full(B, 2.0))


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("same_class_mask", [False, True])
def test_contrastive_is_equation_8(batch, temperature, same_class_mask):
    outputs, clips = batch
    a, h, labels = (np.array(v) for v in (outputs.relation, outputs.relaxed[-1], clips.activity))

    def similarity(i, j):
        cosine = a[i] @ h[j] / np.linalg.norm(a[i]) / np.linalg.norm(h[j])
        return np.exp(cosine / temperature)

    actual = losses.contrastive(
        outputs.relation,
        outputs.relaxed[-1],
        clips.activity,
        clips.clip_mask,
        temperature=temperature,
        same_class_mask=same_class_mask,
    )
    for i in range(B):
        counted = [j for j in range(B) if j == i or not same_class_mask or labels[i] != labels[j]]
        total = sum(similarity(i, j) + similarity(j, i) for j in counted)
        np.testing.assert_allclose(actual[i], np.log(total / similarity(i, i)), rtol=1e-5)


def test_contrastive_gradient_is_finite_at_a_zero_code():
    def loss(relation):
        labels, mask = jnp.arange(2), jnp.ones(2, bool)
        return losses.contrastive(relation, jnp.ones((2, K)), labels, mask).sum()

    assert np.isfinite(jax.grad(loss)(jnp.zeros((2, K)))).all()


@pytest.mark.slow
@pytest.mark.parametrize("learned", [L, 1])
def test_total_is_equation_15_and_of_one_focus_equation_9(batch, learned):
    outputs, clips = batch
    weights = config.get_config().loss
    outputs = outputs.replace(
        activity_logits=outputs.activity_logits[-learned:],
        relaxed=outputs.relaxed if learned > 1 else outputs.relaxed[-1:],
    )
    total, terms = losses.total_loss(outputs, clips, weights=weights)
    activity = [
        sum(
            (i + 1) / learned * -log_softmax(np.array(outputs.activity_logits[i, b]))[label]
            for i in range(learned)
        )
        for b, label in enumerate(np.array(clips.activity))
    ]
    np.testing.assert_allclose(terms["activity"], np.mean(activity), rtol=1e-5)
    quantised = [
        losses.quantisation(outputs.relaxed[-learned:][i], clips.clip_mask).mean()
        for i in range(learned)
    ]
    np.testing.assert_allclose(terms["quantisation"], np.mean(quantised), rtol=1e-5)
    expected = (
        terms["activity"]
        + 0.5 * terms["action"]
        + 0.1 * terms["quantisation"]
        + 0.5 * terms["contrastive"]
        + 0.01 * terms["reconstruction"]
    )
    np.testing.assert_allclose(total, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("same_class_mask", [False, True])
def test_a_masked_clip_is_a_deleted_one(batch, same_class_mask):
    outputs, clips = batch
    weights = config.get_config().loss
    weights.same_class_mask = same_class_mask
    kept = np.array([0, 1, 3])
    mask = np.isin(np.arange(B), kept)

    def deleted(tree, axis):
        return jnp.take(tree, kept, axis=axis)

    fewer_clips = jax.tree.map(lambda leaf: deleted(leaf, 0), clips)
    fewer_outputs = outputs.replace(
        relaxed=deleted(outputs.relaxed, 1),
        activity_logits=deleted(outputs.activity_logits, 1),
        action_logits=deleted(outputs.action_logits, 0),
        relation=deleted(outputs.relation, 0),
        reconstruction_error=deleted(outputs.reconstruction_error, 0),
    )
    masked = dataclasses.replace(clips, clip_mask=jnp.asarray(mask))
    actual, _ = losses.total_loss(outputs, masked, weights=weights)
    expected, _ = losses.total_loss(fewer_outputs, fewer_clips, weights=weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
