"""What makes codes of actor features: the hash heads (Eq 5 and 12), and a_i of Eq 8.

A hash head that `config.model.hash_head` chooses is a function that a model calls while it runs:
the Flax modules that it makes stand under the head of their focus. `head(config, features, mask)`
takes a `ModelConfig`, actor features `[B, T, N, D]` and the mask of actors `[B, N]`, and returns
the relaxed code `[B, K]`, in (-1, 1). docs/extending.md adds one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.models.config import ModelConfig
from stvh_jax.models.linear_hash import hash_linearly
from stvh_jax.models.masking import masked_softmax
from stvh_jax.models.pooled_hash import hash_mean_and_maximum

HASH_HEADS: dict[str, Callable[..., jax.Array]] = {
    "linear": hash_linearly,
    "mean_and_maximum": hash_mean_and_maximum,
}


def activity_layer(length: int, bits: int) -> str:
    """Names the classifier of the first `length` of K bits within a `HashHead`."""
    return "activity" if length == bits else f"activity_{length}"


class HashHead(nn.Module):
    """A relaxed code h and the class scores read from it (Eq 5 and 12), in fp32."""

    config: ModelConfig

    @nn.compact
    def __call__(self, features: Float[Array, "B T N D"], mask: Bool[Array, "B N"]):
        """Returns the relaxed code `[B, K]` and the activity logits `[B, G]` by length."""
        heads = self.config.heads
        relaxed = HASH_HEADS[heads.hash_head](self.config, features, mask)
        logits = {
            length: nn.Dense(heads.num_activities, name=activity_layer(length, heads.length))(
                relaxed[:, :length]
            )
            for length in heads.lengths
        }
        return relaxed, logits


def activity_classifier(
    params: Mapping[str, Any], focus: int, *, length: int, bits: int
) -> tuple[jax.Array, jax.Array]:
    """Finds the classifier of the first `length` of K bits among the parameters of a model.

    Returns:
      The kernel `[length, G]` and the bias `[G]`.
    """
    layer = params[f"head_{focus}"][activity_layer(length, bits)]
    return layer["kernel"], layer["bias"]


class VisualHashHead(nn.Module):
    """The code of focus 0: h = tanh(P standardise(x)), P random and never trained.

    x is what the clip shows, pooled: AVG f, or the appearance of its whole frames.

    No loss reads this code. The quantisation loss alone would draw all clips to one code, and the
    activity's weight is zero at this end of the scale; the signs of random projections of
    standardised features keep their angles, and with them what looks alike. The mean and variance
    of the features are running averages over training.
    """

    bits: int

    @nn.compact
    def __call__(self, pooled: Float[Array, "B C"], *, train: bool) -> Float[Array, "B K"]:
        """Returns the relaxed code of what clips show."""
        standardise = nn.BatchNorm(
            use_running_average=not train, use_scale=False, use_bias=False, name="standardise"
        )
        pooled = jax.lax.stop_gradient(pooled)
        projection = self.variable("projection", "kernel", self._draw, pooled.shape[-1])
        return jnp.tanh(standardise(pooled) @ projection.value)

    def _draw(self, size: int) -> Float[Array, "D K"]:
        return jax.random.normal(self.make_rng("params"), (size, self.bits)) / jnp.sqrt(size)


class RelationEncoder(nn.Module):
    """a of Eq 8: two graph convolutions of the action probabilities over the spatial graph.

    softmax(action logits) are the nodes, the row-wise softmax of G_S the adjacency A:
    a = mean over frames and valid actors of A relu(A X U) V, as wide as a code. The mean is taken
    before the product with V, which is linear: of one vector a clip, not of one for each actor in
    each frame.
    """

    bits: int

    @nn.compact
    def __call__(
        self,
        action_logits: Float[Array, "B N A"],
        graph: Float[Array, "B T N N"],
        actor_mask: Bool[Array, "B N"],
    ) -> Float[Array, "B K"]:
        """Encodes each clip by who does what beside whom."""
        adjacency = masked_softmax(graph, actor_mask[:, None, None, :])
        nodes = nn.softmax(action_logits)[:, None]
        hidden = nn.relu(adjacency @ nn.Dense(self.bits, name="first")(nodes))
        seen = jnp.where(actor_mask[:, None, :, None], adjacency, 0).sum(axis=2)
        count = jnp.maximum(actor_mask.sum(axis=1) * graph.shape[1], 1)
        mean = jnp.einsum("btn,btnk->bk", seen / count[:, None, None], hidden)
        relation = nn.Dense(self.bits, name="second")(mean)
        return jnp.where(actor_mask.any(axis=1)[:, None], relation, 0)
