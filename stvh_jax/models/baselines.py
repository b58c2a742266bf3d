"""Models that know no groups: a classifier of frames, and a hash of whole frames (Fig. 1a)."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from stvh_jax.clips import Clips
from stvh_jax.models.frame_features import WHOLE_FRAME, visual_module
from stvh_jax.models.hash_heads import HashHead
from stvh_jax.models.outputs import Outputs


class FrameClassifier(nn.Module):
    """Actions and activity from the features of single frames: what a backbone is trained with.

    The first of the two stages in which the literature trains; the second starts with this one's
    backbone. An actor's features give the action, their maximum over the actors the activity;
    scores are averaged over the frames. The fields are those of `configs/base.py`.

    Attributes:
      num_activities: G.
      num_actions: A.
    """

    num_activities: int
    num_actions: int
    features: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    roi_size: int
    sampling_ratio: int
    roi_border: str
    roi_channels: int
    embed: str
    temporal_contrast: bool
    dropout: float
    dtype: DTypeLike

    # No code at any focus.
    foci = ()

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Classifies a batch of clips."""
        mask = clips.actor_mask[:, None, :, None]
        module = visual_module(self, reconstruct=False)
        boxes = jnp.where(mask, clips.boxes, 0)
        features, _, _ = module(clips.frames, boxes, clips.roi_features, train=train)
        features = nn.relu(jnp.where(mask, features, 0).astype(jnp.float32))
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        action_logits = nn.Dense(self.num_actions, name="action")(features).mean(axis=1)
        # Features are not negative: padded actors, all zero, are no one's maximum.
        group = features.max(axis=2)
        activity_logits = nn.Dense(self.num_activities, name="activity")(group).mean(axis=1)
        return Outputs(activity_logits=activity_logits[None], action_logits=action_logits)


class GlobalVideoHasher(nn.Module):
    """A code of the whole frames, as video hashing without actors has it (Fig. 1a).

    The backbone's features, pooled over each frame, are embedded, averaged over time and hashed as
    STVH's are; without actors there are no actions and no relations to learn from. The fields are
    those of `configs/base.py`.

    Attributes:
      num_activities: G.
      bits: K.
      prefixes: the shorter lengths of nested codes.
    """

    num_activities: int
    bits: int
    prefixes: tuple[int, ...]
    layers: int
    features: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    sampling_ratio: int
    roi_border: str
    temporal_contrast: bool
    dropout: float
    dtype: DTypeLike

    roi_size = WHOLE_FRAME
    roi_channels = 0
    embed = "fc"

    @property
    def foci(self) -> tuple[int, ...]:
        """The focus that has a code: that of the activity, as STVH numbers it."""
        return (self.layers,)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips from their frames alone."""
        batch, frames = clips.frames.shape[:2]
        no_boxes = jnp.zeros((batch, frames, 1, 4))
        module = visual_module(self, reconstruct=False)
        features, _, _ = module(clips.frames, no_boxes, train=train)
        features = nn.relu(features.astype(jnp.float32))
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        head = HashHead(self.bits, self.num_activities, self.prefixes, name=f"head_{self.layers}")
        relaxed, logits = head(features, jnp.ones((batch, 1), bool))
        return Outputs(
            relaxed=relaxed[None],
            activity_logits=logits[self.bits][None],
            prefix_logits={length: logits[length][None] for length in self.prefixes},
        )
