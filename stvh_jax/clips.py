"""The batch of clips that everything passes, and its axes.

Axes, the same letters everywhere: B clips, T frames, N actors, H W height and width, C channels,
D feature size, K bits, L layers, A actions, G activities; Q queries, M base clips.
"""

import dataclasses
from typing import Any

import jax

# NumPy or JAX arrays; JAX also builds batches of shapes and shardings, so no type is enforced.
Leaf = Any

# What an unknown action or activity is stored as; every loss and metric leaves it out.
UNKNOWN = -1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clips:
    """A batch of B clips, padded to the same T and N.

    Attributes:
      boxes: float `[B, T, N, 4]`, `[y_min, x_min, y_max, x_max]` of every actor in every frame,
        in 0..1 of the frame.
      actor_mask: bool `[B, N]`, true where an actor stands; whatever stands in a false slot
        changes nothing.
      clip_mask: bool `[B]`, false for the clips that only fill the last batch of an evaluation.
      frames: uint8 `[B, T, H, W, 3]`, or None where the clips carry features or the boxes are
        enough.
      roi_features: float16 `[B, T, N, h, w, C]`, what `visual.RoiFeatures` made of the frames, in
        place of them, or None.
      actor_features: float `[B, T, N, D]`, precomputed, in place of frames, or None.
      action: int `[B, N]`, the action of each actor, `UNKNOWN` in padded slots.
      activity: int `[B]`, the activity of the clip, `UNKNOWN` if unlabelled.
      match: int `[B]`, number of the source video (the match, the sequence).
      clip: int `[B]`, number of the clip's key frame; (match, clip) identifies a clip.
    """

    boxes: Leaf
    actor_mask: Leaf
    clip_mask: Leaf = None
    frames: Leaf = None
    roi_features: Leaf = None
    actor_features: Leaf = None
    action: Leaf = None
    activity: Leaf = None
    match: Leaf = None
    clip: Leaf = None
