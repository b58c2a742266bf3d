"""The hash function of the paper (Eq 5 and 12)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.models.config import ModelConfig
from stvh_jax.models.masking import masked_mean


def hash_linearly(
    config: ModelConfig, features: Float[Array, "B T N D"], mask: Bool[Array, "B N"]
) -> Float[Array, "B K"]:
    """Computes h = tanh(norm(F(AVG f))), F linear, in fp32."""
    projected = nn.Dense(config.heads.length, name="hash")(masked_mean(features, mask))
    return jnp.tanh(nn.LayerNorm(name="norm")(projected))
