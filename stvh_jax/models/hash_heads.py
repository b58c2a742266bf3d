"""What makes codes of actor features: the hash heads (Eq 5 and 12), and a_i of Eq 8."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.models.graphs import masked_softmax


def masked_mean(values: Float[Array, "B T N *d"], actor_mask: Bool[Array, "B N"]):
    """Averages over all frames and the valid actors: `[B, T, N, ...] -> [B, ...]`, in fp32."""
    shape = actor_mask.shape[:1] + (1,) + actor_mask.shape[1:] + (1,) * (values.ndim - 3)
    mask = actor_mask.reshape(shape)
    total = jnp.where(mask, values.astype(jnp.float32), 0).sum(axis=(1, 2))
    count = jnp.maximum(actor_mask.sum(axis=1) * values.shape[1], 1)
    return total / count.reshape((-1,) + (1,) * (total.ndim - 1))


def activity_layer(length: int, bits: int) -> str:
    """Names the classifier of the first `length` of K bits within a `HashHead`."""
    return "activity" if length == bits else f"activity_{length}"


class HashHead(nn.Module):
    """h = tanh(norm(F(AVG f))) and the class scores read from h (Eq 5 and 12), in fp32.

    Attributes:
      bits: K.
      num_activities: G.
      prefixes: the shorter lengths whose bits have a classifier of their own.
    """

    bits: int
    num_activities: int
    prefixes: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, features: Float[Array, "B T N D"], actor_mask: Bool[Array, "B N"]):
        """Returns the relaxed code `[B, K]` and the activity logits `[B, G]` by length."""
        projected = nn.Dense(self.bits, name="hash")(masked_mean(features, actor_mask))
        relaxed = jnp.tanh(nn.LayerNorm(name="norm")(projected))
        logits = {
            length: nn.Dense(self.num_activities, name=activity_layer(length, self.bits))(
                relaxed[:, :length]
            )
            for length in (*self.prefixes, self.bits)
        }
        return relaxed, logits


class VisualHashHead(nn.Module):
    """The code of focus 0: h = tanh(P standardise(AVG f)), P random and never trained.

    No loss reads this code. The quantisation loss alone would draw all clips to one code, and the
    activity's weight is zero at this end of the scale; the signs of random projections of
    standardised features keep their angles, and with them what looks alike. The mean and variance
    of the features are running averages over training.
    """

    bits: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "B T N *F"], actor_mask: Bool[Array, "B N"], *, train: bool
    ) -> Float[Array, "B K"]:
        """Returns the relaxed code."""
        standardise = nn.BatchNorm(
            use_running_average=not train, use_scale=False, use_bias=False, name="standardise"
        )
        pooled = jax.lax.stop_gradient(masked_mean(features, actor_mask))
        pooled = pooled.reshape(pooled.shape[0], -1)
        projection = self.variable("projection", "kernel", self._draw, pooled.shape[-1])
        return jnp.tanh(standardise(pooled) @ projection.value)

    def _draw(self, size: int) -> Float[Array, "D K"]:
        return jax.random.normal(self.make_rng("params"), (size, self.bits)) / jnp.sqrt(size)


class RelationEncoder(nn.Module):
    """a of Eq 8: two graph convolutions of the action probabilities over the spatial graph.

    softmax(action logits) are the nodes, the row-wise softmax of G_S the adjacency A:
    a = mean over frames and valid actors of A relu(A X U) V, as wide as a code.
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
        return masked_mean(adjacency @ nn.Dense(self.bits, name="second")(hidden), actor_mask)
