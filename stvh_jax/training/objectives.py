"""What a step of training learns from its clips: their labels, or the clips alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array, Float

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.outputs import Outputs
from stvh_jax.training.label_free import terms_of_views, views_found
from stvh_jax.training.losses import total_loss
from stvh_jax.training.pretexts import create_readers, terms_of_pretexts
from stvh_jax.training.views import View, draw_views, without_labels
from stvh_jax.unknown import UNKNOWN

# Validation metrics: which of the sums of a validation is divided by which.
_SHARES = {
    "activity_accuracy": ("activity_right", "labelled"),
    "action_accuracy": ("action_right", "actors"),
    "views_found": ("views_found", "clips"),
}
# The scalar loss and its terms.
Losses = tuple[Float[Array, ""], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is learned from a batch.

    Attributes:
      prepare: `(key, clips) -> clips`: what the model is shown of a batch.
      loss: `(outputs, shown, clips, readers) -> loss, terms`: of what it was shown, and the batch.
        Without readers, as in validation, it is without what they read.
      judge: `(outputs, shown) -> sums`: counts over the valid clips, for validation.
      create_readers: `(key, outputs, clips) -> parameters`: initialises what codes are read by in
        training alone, see `training.pretexts`; None for nothing.
    """

    prepare: Callable[[jax.Array, Clips], Clips]
    loss: Callable[[Outputs, Clips, Clips, dict | None], Losses]
    judge: Callable[[Outputs, Clips], dict[str, jax.Array]]
    create_readers: Callable[[jax.Array, Outputs, Clips], dict | None] = lambda *_: None


def objective_of(config: Config) -> Objective:
    """Makes the objective that `config.objective` names."""
    if config.get("objective") == "label_free":
        height, width = config.data.image_size
        return label_free(config.loss, config.label_free, aspect=width / height)
    return supervised(config.loss)


def shares(sums: Mapping[str, float]) -> dict[str, float]:
    """Makes validation metrics, 0..1, of what `Objective.judge` counted over all batches."""
    return {
        name: sums[counted] / max(sums[among], 1)
        for name, (counted, among) in _SHARES.items()
        if counted in sums
    }


def supervised(weights: Config) -> Objective:
    """Learns the classes of activities and actions; `weights` is `config.loss`."""

    def judge(outputs: Outputs, clips: Clips) -> dict[str, jax.Array]:
        # Of clips of unknown activity none is right, and `labelled` counts the others.
        right = outputs.activity_logits[-1].argmax(axis=-1) == clips.activity
        sums = {
            "labelled": (clips.clip_mask & (clips.activity != UNKNOWN)).sum(),
            "activity_right": (right & clips.clip_mask).sum(),
        }
        if outputs.action_logits is not None:
            actions = outputs.action_logits.argmax(axis=-1) == clips.action
            sums["actors"] = (clips.action >= 0).sum()
            sums["action_right"] = (actions & (clips.action >= 0)).sum()
        return sums

    return Objective(
        prepare=lambda key, clips: clips,
        loss=lambda outputs, shown, clips, readers: total_loss(outputs, shown, weights=weights),
        judge=judge,
    )


def label_free(weights: Config, config: Config, *, aspect: float) -> Objective:
    """Learns from two views of each clip; no label reaches the model or the loss.

    Args:
      weights: `config.loss`; no term that needs labels may have a weight (`training.checks`).
      config: `config.label_free`.
      aspect: the width of a frame over its height.
    """
    view = View.of(config)

    options = {"config": config, "aspect": aspect}

    def loss(outputs: Outputs, shown: Clips, clips: Clips, readers: dict | None) -> Losses:
        total, terms = total_loss(outputs, shown, weights=weights)
        del terms["activity"]
        own = terms_of_views(outputs, shown, clips, **options)
        if readers is not None:
            own |= terms_of_pretexts(readers, outputs, shown, clips, **options)
        weighted = [config[f"{name}_weight"] * term for name, term in own.items()]
        return total + sum(weighted), own | terms

    return Objective(
        prepare=lambda key, clips: draw_views(view, key, without_labels(clips)),
        loss=loss,
        judge=lambda outputs, shown: {
            "views_found": views_found(outputs, shown.clip_mask[::2]).sum()
        },
        create_readers=functools.partial(create_readers, **options),
    )
