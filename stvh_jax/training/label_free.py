"""What is learned without labels: the codes of two views of a clip are drawn together.

Each loss takes the relaxed codes of two views of B clips, `[2B, K]`, those of a clip beside each
other, and gives a loss per clip, unreduced. Clips that only pad the batch are compared with nothing
and have no loss.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.outputs import Outputs
from stvh_jax.training.arrangements import arrangement_loss, describe_people, distances
from stvh_jax.training.hashing_losses import centred_unit

# The logit of a clip that is left out of a softmax.
_LEFT_OUT = -1e9
# VICReg: the standard deviation that every bit is to have, half that of balanced bits; what the
# distance of two views and the deviation weigh beside the covariance. Barlow Twins: what the
# correlation of different bits weighs beside that of a bit with itself.
_DEVIATION, _NEARNESS, _REDUNDANCY = 0.5, 25.0, 0.01
_SMALL = 1e-4

Views = Float[Array, "V K"]


def unit_views(views: Views, clip_mask: Bool[Array, "B"]) -> tuple[Array, Array]:
    """Gives both views of each clip less the mean of all, as unit vectors.

    In the beginning all codes are nearly alike, and only what they are apart from their mean tells
    clips apart: without it a small training set may teach nothing.
    """
    both = centred_unit(views, jnp.repeat(clip_mask, 2))
    return both[::2], both[1::2]


def info_nce(views: Views, clip_mask: Bool[Array, "B"], *, temperature: float) -> Float[Array, "B"]:
    """Computes InfoNCE: of all clips, a view is to be nearest to the other view of its own clip.

    van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding",
    2018, in the form of Chen et al., "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, with comparisons across the views alone. Per clip i, with u and v
    its views as `unit_views` gives them, the mean of both directions of

        -log(exp(u_i.v_i / temperature) / sum_j exp(u_i.v_j / temperature)).

    Args:
      views: relaxed codes of two views.
      clip_mask: false for clips that only pad the batch.
      temperature: divides the cosines.
    """
    one, other = unit_views(views, clip_mask)
    cosine = one @ other.T / temperature
    both = jnp.stack([cosine, cosine.T])
    total = jax.nn.logsumexp(jnp.where(clip_mask, both, _LEFT_OUT), axis=2).mean(axis=0)
    return jnp.where(clip_mask, total - jnp.diagonal(cosine), 0)


def vicreg(views: Views, clip_mask: Bool[Array, "B"], *, temperature: float) -> Float[Array, "B"]:
    """Computes VICReg: views of a clip alike, every bit in use, no two bits the same.

    Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", ICLR 2022. Per clip, over `_NEARNESS`, the mean over the bits of
    the squared distance of its views, and for all clips alike of how far the standard deviation of
    a bit is below `_DEVIATION`, and the squared covariances of different bits over K.
    """
    del temperature
    one, other = views[::2], views[1::2]
    apart = jnp.square(one - other).mean(axis=1)

    def spread(values: Float[Array, "B K"]) -> Float[Array, ""]:
        covariance = _covariance(values, values, clip_mask)
        deviation = jnp.sqrt(jnp.diagonal(covariance) + _SMALL)
        narrow = jnp.maximum(0, _DEVIATION - deviation).mean()
        return narrow + _across(covariance) / values.shape[1] / _NEARNESS

    return jnp.where(clip_mask, apart + spread(one) + spread(other), 0)


def barlow_twins(
    views: Views, clip_mask: Bool[Array, "B"], *, temperature: float
) -> Float[Array, "B"]:
    """Computes Barlow Twins: a bit agrees over the views, and with no other bit.

    Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
    over K: with C the correlation of the bits of one view with those of the other,

        (sum_k (1 - C_kk)^2 + `_REDUNDANCY` sum_(k != l) C_kl^2) / K, the same for every clip.
    """
    del temperature
    one, other = views[::2], views[1::2]
    rows, columns = (
        jnp.sqrt(jnp.diagonal(_covariance(each, each, clip_mask)) + _SMALL) for each in (one, other)
    )
    correlation = _covariance(one, other, clip_mask) / jnp.outer(rows, columns)
    apart = jnp.square(1 - jnp.diagonal(correlation)).sum()
    loss = (apart + _REDUNDANCY * _across(correlation)) / one.shape[1]
    return jnp.where(clip_mask, loss, 0)


def _covariance(
    one: Float[Array, "B K"], other: Float[Array, "B K"], clip_mask: Bool[Array, "B"]
) -> Float[Array, "K K"]:
    count = jnp.maximum(clip_mask.sum(), 1)
    mask = clip_mask[:, None]

    def centred(values):
        mean = jnp.where(mask, values, 0).sum(axis=0) / count
        return jnp.where(mask, values - mean[None], 0)

    return centred(one).T @ centred(other) / count


def _across(matrix: Float[Array, "K K"]) -> Float[Array, ""]:
    """Sums the squares off the diagonal."""
    return jnp.square(matrix).sum() - jnp.square(jnp.diagonal(matrix)).sum()


# What `config.label_free.contrast` may be.
CONTRASTS: dict[str, Callable[..., Float[Array, "B"]]] = {
    "info_nce": info_nce,
    "vicreg": vicreg,
    "barlow_twins": barlow_twins,
}


def terms_of_views(
    outputs: Outputs, shown: Clips, clips: Clips, *, config: Config, aspect: float
) -> dict[str, Float[Array, ""]]:
    """Computes the contrast of views and what their codes tell of arrangements.

    Each is the mean over the valid clips; over the foci 1..L, focus i weighs w_i = i / L, as Eq 14
    has it of the activity's loss; and of nested codes, it is the mean over their lengths.

    Args:
      outputs: of two views of B clips, those of a clip beside each other.
      shown: the views.
      clips: the clips.
      config: `config.label_free`; a term that weighs 0 is left out.
      aspect: the width of a frame over its height.
    """
    clip_mask = shown.clip_mask[::2]
    losses: dict[str, Callable[[Views], Array]] = {}
    if config.contrast_weight:
        contrast = CONTRASTS[config.contrast]
        losses["contrast"] = lambda views: contrast(
            views, clip_mask, temperature=config.temperature
        )
    if config.arrangement_weight:
        people = describe_people(clips.boxes, clips.actor_mask, aspect=aspect)
        apart = distances(people, clips.actor_mask, reach=config.arrangement_reach)
        losses["arrangement"] = lambda views: arrangement_loss(
            unit_views(views, clip_mask),
            apart,
            clip_mask,
            sharpness=config.arrangement_sharpness,
            temperature=config.arrangement_temperature,
        )
    learned = outputs.activity_logits.shape[0]
    weights = jnp.arange(1, learned + 1) / learned
    count, lengths = jnp.maximum(clip_mask.sum(), 1), outputs.nested()

    def mean(loss: Callable[[Views], Array]) -> Float[Array, ""]:
        by_length = [
            (weights @ jax.vmap(loss)(codes.relaxed[-learned:])).sum() / count for codes in lengths
        ]
        return jnp.stack(by_length).mean()

    return {name: mean(loss) for name, loss in losses.items()}


def views_found(outputs: Outputs, clip_mask: Bool[Array, "B"]) -> Bool[Array, "B"]:
    """Says of which clips one view's code is nearer to the other view's than any other clip's.

    By the relaxed codes of the last focus. It is a measure of codes that needs no labels.
    """
    one, other = unit_views(outputs.relaxed[-1], clip_mask)
    cosine = jnp.where(clip_mask[None], one @ other.T, -jnp.inf)
    return clip_mask & (cosine.argmax(axis=1) == jnp.arange(len(one)))
