"""The interleaving layers: position and appearance fused in attention (paper 4.3 and 5.1).

`GraphAttention` is SGAT of Eq 4; `PositionVisualFusion` (PVF, Eq 3) builds the layers of STVH,
`MultiFocusFusion` (MSF, Eq 10 and 11) those of M-STVH. Actor features keep the shape
`[B, T, N, D]` throughout.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from stvh_jax.models.config import ModelConfig
from stvh_jax.models.fused import Fused
from stvh_jax.models.graphs import temporal_graph
from stvh_jax.models.masking import masked_softmax
from stvh_jax.models.scene import Scene


def identity_matrix(key, shape, dtype=jnp.float32) -> Float[Array, "S S"]:
    """Initialises W at the identity, so that training starts from the graph as it is."""
    del key
    return jnp.eye(*shape, dtype=dtype)


def combine_attention(
    visual: Float[Array, "*b S S"], positional: Float[Array, "*b S S"], *, product: str
) -> Float[Array, "*b S S"]:
    """Combines AT_v and AT_p into one row-stochastic matrix (the `x` of Eq 4).

    `matrix`: AT_v AT_p, row-stochastic as a product of two such. `hadamard`: elementwise, each
    row divided by its sum.
    """
    if product == "matrix":
        return visual @ positional
    weights = visual * positional
    total = weights.sum(axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


class GraphAttention(nn.Module):
    """SGAT of Eq 4: Attention(f, G) (f W1), Attention = AT_v(f) x AT_p(G).

    AT_v = softmax(f W2 (f W3)^T / sqrt(D)), AT_p = softmax(G W). Softmaxes are computed in fp32.

    Attributes:
      product: how the two maps are combined, `matrix` or `hadamard`.
      graph_weight: whether the S x S matrix W is learned; without it G stands for G W.
      dtype: compute type of the projections.
    """

    product: str
    graph_weight: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "*b S D"],
        graph: Float[Array, "*b S S"],
        mask: Bool[Array, "*#b #S S"],
    ) -> Float[Array, "*b S D"]:
        """Mixes the features of S places; `mask[..., i, j]` lets place i look at place j."""
        size, dim = features.shape[-2:]

        def project(name):
            return nn.Dense(dim, use_bias=False, dtype=self.dtype, name=name)(features)

        logits = jnp.einsum("...id,...jd->...ij", project("query"), project("key"))
        logits = logits.astype(jnp.float32) / jnp.sqrt(dim)
        if self.graph_weight:
            graph = graph @ self.param("graph_weight", identity_matrix, (size, size))
        if size == 1:
            # A place alone looks at itself, whatever it holds: nothing above is then computed.
            logits = graph = jnp.zeros_like(graph)
        visual = masked_softmax(logits, mask)
        positional = masked_softmax(graph, mask)
        attention = combine_attention(visual, positional, product=self.product)
        self.sow("intermediates", "attention", attention)
        return attention.astype(self.dtype) @ project("value")


class FeedForward(nn.Module):
    """Two dense layers with a GELU between, D -> multiplier * D -> D."""

    multiplier: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, features: Float[Array, "*b D"], *, train: bool) -> Float[Array, "*b D"]:
        """Maps each place on its own."""
        dim = features.shape[-1]
        hidden = nn.gelu(nn.Dense(self.multiplier * dim, dtype=self.dtype)(features))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return nn.Dense(dim, dtype=self.dtype)(hidden)


class Layer(nn.Module):
    """What the layers of either kind share."""

    config: ModelConfig

    def attend(self, name, features, graph, mask):
        """Applies one `GraphAttention` named `name`."""
        fusion = self.config.fusion
        attention = GraphAttention(
            fusion.product, fusion.graph_weight, self.config.dtype, name=name
        )
        return attention(features, graph, mask)

    def attend_in_time(self, name, features, temporal_graph, actor_mask):
        """Lets every actor look along its own T frames; `[B, T, N, D]` in and out."""
        del actor_mask  # a padded actor only ever looks at itself
        frames = temporal_graph.shape[-1]
        mask = jnp.ones((frames, frames), bool)
        if self.config.fusion.causal == "neg_inf":
            mask = jnp.tril(mask)
        mixed = self.attend(name, jnp.swapaxes(features, 1, 2), temporal_graph, mask[None, None])
        return jnp.swapaxes(mixed, 1, 2)

    def attend_in_space(self, name, features, spatial_graph, actor_mask):
        """Lets every actor look at the valid actors of its frame; `[B, T, N, D]` in and out."""
        return self.attend(name, features, spatial_graph, actor_mask[:, None, None, :])

    def feed_forward(self, features, attended, *, train):
        """Closes a layer: FFN(f''), with pre-LN residuals unless the printed form is asked for."""
        config = self.config
        drop = nn.Dropout(config.dropout, deterministic=not train)
        ffn = FeedForward(
            config.fusion.ffn_multiplier, config.dropout, config.dtype, name="feed_forward"
        )
        if not config.fusion.residual:
            return ffn(attended, train=train)
        features = features + drop(attended)
        normal = nn.LayerNorm(dtype=config.dtype, name="feed_forward_norm")(features)
        return features + drop(ffn(normal, train=train))


class PositionVisualFusion(Layer):
    """PVF of Eq 3 along one axis: f' = LayerNorm(f), f'' = SGAT(f', G), FFN(f'')."""

    axis: str = "time"

    @nn.compact
    def __call__(self, features, graph, actor_mask, *, train: bool):
        """Fuses `[B, T, N, D]` with the temporal `[B, N, T, T]` or spatial `[B, T, N, N]` graph."""
        attend = self.attend_in_time if self.axis == "time" else self.attend_in_space
        normal = nn.LayerNorm(dtype=self.config.dtype, name="norm")(features)
        return self.feed_forward(
            features, attend("attention", normal, graph, actor_mask), train=train
        )


class SpatiotemporalLayer(Layer):
    """A layer of STVH: PVF of each actor in time, then PVF of each frame in space."""

    @nn.compact
    def __call__(self, features, temporal_graph, spatial_graph, actor_mask, *, train: bool):
        """Returns f_T and f_S, what each half makes of actor features `[B, T, N, D]`."""
        in_time = PositionVisualFusion(self.config, axis="time", name="temporal")
        in_space = PositionVisualFusion(self.config, axis="space", name="spatial")
        temporal = in_time(features, temporal_graph, actor_mask, train=train)
        return temporal, in_space(temporal, spatial_graph, actor_mask, train=train)


class MultiFocusFusion(Layer):
    """A layer of M-STVH, MSF of Eq 10: LayerNorm, MFAT, FFN.

    MFAT (Eq 11) is G-MFAT(O-MFAT(f, G_T), G_S) when `nested`; `sum` adds the two branches,
    `concat` joins them and projects back to D.
    """

    @nn.compact
    def __call__(self, features, temporal_graph, spatial_graph, actor_mask, *, train: bool):
        """Returns None, for it has no f_T, and its output, of actor features `[B, T, N, D]`."""
        config = self.config
        normal = nn.LayerNorm(dtype=config.dtype, name="norm")(features)
        objects = self.attend_in_time("object", normal, temporal_graph, actor_mask)
        if config.fusion.fusion == "nested":
            fused = self.attend_in_space("group", objects, spatial_graph, actor_mask)
        else:
            group = self.attend_in_space("group", normal, spatial_graph, actor_mask)
            if config.fusion.fusion == "sum":
                fused = objects + group
            else:
                joined = jnp.concatenate([objects, group], axis=-1)
                fused = nn.Dense(features.shape[-1], dtype=config.dtype, name="fuse")(joined)
        return None, self.feed_forward(features, fused, train=train)


def interleave(
    config: ModelConfig, features: Float[Array, "B T N D"], scene: Scene, *, train: bool
) -> Fused:
    """Fuses by the paper's layers: those of M-STVH or of STVH, as the config says."""
    in_time = temporal_graph(scene.boxes)
    layer = MultiFocusFusion if config.multi_focus else SpatiotemporalLayer
    scale, temporal = [], None
    for index in range(1, config.fusion.layers + 1):
        temporal, features = layer(config, name=f"layer_{index}")(
            features, in_time, scene.in_space, scene.mask, train=train
        )
        scale.append(features)
    return Fused(scale, temporal)
