"""What the paper compares its interleaving layers with: standard transformer blocks.

To these, position is one more feature of an actor, where the paper's layers have it in their
attention. M-STVH^BD and M-STVH^ED (Table 5) add it before or after every block, the methods of
Fig. 1b join it to the appearance once.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from stvh_jax.models.box_features import describe_boxes
from stvh_jax.models.config import ATTENTION_HEADS, ModelConfig
from stvh_jax.models.fused import Fused
from stvh_jax.models.interleaving import FeedForward
from stvh_jax.models.scene import Scene


class TransformerBlock(nn.Module):
    """A standard block: f + MHA(LN(f)), then f + FFN(LN(f)), over all T N places of a clip."""

    ffn_multiplier: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, features: Float[Array, "B S D"], mask: Bool[Array, "B S"], *, train: bool
    ) -> Float[Array, "B S D"]:
        """Lets every place look at the valid ones."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        attention = nn.MultiHeadDotProductAttention(
            ATTENTION_HEADS, dtype=self.dtype, force_fp32_for_softmax=True, name="attention"
        )
        normal = nn.LayerNorm(dtype=self.dtype, name="norm")(features)
        features = features + drop(attention(normal, mask=mask[:, None, None, :]))
        normal = nn.LayerNorm(dtype=self.dtype, name="feed_forward_norm")(features)
        ffn = FeedForward(self.ffn_multiplier, self.dropout, self.dtype, name="feed_forward")
        return features + drop(ffn(normal, train=train))


class PlainFusion(nn.Module):
    """L standard blocks in place of the interleaving layers.

    An embedding of the boxes joins the actor features: added `before` or `after` every block, or
    once to what the first one reads, by `add` or `concat`.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, features: Float[Array, "B T N D"], scene: Scene, *, train: bool
    ) -> list[Float[Array, "B T N D"]]:
        """Returns the features after every block."""
        config, position = self.config, self.config.fusion.position
        shape, dim = features.shape, features.shape[-1]
        described = describe_boxes(scene.boxes, scene.mask)
        place = nn.Dense(dim, dtype=config.dtype, name="position")(described)
        if position == "add":
            features = features + place
        elif position == "concat":
            joined = jnp.concatenate([features, place], axis=-1)
            features = nn.Dense(dim, dtype=config.dtype, name="join")(joined)
        mask = jnp.tile(scene.mask, (1, shape[1]))
        scale = []
        for index in range(1, config.fusion.layers + 1):
            block = TransformerBlock(
                config.fusion.ffn_multiplier, config.dropout, config.dtype, name=f"layer_{index}"
            )
            if position == "before":
                features = features + place
            features = block(features.reshape(shape[0], -1, dim), mask, train=train).reshape(shape)
            if position == "after":
                features = features + place
            scale.append(features)
        return scale


def fuse_plainly(
    config: ModelConfig, features: Float[Array, "B T N D"], scene: Scene, *, train: bool
) -> Fused:
    """Fuses by standard transformer blocks over all T N places of a clip."""
    return Fused(PlainFusion(config, name="plain_fusion")(features, scene, train=train))
