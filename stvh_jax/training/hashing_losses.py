"""Objectives of other hashing methods, to train the same model by: DPSH, CSQ, OrthoHash, SupCon.

Each reads the relaxed code h of the last focus and the activities, and gives a loss per clip,
unreduced. The papers take a sum over a batch or a training set; here it is a mean over the clips of
the batch that a clip is compared with, so that a weight means the same at every batch size. Clips
that only pad a batch, and those of unknown activity, are compared with nothing and have no loss.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from stvh_jax.unknown import UNKNOWN

# The seed of the class codes that are drawn at random: one choice for all runs.
_SEED = 0
# How near to -1 and 1 a relaxed code may come before its logarithm is taken.
_MARGIN = 1e-6
# The logit of what is left out of a softmax. Not -inf, whose gradient is NaN in an empty row.
_LEFT_OUT = -1e9


def unit(vectors: Float[Array, "B K"]) -> Float[Array, "B K"]:
    """Divides each vector by its length; a vector of zeros stays."""
    # The square root has no gradient at zero, hence the small constant.
    return vectors * jax.lax.rsqrt((vectors**2).sum(axis=-1, keepdims=True) + 1e-12)


def centred_unit(vectors: Float[Array, "B K"], mask: Bool[Array, "B"]) -> Float[Array, "B K"]:
    """Divides what each vector is away from the mean of the valid ones by its length."""
    count = jnp.maximum(mask.sum(), 1)
    mean = jnp.where(mask[:, None], vectors, 0).sum(axis=0, keepdims=True) / count
    return unit(vectors - mean)


def class_codes(classes: int, bits: int) -> Int[np.ndarray, "G K"]:
    """Gives each class a code of -1 and +1, about K / 2 bits from that of any other class.

    Yuan et al., "Central Similarity Quantization for Efficient Image and Video Retrieval", CVPR
    2020: the first G rows of the K x K Hadamard matrix H, and then of -H. If there is no such
    matrix by Sylvester's construction, because K is no power of two, or if G > 2K, the bits are
    drawn from a Bernoulli distribution with p = 1/2.

    The first bits of a class code are its code of fewer bits, as nested codes need it, if both are
    made in the same way and G is at most the shorter length.
    """
    if bits & (bits - 1) or classes > 2 * bits:
        drawn = np.random.default_rng(_SEED).integers(0, 2, (bits, classes))
        return 2 * drawn.T - 1
    hadamard = np.ones((1, 1), int)
    while len(hadamard) < bits:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return np.concatenate([hadamard, -hadamard])[:classes]


def pairwise_likelihood(
    relaxed: Float[Array, "B K"],
    activity: Int[Array, "B"],
    clip_mask: Bool[Array, "B"],
    *,
    quantisation: float,
) -> Float[Array, "B"]:
    """Computes DPSH's loss: how unlikely the codes make it which pairs share an activity.

    Li, Wang and Kang, "Feature Learning based Deep Supervised Hashing with Pairwise Labels", IJCAI
    2016. Per clip i, with b = sign(h) and s_ij = 1 for two clips of one activity, else 0:

        mean_j (log(1 + exp(theta_ij)) - s_ij theta_ij) + quantisation mean_k (b_ik - h_ik)^2,
        theta_ij = h_i.h_j / 2, j any other clip.

    Args:
      relaxed: h.
      activity: class numbers.
      clip_mask: false for clips that only pad the batch.
      quantisation: eta, the weight of the distance from the signs.
    """
    known, others, positives = _pairs(activity, clip_mask)
    theta = relaxed @ relaxed.T / 2
    unlikely = jnp.where(others, jax.nn.softplus(theta) - positives * theta, 0)
    mean = unlikely.sum(axis=1) / jnp.maximum(others.sum(axis=1), 1)
    codes = jax.lax.stop_gradient(jnp.where(relaxed >= 0, 1.0, -1.0))
    gap = jnp.square(codes - relaxed).mean(axis=1)
    return jnp.where(known, mean + quantisation * gap, 0)


def central_similarity(
    relaxed: Float[Array, "B K"],
    activity: Int[Array, "B"],
    clip_mask: Bool[Array, "B"],
    *,
    classes: int,
    quantisation: float,
) -> Float[Array, "B"]:
    """Computes CSQ's loss: the cross-entropy of every bit to that of the clip's hash centre.

    Yuan et al., CVPR 2020 (see `class_codes`), L_C + lambda L_Q. Per clip, with c in {0, 1} the
    centre of its activity and p = (1 + h) / 2:

        -mean_k (c_k log p_k + (1 - c_k) log(1 - p_k)) + quantisation mean_k log cosh(|h_k| - 1).

    Args:
      relaxed: h.
      activity: class numbers.
      clip_mask: false for clips that only pad the batch.
      classes: G, how many classes have a centre.
      quantisation: lambda, the weight of L_Q.
    """
    known = clip_mask & (activity != UNKNOWN)
    centres = jnp.asarray(class_codes(classes, relaxed.shape[1]))[activity]
    # In single precision tanh reaches 1.
    inside = jnp.clip(relaxed, -1 + _MARGIN, 1 - _MARGIN)
    central = -jnp.log((1 + centres * inside) / 2).mean(axis=1)
    rounding = jnp.log(jnp.cosh(jnp.abs(relaxed) - 1)).mean(axis=1)
    return jnp.where(known, central + quantisation * rounding, 0)


def orthogonal_softmax(
    relaxed: Float[Array, "B K"],
    activity: Int[Array, "B"],
    clip_mask: Bool[Array, "B"],
    *,
    classes: int,
    margin: float,
    scale: float,
) -> Float[Array, "B"]:
    """Computes OrthoHash's loss: a softmax over cosines to fixed codes of the classes.

    Hoe et al., "One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning
    Objective", NeurIPS 2021. Per clip, with o_j the code of class j and y the clip's own:

        -log softmax_j(scale (cos(h, o_j) - margin [j = y]))_y.

    The cosine of h to signs is greatest at these signs, so that no quantisation loss is needed.

    Args:
      relaxed: h.
      activity: class numbers.
      clip_mask: false for clips that only pad the batch.
      classes: G, how many classes have a code.
      margin: what the cosine to the own class must be greater by.
      scale: multiplies the cosines.
    """
    known = clip_mask & (activity != UNKNOWN)
    codes = class_codes(classes, relaxed.shape[1]) / np.sqrt(relaxed.shape[1])
    cosine = unit(relaxed) @ jnp.asarray(codes, relaxed.dtype).T
    logits = scale * (cosine - margin * jax.nn.one_hot(activity, classes))
    labels = jnp.where(known, activity, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(known, losses, 0)


def supervised_contrastive(
    relaxed: Float[Array, "B K"],
    activity: Int[Array, "B"],
    clip_mask: Bool[Array, "B"],
    *,
    temperature: float,
) -> Float[Array, "B"]:
    """Computes SupCon: clips of one activity are to be nearer than all others.

    Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, Eq 2. Per clip i, with z = h /
    |h|, P(i) the other clips of its activity, and a any other clip:

        -mean_(p in P(i)) log(exp(z_i.z_p / temperature) / sum_a exp(z_i.z_a / temperature)).

    A clip that is the only one of its activity in the batch has no loss.

    Args:
      relaxed: h.
      activity: class numbers.
      clip_mask: false for clips that only pad the batch.
      temperature: divides the cosines.
    """
    _, others, positives = _pairs(activity, clip_mask)
    cosine = unit(relaxed) @ unit(relaxed).T / temperature
    total = jax.nn.logsumexp(jnp.where(others, cosine, _LEFT_OUT), axis=1, keepdims=True)
    losses = jnp.where(positives, total - cosine, 0)
    return losses.sum(axis=1) / jnp.maximum(positives.sum(axis=1), 1)


def bit_balance(relaxed: Float[Array, "B K"], clip_mask: Bool[Array, "B"]) -> Float[Array, "B"]:
    """Computes how far bits are from being set in half of the clips; the same for every clip.

    Weiss, Torralba and Fergus, "Spectral Hashing", NIPS 2008, ask of codes that sum_i b_i = 0. This
    is the condition as a penalty, with h for b: mean_k (mean_i h_ik)^2.
    """
    means = jnp.where(clip_mask[:, None], relaxed, 0).sum(axis=0) / jnp.maximum(clip_mask.sum(), 1)
    return jnp.full(clip_mask.shape, jnp.square(means).mean())


def bit_independence(
    relaxed: Float[Array, "B K"], clip_mask: Bool[Array, "B"]
) -> Float[Array, "B"]:
    """Computes how far bits are from saying each something else; the same for every clip.

    Spectral Hashing asks of codes that (1 / B) sum_i b_i b_i^T = I. This is what lies off the
    diagonal as a penalty, with h for b: sum_(k != l) (mean_i h_ik h_il)^2 / K.
    """
    count = jnp.maximum(clip_mask.sum(), 1)
    codes = jnp.where(clip_mask[:, None], relaxed, 0)
    product = jnp.square(codes.T @ codes / count)
    across = product.sum() - jnp.trace(product)
    return jnp.full(clip_mask.shape, across / relaxed.shape[1])


def _pairs(activity, clip_mask):
    """Says which clips i have a known activity `[B]`, and which clips j `[B, B]` to compare with i.

    Returns:
      The mask of i; the mask of all others, j; the mask of those of the same activity.
    """
    known = clip_mask & (activity != UNKNOWN)
    itself = jnp.eye(len(activity), dtype=bool)
    others = known[:, None] & known[None, :] & ~itself
    return known, others, others & (activity[:, None] == activity[None, :])


def pairwise_term(outputs, clips, clip_mask, weights):
    """Takes `pairwise_likelihood` of the last focus."""
    if outputs.relaxed is None:
        return None
    eta = weights.pairwise_quantisation
    return pairwise_likelihood(outputs.relaxed[-1], clips.activity, clip_mask, quantisation=eta)


def centre_term(outputs, clips, clip_mask, weights):
    """Takes `central_similarity` of the last focus."""
    if outputs.relaxed is None:
        return None
    return central_similarity(
        outputs.relaxed[-1],
        clips.activity,
        clip_mask,
        classes=outputs.activity_logits.shape[-1],
        quantisation=weights.centre_quantisation,
    )


def orthogonal_term(outputs, clips, clip_mask, weights):
    """Takes `orthogonal_softmax` of the last focus."""
    if outputs.relaxed is None:
        return None
    return orthogonal_softmax(
        outputs.relaxed[-1],
        clips.activity,
        clip_mask,
        classes=outputs.activity_logits.shape[-1],
        margin=weights.orthogonal_margin,
        scale=weights.orthogonal_scale,
    )


def supervised_contrastive_term(outputs, clips, clip_mask, weights):
    """Takes `supervised_contrastive` of the last focus."""
    if outputs.relaxed is None:
        return None
    temperature = weights.supervised_temperature
    return supervised_contrastive(
        outputs.relaxed[-1], clips.activity, clip_mask, temperature=temperature
    )


def bit_balance_term(outputs, clips, clip_mask, weights):
    """Takes `bit_balance` of the last focus."""
    del clips, weights
    return None if outputs.relaxed is None else bit_balance(outputs.relaxed[-1], clip_mask)


def bit_independence_term(outputs, clips, clip_mask, weights):
    """Takes `bit_independence` of the last focus."""
    del clips, weights
    return None if outputs.relaxed is None else bit_independence(outputs.relaxed[-1], clip_mask)
