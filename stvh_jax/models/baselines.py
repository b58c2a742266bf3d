"""Models without groups: a classifier of frames, and a hash of whole frames (Fig. 1a)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stvh_jax.clips import Clips
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.frame_features import FrameFeatures
from stvh_jax.models.hash_heads import HashHead, activity_classifier
from stvh_jax.models.outputs import Outputs


class FrameClassifier(nn.Module):
    """Actions and activity from the features of single frames: what a backbone is trained with.

    The first of the two stages in which the literature trains; the second starts with this one's
    backbone. An actor's features give the action, their maximum over the actors the activity;
    scores are averaged over the frames.
    """

    config: ModelConfig

    # No code at any focus.
    foci = ()
    bits = 0

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Classifies a batch of clips."""
        config, heads = self.config, self.config.heads
        mask = clips.actor_mask[:, None, :, None]
        module = FrameFeatures(config, name="visual")
        boxes = jnp.where(mask, clips.boxes, 0)
        features, _, _ = module(clips.frames, boxes, clips.roi_features, train=train)
        features = nn.relu(jnp.where(mask, features, 0).astype(jnp.float32))
        features = nn.Dropout(config.dropout, deterministic=not train)(features)
        action_logits = nn.Dense(heads.num_actions, name="action")(features).mean(axis=1)
        # Features are not negative: padded actors, all zero, are no one's maximum.
        group = features.max(axis=2)
        activity_logits = nn.Dense(heads.num_activities, name="activity")(group).mean(axis=1)
        return Outputs(activity_logits=activity_logits[None], action_logits=action_logits)


class GlobalVideoHasher(nn.Module):
    """A code of the whole frames, as video hashing without actors has it (Fig. 1a).

    The backbone's features, pooled over each frame, are embedded, averaged over time and hashed as
    STVH's are; without actors there are no actions and no relations to learn from.
    """

    config: ModelConfig

    @property
    def bits(self) -> int:
        """K, the length of the whole code."""
        return self.config.heads.length

    @property
    def foci(self) -> tuple[int, ...]:
        """The focus that has a code: that of the activity, as STVH numbers it."""
        return (self.config.fusion.layers,)

    def classifier(self, params: Mapping[str, Any], length: int) -> tuple[jax.Array, jax.Array]:
        """Gives what reads the activity from the first bits; see `activity_classifier`."""
        return activity_classifier(params, self.foci[-1], length=length, bits=self.bits)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips from their frames alone."""
        config, heads = self.config, self.config.heads
        batch, frames = clips.frames.shape[:2]
        no_boxes = jnp.zeros((batch, frames, 1, 4))
        visual = dataclasses.replace(config.visual, whole_frame=True, roi_channels=0, embed="fc")
        module = FrameFeatures(dataclasses.replace(config, visual=visual), name="visual")
        features, _, _ = module(clips.frames, no_boxes, train=train)
        features = nn.relu(features.astype(jnp.float32))
        features = nn.Dropout(config.dropout, deterministic=not train)(features)
        head = HashHead(config, name=f"head_{config.fusion.layers}")
        relaxed, logits = head(features, jnp.ones((batch, 1), bool))
        return Outputs(
            relaxed=relaxed[None],
            activity_logits=logits[heads.length][None],
            prefix_logits={length: logits[length][None] for length in heads.prefixes},
        )
