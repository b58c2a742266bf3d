"""Augmentation of boxes, as a pure function of a key."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


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
