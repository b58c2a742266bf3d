"""STVH and M-STVH: from a batch of clips to relaxed codes, class scores and what the losses need.

    frames or boxes -> actor features f_(0) -> L interleaving layers -> hash heads -> h -> classes

STVH has one hash head, on its last layer; M-STVH has one for every focus 0..L, where focus 0 is
what stands before any layer: its code is a fixed random projection of what the actors, or the whole
frames, look like.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stvh_jax.clips import Clips
from stvh_jax.models.actor_features import (
    SOURCES,
    pool_shown,
    reconstruction_error,
    views_of,
)
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.fusions import FUSIONS
from stvh_jax.models.graphs import restore_order
from stvh_jax.models.hash_heads import (
    HashHead,
    RelationEncoder,
    VisualHashHead,
    activity_classifier,
)
from stvh_jax.models.outputs import Outputs
from stvh_jax.models.scene import read_scene
from stvh_jax.models.visual_end import MODULE, VisualEnd


class GroupActivityHasher(nn.Module):
    """STVH (`name="stvh"`) or M-STVH (`name="mstvh"`)."""

    config: ModelConfig

    @property
    def bits(self) -> int:
        """The length of the codes by focus: K, without the visual bits of a graded code."""
        return self.config.heads.length

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that have a code, from visual to activity."""
        layers = self.config.fusion.layers
        if not self.config.multi_focus:
            return (layers,)
        heads = self.config.heads
        first = 0 if heads.has_visual_code and heads.objective == "printed" else 1
        return tuple(range(first, layers + 1))

    def classifier(self, params: Mapping[str, Any], length: int) -> tuple[jax.Array, jax.Array]:
        """Gives what reads the activity from the first bits; see `activity_classifier`."""
        return activity_classifier(params, self.foci[-1], length=length, bits=self.bits)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips with T = `num_frames` and N = `num_actors`.

        With `source="features"` the clips carry `actor_features` `[B, T, N, D]` in place of frames;
        with `source="frames"` they may carry `roi_features`, what `RoiFeatures` made of the frames.
        With `source="boxes_and_appearance"` they carry `appearance` `[B, S, C]`.
        """
        config, heads = self.config, self.config.heads
        scene = read_scene(config, clips)
        actors = SOURCES[config.visual.source](config, clips, scene, train=train)
        features = jnp.where(scene.mask[:, None, :, None], actors.features, 0)
        fuse = FUSIONS[config.fusion.position]
        fused = fuse(config, features, scene, train=train)
        scale = [features, *fused.layers]

        hashed = [
            HashHead(config, name=f"head_{focus}")(scale[focus], scene.mask)
            for focus in self.foci
            if focus > 0
        ]
        codes = [relaxed for relaxed, _ in hashed]
        if 0 in self.foci:
            visual = VisualHashHead(heads.length, name="head_0")
            codes.insert(0, visual(pool_shown(config, actors, scene), train=train))
        acting = scale[-1]
        if heads.action_features == "f_T" and fused.temporal is not None:
            acting = fused.temporal
        pooled = nn.LayerNorm(name="action_norm")(acting.astype(jnp.float32).mean(axis=1))
        action_logits = nn.Dense(heads.num_actions, name="action")(pooled)
        relate = RelationEncoder(heads.length, name="relation")
        logits = {
            length: jnp.stack([by_length[length] for _, by_length in hashed])
            for length in heads.lengths
        }
        embedded = visual = None
        shown = views_of(config, clips, actors, scene)
        if heads.objective == "graded":
            embedded, visual = VisualEnd(heads.visual_bits, name=MODULE)(shown)
        return Outputs(
            relaxed=jnp.stack(codes),
            activity_logits=logits.pop(heads.length),
            action_logits=restore_order(action_logits, scene.order, axis=1),
            relation=relate(action_logits, scene.in_space, scene.mask),
            reconstruction_error=reconstruction_error(actors, scene),
            visual=visual,
            embedded=embedded,
            shown=shown if heads.objective == "graded" or heads.gives_views else None,
            prefix_logits=logits,
        )
