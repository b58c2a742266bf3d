"""A hash function that reads the maximum over the actors beside their mean."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.models.config import ModelConfig
from stvh_jax.models.masking import masked_maximum, masked_mean


def hash_mean_and_maximum(
    config: ModelConfig, features: Float[Array, "B T N D"], mask: Bool[Array, "B N"]
) -> Float[Array, "B K"]:
    """Computes h = tanh(norm(F[norm(AVG f), norm(MAX f)])), F linear, in fp32.

    One actor decides many an activity, who spikes or sets: a mean over all actors dilutes it.
    """
    pooled = jnp.concatenate(
        [
            nn.LayerNorm(name="mean_norm")(masked_mean(features, mask)),
            nn.LayerNorm(name="maximum_norm")(masked_maximum(features, mask)),
        ],
        axis=-1,
    )
    projected = nn.Dense(config.heads.length, name="hash")(pooled)
    return jnp.tanh(nn.LayerNorm(name="norm")(projected))
