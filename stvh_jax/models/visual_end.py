"""The visual bits of a graded code: a linear map of what a clip shows, fitted after training.

    e = (x - m) W,  v = e P + o,  bits = sign(v)

x is what the clip shows, the mean over its views; m and W whiten it, P and o make bits of it. All
are fitted to the training clips when a checkpoint is made (`training.visual_stage`), and stand
among the model's variables.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# What the maps are called, and the collection of variables that they stand in.
COLLECTION, MODULE = "visual", "visual_end"
# E, the size of whitened features, at most.
MOST_FEATURES = 1024


class VisualEnd(nn.Module):
    """Whitened features and the visual bits before the sign; all clips alike until it is fitted."""

    bits: int

    @nn.compact
    def __call__(self, shown: Float[Array, "B S C"]):
        """Returns e `[B, E]` and v `[B, V]`, in fp32; no gradient flows through them."""
        pooled = jax.lax.stop_gradient(shown.astype(jnp.float32).mean(axis=1))
        channels = pooled.shape[-1]
        features = min(channels, MOST_FEATURES)
        mean = self.variable(COLLECTION, "mean", jnp.zeros, (channels,))
        whitening = self.variable(COLLECTION, "whitening", jnp.zeros, (channels, features))
        projection = self.variable(COLLECTION, "projection", jnp.zeros, (features, self.bits))
        offset = self.variable(COLLECTION, "offset", jnp.zeros, (self.bits,))
        embedded = (pooled - mean.value[None]) @ whitening.value
        return embedded, embedded @ projection.value + offset.value[None]
