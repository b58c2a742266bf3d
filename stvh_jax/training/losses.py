"""The losses of the paper (Eq 6 to 9 and 13 to 15), each per clip and unreduced, and their sum.

The printed losses are sums over a batch, ours means over its clips: each is divided by the number
of clips, which leaves the printed weights between them as they are.

A clip that only pads a batch is left out by `clip_mask`, an actor that only pads a clip by its
unknown action: a masked example and a deleted one give the same loss. A clip of unknown activity
counts in those terms alone that read no activity.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import hashing_losses
from stvh_jax.unknown import UNKNOWN

# The paper's B (6.1.2). Eq 7 and 8 are printed as double sums over a batch: divided by the number
# of clips, they are B times a mean. With the paper's B at every batch size, their weights keep
# meaning what they mean in the paper.
PAPER_BATCH = 2

# A loss per clip.
Term = Float[Array, "B"] | None


def cross_entropy(
    logits: Float[Array, "*b C"],
    labels: Int[Array, "*b"],
    *,
    class_weights: tuple = (),
    smoothing: float = 0.0,
) -> Float[Array, "*b"]:
    """Computes -w_y log softmax(logits)_y, zero where the label is unknown (Eq 6).

    Args:
      logits: class scores.
      labels: class numbers, `UNKNOWN` to leave an example out.
      class_weights: w, a weight for every class; empty for ones.
      smoothing: the share of a label that is spread over all classes alike.
    """
    known = labels != UNKNOWN
    labels = jnp.where(known, labels, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if smoothing:
        spread = -jax.nn.log_softmax(logits).mean(axis=-1)
        losses = (1 - smoothing) * losses + smoothing * spread
    weights = jnp.asarray(class_weights)[labels] if class_weights else 1.0
    return jnp.where(known, losses * weights, 0)


def action_cross_entropy(
    logits: Float[Array, "B N A"],
    actions: Int[Array, "B N"],
    *,
    class_weights: tuple = (),
    reduction: str = "mean",
) -> Float[Array, "B"]:
    """Sums or averages the actors' cross-entropy within each clip (L_action of Eq 6).

    Args:
      logits: action scores.
      actions: class numbers, `UNKNOWN` to leave an actor out.
      class_weights: a weight for every class; empty for ones.
      reduction: "sum" over the actors, as printed, or "mean" over those with a known action. A clip
        without any has the loss zero.
    """
    summed = cross_entropy(logits, actions, class_weights=class_weights).sum(axis=1)
    if reduction == "sum":
        return summed
    return summed / jnp.maximum((actions != UNKNOWN).sum(axis=1), 1)


def quantisation(relaxed: Float[Array, "B K"], clip_mask: Bool[Array, "B"]) -> Float[Array, "B"]:
    """Computes Eq 7 per clip i: 2 mean_j exp(|h_i.h_j - b_i.b_j| / K), b = sign(h).

    The factor 2 is `PAPER_BATCH`. No gradient passes through b.
    """
    bits = relaxed.shape[-1]
    codes = jax.lax.stop_gradient(jnp.where(relaxed >= 0, 1.0, -1.0))
    gap = jnp.abs(relaxed @ relaxed.T - codes @ codes.T) / bits
    pairs = jnp.where(clip_mask[None, :], jnp.exp(gap), 0)
    return PAPER_BATCH * pairs.sum(axis=1) / jnp.maximum(clip_mask.sum(), 1)


def contrastive(
    relation: Float[Array, "B K"],
    relaxed: Float[Array, "B K"],
    activity: Int[Array, "B"],
    clip_mask: Bool[Array, "B"],
    *,
    temperature: float = 1.0,
    same_class_mask: bool = False,
) -> Float[Array, "B"]:
    """Computes Eq 8 per clip i: 2 log(sum_j (s(a_i, h_j) + s(a_j, h_i)) / s(a_i, h_i)).

    s(a, h) = exp(cos(a, h) / temperature); the relaxed code h stands for b and carries the
    gradient. The sum runs over the whole batch, on whichever devices it lies. Eq 8 sums the
    logarithms over i twice; the second sum only multiplies by B, here `PAPER_BATCH`.

    Args:
      relation: a, codes by the actors' relations.
      relaxed: h, codes by everything in the clip.
      activity: class numbers, for `same_class_mask`.
      clip_mask: false for clips that only pad the batch.
      temperature: divides the cosine; 1 is the printed form.
      same_class_mask: leaves the other clips of clip i's own class out of the sum, and those that
        may be of it, as every clip of unknown activity may.
    """
    cosine = hashing_losses.unit(relation) @ hashing_losses.unit(relaxed).T / temperature
    itself = jnp.eye(cosine.shape[0], dtype=bool)
    counted = jnp.broadcast_to(clip_mask[None, :], cosine.shape)
    if same_class_mask:
        known = activity != UNKNOWN
        differ = known[:, None] & known[None, :] & (activity[:, None] != activity[None, :])
        counted &= itself | differ
    counted |= itself
    both = jnp.stack([cosine, cosine.T])
    total = jax.nn.logsumexp(jnp.where(counted, both, -jnp.inf), axis=(0, 2))
    return PAPER_BATCH * (total - jnp.diagonal(cosine))


def activity_term(outputs: Outputs, clips: Clips, clip_mask, weights) -> Term:
    """Weighs the cross-entropy of focus i with w_i = i / L, and sums over the foci."""
    del clip_mask
    learned = outputs.activity_logits.shape[0]
    focus_weights = jnp.arange(1, learned + 1) / learned
    entropy = functools.partial(cross_entropy, smoothing=weights.get("label_smoothing", 0.0))
    activity = jax.vmap(entropy, in_axes=(0, None))(outputs.activity_logits, clips.activity)
    return (focus_weights[:, None] * activity).sum(axis=0)


def quantisation_term(outputs: Outputs, clips: Clips, clip_mask, weights) -> Term:
    """Takes the mean over the foci that learn the activity, 1..L."""
    del clips, weights
    if outputs.relaxed is None:
        return None
    learned = outputs.activity_logits.shape[0]
    by_focus = jax.vmap(quantisation, in_axes=(0, None))(outputs.relaxed[-learned:], clip_mask)
    return by_focus.mean(axis=0)


def contrastive_term(outputs: Outputs, clips: Clips, clip_mask, weights) -> Term:
    """Compares a with the code of the last focus."""
    if outputs.relation is None:
        return None
    return contrastive(
        outputs.relation,
        outputs.relaxed[-1],
        clips.activity,
        clip_mask,
        temperature=weights.temperature,
        same_class_mask=weights.same_class_mask,
    )


def action_term(outputs: Outputs, clips: Clips, clip_mask, weights) -> Term:
    """Sums or averages the cross-entropy over the actors of each clip."""
    del clip_mask
    if outputs.action_logits is None:
        return None
    return action_cross_entropy(
        outputs.action_logits,
        clips.action,
        class_weights=tuple(weights.action_class_weights),
        reduction=weights.action_reduction,
    )


def reconstruction_term(outputs: Outputs, clips: Clips, clip_mask, weights) -> Term:
    """Takes the model's own error of Eq 13."""
    del clips, clip_mask, weights
    return outputs.reconstruction_error


class Loss(NamedTuple):
    """An entry of `LOSSES`.

    Attributes:
      term: `term(outputs, clips, clip_mask, weights)` gives a loss per clip `[B]`, or None for a
        model that lacks what it reads.
      of_codes: whether it reads codes: it is then the mean over the lengths of nested codes.
      of_labels: whether it reads activities: the mean over clips is then over those with one.
      needs_labels: whether it means nothing where no clip has labels.
    """

    term: Callable[..., Term]
    of_codes: bool = False
    of_labels: bool = False
    needs_labels: bool = False


def _reading_activities(term: Callable[..., Term]) -> Loss:
    return Loss(term, of_codes=True, of_labels=True, needs_labels=True)


# The terms of the loss, each weighted by the field of `config.loss` that has its name; the
# activity weighs 1. docs/extending.md adds one.
LOSSES = {
    "activity": _reading_activities(activity_term),
    "quantisation": Loss(quantisation_term, of_codes=True),
    # The relations of Eq 8 are those of actions, which labels teach.
    "contrastive": Loss(contrastive_term, of_codes=True, needs_labels=True),
    "action": Loss(action_term, needs_labels=True),
    "reconstruction": Loss(reconstruction_term),
    "pairwise": _reading_activities(hashing_losses.pairwise_term),
    "centre": _reading_activities(hashing_losses.centre_term),
    "orthogonal": _reading_activities(hashing_losses.orthogonal_term),
    "supervised_contrastive": _reading_activities(hashing_losses.supervised_contrastive_term),
    "bit_balance": Loss(hashing_losses.bit_balance_term, of_codes=True),
    "bit_independence": Loss(hashing_losses.bit_independence_term, of_codes=True),
}


def total_loss(outputs: Outputs, clips: Clips, *, weights: Config):
    """Combines the losses into that of Eq 9 (STVH) or Eq 15 (M-STVH).

    L_acty + action L_action + quantisation L_q + contrastive L_CON + reconstruction L_recon. A
    model without codes has the first two terms alone, one without actors the first and L_q. The
    objectives of other hashing methods are added where they have a weight. A term that `weights`
    does not name, or whose weight is 0, is left out and costs nothing.

    Args:
      outputs: of the model.
      clips: the batch, for its labels and masks.
      weights: `config.loss`.

    Returns:
      The scalar loss and a dict of its unweighted terms, each the mean over the valid clips, or
      over those of known activity if it reads activities.
    """
    clip_mask = clips.clip_mask
    if clip_mask is None:
        clip_mask = jnp.ones(clips.boxes.shape[0], bool)

    def terms_of(outputs: Outputs, *, of_codes: bool) -> dict[str, Term]:
        terms = {
            name: loss.term(outputs, clips, clip_mask, weights)
            for name, loss in LOSSES.items()
            if loss.of_codes == of_codes and (name == "activity" or weights.get(name, 0))
        }
        return {name: term for name, term in terms.items() if term is not None}

    lengths = [terms_of(one, of_codes=True) for one in outputs.nested()]
    terms = jax.tree.map(lambda *values: sum(values) / len(values), *lengths)
    terms |= terms_of(outputs, of_codes=False)
    labelled = clip_mask & (clips.activity != UNKNOWN)

    def mean(term: Array, counted: Bool[Array, "B"]) -> Array:
        return jnp.where(counted, term, 0).sum() / jnp.maximum(counted.sum(), 1)

    means = {
        name: mean(term, labelled if LOSSES[name].of_labels else clip_mask)
        for name, term in terms.items()
    }
    weighted = [weights[name] * mean for name, mean in means.items() if name != "activity"]
    return means["activity"] + sum(weighted), means
