"""The losses against loops over the printed sums, and masks against deletion."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from stvh_jax import config
from stvh_jax.clips import Clips
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import losses
from stvh_jax.unknown import UNKNOWN

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


@pytest.mark.parametrize(("reduction", "reduced"), [("sum", np.sum), ("mean", np.mean)])
def test_action_cross_entropy_is_equation_6(batch, reduction, reduced):
    outputs, clips = batch
    weights = (1.0, 2.0, 0.5)
    actual = losses.action_cross_entropy(
        outputs.action_logits, clips.action, class_weights=weights, reduction=reduction
    )
    for b in range(B):
        terms = [
            -weights[label] * log_softmax(np.array(outputs.action_logits[b, n]))[label]
            for n, label in enumerate(np.array(clips.action[b]))
            if label != UNKNOWN
        ]
        np.testing.assert_allclose(actual[b], reduced(terms), rtol=1e-5)


def test_a_clip_without_a_known_action_has_no_action_loss(batch):
    outputs, _ = batch
    unknown = jnp.full((B, N), UNKNOWN)
    for reduction in ("sum", "mean"):
        actual = losses.action_cross_entropy(outputs.action_logits, unknown, reduction=reduction)
        np.testing.assert_array_equal(actual, np.zeros(B))


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


def printed_total(outputs, clips):
    """Adds up Eq 6, 7, 8 and 13 to 15 over a batch of two clips, sum by sum as they are printed."""
    pair, codes = range(2), np.where(outputs.relaxed >= 0, 1.0, -1.0)
    a, h = outputs.relation, outputs.relaxed

    def similarity(i, j):
        return np.exp(a[i] @ h[-1, j] / np.linalg.norm(a[i]) / np.linalg.norm(h[-1, j]))

    activity = action = quantised = contrast = 0.0
    for i in pair:
        for focus in range(1, L + 1):
            scores = log_softmax(outputs.activity_logits[focus - 1, i])
            activity -= focus / L * scores[clips.activity[i]]
        for n in range(clips.actor_mask[i].sum()):
            action -= log_softmax(outputs.action_logits[i, n])[clips.action[i, n]]
        for j in pair:
            for focus in range(1, L + 1):
                inner = h[focus, i] @ h[focus, j] - codes[focus, i] @ codes[focus, j]
                quantised += np.exp(abs(inner) / K) / L
        # L_con(i, i) is itself a sum over the batch, and L_CON sums it over the batch.
        for k in pair:
            total = sum(similarity(k, j) + similarity(j, k) for j in pair)
            contrast += np.log(total / similarity(k, k))
    reconstruction = sum(outputs.reconstruction_error[i] for i in pair)
    return activity + 0.5 * action + 0.1 * quantised + 0.5 * contrast + 0.01 * reconstruction


def test_the_printed_weights_weigh_the_printed_sums_at_the_batch_of_the_paper(batch):
    outputs, clips = batch
    outputs = Outputs(
        relaxed=outputs.relaxed[:, :2],
        activity_logits=outputs.activity_logits[:, :2],
        action_logits=outputs.action_logits[:2],
        relation=outputs.relation[:2],
        reconstruction_error=outputs.reconstruction_error[:2],
    )
    clips = jax.tree.map(lambda leaf: leaf[:2], clips)
    weights = config.get_config().loss
    weights.action_reduction = "sum"
    ours, _ = losses.total_loss(outputs, clips, weights=weights)
    printed = printed_total(*jax.tree.map(np.asarray, (outputs, clips)))
    # Every loss of ours is divided by the number of clips, two.
    np.testing.assert_allclose(2 * ours, printed, rtol=1e-5)


def test_quantisation_weighs_the_same_at_every_batch_size():
    relaxed = np.tanh(arrays(1, 2, K))
    pair = losses.quantisation(jnp.asarray(relaxed), jnp.ones(2, bool))
    twice = losses.quantisation(jnp.asarray(np.tile(relaxed, (2, 1))), jnp.ones(4, bool))
    np.testing.assert_allclose(twice, np.tile(pair, 2), rtol=1e-6)


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
        # Twice, as the second sum over the batch has it at the paper's B = 2.
        np.testing.assert_allclose(actual[i], 2 * np.log(total / similarity(i, i)), rtol=1e-5)


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
