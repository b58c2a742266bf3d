"""Augmentation of boxes, as pure functions of a key."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.unknown import UNKNOWN


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to the clips of a training batch; a share or strength of 0 leaves it out.

    Attributes:
      box_jitter: the strength of `shake_camera`.
      box_noise: the strength of `shake_boxes`.
      leave_out: the share of `leave_out`.
    """

    box_jitter: float = 0.0
    box_noise: float = 0.0
    leave_out: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "Augmentation":
        """Reads `config.train`."""
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})

    def __call__(self, key: jax.Array, clips: Clips) -> Clips:
        """Augments a batch."""
        boxes, mask, action = clips.boxes, clips.actor_mask, clips.action
        if self.box_jitter:
            boxes = shake_camera(key, boxes, mask, strength=self.box_jitter)
        if self.box_noise:
            boxes = shake_boxes(jax.random.fold_in(key, 1), boxes, mask, strength=self.box_noise)
        if self.leave_out:
            mask = leave_out(jax.random.fold_in(key, 2), mask, share=self.leave_out)
            boxes = jnp.where(mask[:, None, :, None], boxes, 0)
            action = jnp.where(mask, action, UNKNOWN)
        return dataclasses.replace(clips, boxes=boxes, actor_mask=mask, action=action)


def shake_camera(
    key: jax.Array,
    boxes: Float[Array, "B T N 4"],
    actor_mask: Bool[Array, "B N"],
    *,
    strength: float,
) -> Float[Array, "B T N 4"]:
    """Zooms and shifts the boxes of each clip together, as another camera would show them.

    The zoom about the frame's centre is exp(strength z_0), the shift strength (z_1, z_2) in frame
    heights and widths, z standard normal. Boxes may leave the frame; padded slots stay zero.
    """
    draws = strength * jax.random.normal(key, (boxes.shape[0], 1, 1, 3))
    shift = jnp.concatenate([draws[..., 1:], draws[..., 1:]], axis=-1)
    shaken = (boxes - 0.5) * jnp.exp(draws[..., :1]) + 0.5 + shift
    return jnp.where(actor_mask[:, None, :, None], shaken, 0)


def shake_boxes(
    key: jax.Array,
    boxes: Float[Array, "B T N 4"],
    actor_mask: Bool[Array, "B N"],
    *,
    strength: float,
) -> Float[Array, "B T N 4"]:
    """Moves the sides of each actor's boxes, in all frames alike, as another annotator would.

    Each side moves by strength z times the height of the box, z standard normal; a box that this
    would turn inside out stays as it is.
    """
    moves = strength * jax.random.normal(key, (boxes.shape[0], 1, boxes.shape[2], 4))
    shaken = boxes + moves * (boxes[..., 2:3] - boxes[..., 0:1])
    whole = (shaken[..., 2:] > shaken[..., :2]).all(axis=-1, keepdims=True)
    return jnp.where(actor_mask[:, None, :, None] & whole, shaken, boxes)


def leave_out(
    key: jax.Array, actor_mask: Bool[Array, "B N"], *, share: float
) -> Bool[Array, "B N"]:
    """Leaves each actor out with a probability, but never half or more of the actors of a clip."""
    kept = actor_mask & jax.random.bernoulli(key, 1 - share, actor_mask.shape)
    enough = 2 * kept.sum(axis=1, keepdims=True) > actor_mask.sum(axis=1, keepdims=True)
    return jnp.where(enough, kept, actor_mask)
