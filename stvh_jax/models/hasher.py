"""STVH and M-STVH: from a batch of clips to relaxed codes, class scores and what the losses need.

    frames or boxes -> actor features f_(0) -> L interleaving layers -> hash heads -> h -> classes

STVH has one hash head, on its last layer; M-STVH has one for every focus 0..L, where focus 0 is
what stands before any layer: its code is a fixed random projection of what the actors look like.
Two more models are no hashing of groups: one has no code and classifies frames, to train a backbone
with first; the other makes codes of whole frames and knows no actors, for comparison (Fig. 1a).
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stvh_jax.clips import Clips
from stvh_jax.models.box_features import BoxFeatures
from stvh_jax.models.frame_features import visual_module
from stvh_jax.models.graphs import (
    canonical_order,
    reorder,
    restore_order,
    spatial_graph,
    temporal_graph,
)
from stvh_jax.models.hash_heads import HashHead, RelationEncoder, VisualHashHead, masked_mean
from stvh_jax.models.interleaving import LAYER_FIELDS, MultiFocusFusion, SpatiotemporalLayer
from stvh_jax.models.outputs import Outputs
from stvh_jax.models.plain_fusion import PlainFusion


class GroupActivityHasher(nn.Module):
    """STVH (`name="stvh"`) or M-STVH (`name="mstvh"`); the fields are those of `configs/base.py`.

    Attributes:
      num_activities: G.
      num_actions: A.
      bits: K.
      prefixes: the shorter lengths of nested codes.
    """

    num_activities: int
    num_actions: int
    name_: str
    bits: int
    prefixes: tuple[int, ...]
    layers: int
    features: int
    source: str
    num_frames: int
    num_actors: int
    key_frame: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    roi_size: int
    sampling_ratio: int
    roi_border: str
    roi_channels: int
    embed: str
    temporal_contrast: bool
    visual_code: str
    position: str
    distance: str
    residual: bool
    product: str
    causal: str
    graph_weight: bool
    fusion: str
    ffn_multiplier: int
    dropout: float
    dtype: DTypeLike

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that have a code, from visual to activity."""
        return tuple(range(self.layers + 1)) if self.name_ == "mstvh" else (self.layers,)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips with T = `num_frames` and N = `num_actors`.

        With `source="features"` the clips carry `actor_features` `[B, T, N, D]` in place of frames;
        with `source="frames"` they may carry `roi_features`, what `RoiFeatures` made of the frames.
        """
        order = canonical_order(clips.boxes, clips.actor_mask, key_frame=self.key_frame)
        mask = reorder(clips.actor_mask, order, axis=1)
        boxes = jnp.where(mask[:, None, :, None], reorder(clips.boxes, order, axis=2), 0)
        features, shown, error = self.actor_features(clips, boxes, mask, order, train=train)
        in_space = spatial_graph(boxes, mask, form=self.distance)
        scale = [features, *self.fuse(features, boxes, in_space, mask, train=train)]

        heads = [
            HashHead(self.bits, self.num_activities, self.prefixes, name=f"head_{focus}")(
                scale[focus], mask
            )
            for focus in self.foci
            if focus > 0
        ]
        codes = [relaxed for relaxed, _ in heads]
        if 0 in self.foci:
            visual = features if self.visual_code == "f_v" else shown
            codes.insert(0, VisualHashHead(self.bits, name="head_0")(visual, mask, train=train))
        pooled = nn.LayerNorm(name="action_norm")(scale[-1].astype(jnp.float32).mean(axis=1))
        action_logits = nn.Dense(self.num_actions, name="action")(pooled)
        relation = RelationEncoder(self.bits, name="relation")(action_logits, in_space, mask)
        return Outputs(
            relaxed=jnp.stack(codes),
            activity_logits=jnp.stack([logits[self.bits] for _, logits in heads]),
            action_logits=restore_order(action_logits, order, axis=1),
            relation=relation,
            reconstruction_error=error,
            prefix_logits={
                length: jnp.stack([logits[length] for _, logits in heads])
                for length in self.prefixes
            },
        )

    def fuse(self, features, boxes, in_space, mask, *, train):
        """Fuses position and appearance: the features `[B, T, N, D]` after each of the L layers."""
        if self.position != "graphs":
            fusion = PlainFusion(
                self.position,
                self.layers,
                self.ffn_multiplier,
                self.dropout,
                self.dtype,
                name="plain_fusion",
            )
            return fusion(features, boxes, mask, train=train)
        in_time = temporal_graph(boxes)
        options = {field: getattr(self, field) for field in LAYER_FIELDS}
        layer = MultiFocusFusion if self.name_ == "mstvh" else SpatiotemporalLayer
        scale = []
        for index in range(1, self.layers + 1):
            features = layer(**options, name=f"layer_{index}")(
                features, in_time, in_space, mask, train=train
            )
            scale.append(features)
        return scale

    def actor_features(self, clips, boxes, mask, order, *, train):
        """Makes f_v `[B, T, N, D]`, zero in padded slots; what it was made from; Eq 13's error."""
        valid = mask[:, None, :, None]
        reconstruct = self.name_ == "mstvh"
        if self.source == "features":
            target = jnp.where(valid, reorder(clips.actor_features, order, axis=2), 0)
            features = nn.Dense(self.features, dtype=self.dtype, name="embedding")(target)
            decoded = None
        elif self.source == "boxes":
            module = BoxFeatures(
                self.features, self.temporal_contrast, reconstruct, self.dtype, name="boxes"
            )
            features, target, decoded = module(boxes, mask)
        else:
            module = visual_module(self, reconstruct=reconstruct)
            cached = clips.roi_features
            if cached is not None:
                cached = reorder(cached, order, axis=2)
            features, target, decoded = module(clips.frames, boxes, cached, train=train)
        features = jnp.where(valid, features, 0)
        if decoded is None:
            return features, target, jnp.zeros(boxes.shape[:1])
        target = jax.lax.stop_gradient(target.astype(jnp.float32))
        squared = (decoded.astype(jnp.float32) - target) ** 2
        error = masked_mean(squared, mask).reshape(boxes.shape[0], -1).mean(axis=1)
        return features, target, error
