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
from stvh_jax.models.interleaving import FeedForward

# Where position joins: in the graphs of the paper's attention, or in one of the plain ways.
POSITIONS = ("graphs", "before", "after", "add", "concat")


# Attention heads of a standard block.
HEADS = 8


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
            HEADS, dtype=self.dtype, force_fp32_for_softmax=True, name="attention"
        )
        normal = nn.LayerNorm(dtype=self.dtype, name="norm")(features)
        features = features + drop(attention(normal, mask=mask[:, None, None, :]))
        normal = nn.LayerNorm(dtype=self.dtype, name="feed_forward_norm")(features)
        ffn = FeedForward(self.ffn_multiplier, self.dropout, self.dtype, name="feed_forward")
        return features + drop(ffn(normal, train=train))


class PlainFusion(nn.Module):
    """L standard blocks in place of the interleaving layers.

    Attributes:
      position: how an embedding of the boxes joins the actor features: added `before` or `after`
        every block, or once to what the first one reads, by `add` or `concat`.
      layers: L.
    """

    position: str
    layers: int
    ffn_multiplier: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "B T N D"],
        boxes: Float[Array, "B T N 4"],
        actor_mask: Bool[Array, "B N"],
        *,
        train: bool,
    ) -> list[Float[Array, "B T N D"]]:
        """Returns the features after every block."""
        dim = features.shape[-1]
        place = nn.Dense(dim, dtype=self.dtype, name="position")(describe_boxes(boxes, actor_mask))
        if self.position == "add":
            features = features + place
        elif self.position == "concat":
            joined = jnp.concatenate([features, place], axis=-1)
            features = nn.Dense(dim, dtype=self.dtype, name="join")(joined)
        batch, frames, actors = boxes.shape[:3]
        mask = jnp.tile(actor_mask, (1, frames))
        scale = []
        for index in range(1, self.layers + 1):
            block = TransformerBlock(
                self.ffn_multiplier, self.dropout, self.dtype, name=f"layer_{index}"
            )
            if self.position == "before":
                features = features + place
            features = block(features.reshape(batch, frames * actors, dim), mask, train=train)
            features = features.reshape(batch, frames, actors, dim)
            if self.position == "after":
                features = features + place
            scale.append(features)
        return scale
