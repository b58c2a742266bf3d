"""Softmax and mean over the valid places alone: a masked place and a deleted one give the same."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_mean(values: Float[Array, "B T N *d"], actor_mask: Bool[Array, "B N"]):
    """Averages over all frames and the valid actors: `[B, T, N, ...] -> [B, ...]`, in fp32."""
    shape = actor_mask.shape[:1] + (1,) + actor_mask.shape[1:] + (1,) * (values.ndim - 3)
    mask = actor_mask.reshape(shape)
    total = jnp.where(mask, values.astype(jnp.float32), 0).sum(axis=(1, 2))
    count = jnp.maximum(actor_mask.sum(axis=1) * values.shape[1], 1)
    return total / count.reshape((-1,) + (1,) * (total.ndim - 1))


def masked_mean_by_frame(values: Float[Array, "B T N *d"], actor_mask: Bool[Array, "B N"]):
    """Averages over the valid actors of each frame: `[B, T, N, ...] -> [B, T, ...]`, in fp32."""
    batch, frames = values.shape[:2]
    by_frame = values.reshape(batch * frames, 1, *values.shape[2:])
    mean = masked_mean(by_frame, jnp.repeat(actor_mask, frames, axis=0))
    return mean.reshape(batch, frames, *mean.shape[1:])


def masked_maximum(values: Float[Array, "B T N D"], actor_mask: Bool[Array, "B N"]):
    """Takes each frame's maximum over the valid actors and the mean of these over the frames.

    `[B, T, N, D] -> [B, D]`, in fp32; zeros for a clip without actors.
    """
    mask = actor_mask[:, None, :, None]
    highest = jnp.where(mask, values.astype(jnp.float32), -jnp.inf).max(axis=2).mean(axis=1)
    return jnp.where(actor_mask.any(axis=1)[:, None], highest, 0)


def masked_softmax(
    logits: Float[Array, "*b"], mask: Bool[Array, "*#b"], *, axis: int = -1
) -> Float[Array, "*b"]:
    """Takes the softmax over the places where the mask is true, in float32; 0 elsewhere.

    The mask broadcasts. A row without a true place gives zeros, and gradients stay finite there.
    """
    logits = jnp.where(mask, logits.astype(jnp.float32), -jnp.inf)
    highest = jax.lax.stop_gradient(logits.max(axis, keepdims=True))
    shifted = jnp.where(mask, logits - jnp.where(jnp.isfinite(highest), highest, 0), 0)
    weights = jnp.where(mask, jnp.exp(shifted), 0)
    total = weights.sum(axis, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)
