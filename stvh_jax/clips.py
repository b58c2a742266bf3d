"""The batch of clips that every part of the library works on, and its axes.

Axes, the same letters everywhere: B clips, T frames, N actors, H W height and width, C channels,
D feature size, K bits, L layers, A actions, G activities; Q queries, M base clips.
"""

import dataclasses
from typing import Any

import jax

# NumPy or JAX arrays; JAX also builds batches of shapes and shardings, so no type is enforced.
Leaf = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clips:
    """A batch of B clips, padded to the same T and N.

    Attributes:
      boxes: float `[B, T, N, 4]`, `[y_min, x_min, y_max, x_max]` of every actor in every frame,
        in 0..1 of the frame.
      actor_mask: bool `[B, N]`, true for actors, false for padded slots; the values in a padded
        slot change nothing.
      clip_mask: bool `[B]`, false for the clips that only fill the last batch of an evaluation.
      frames: uint8 `[B, T, H, W, 3]`, or None where the clips carry features or the boxes are
        enough.
      roi_features: float16 `[B, T, N, h, w, C]`, computed from the frames by
        `models.frame_features.RoiFeatures`, in place of them, or None.
      actor_features: float `[B, T, N, D]`, precomputed, in place of frames, or None.
      appearance: float `[B, S, C]`, features of S whole frames of each clip that were computed
        elsewhere, S = 1 for their mean over time, or None. They have no side: those of a mirrored
        clip are the clip's.
      action: int `[B, N]`, the action of each actor, `UNKNOWN` in padded slots.
      activity: int `[B]`, the activity of the clip, `UNKNOWN` if unlabelled.
      match: str `[B]`, a NumPy array: the name of the source video (the match, the sequence); empty
        for clips that only fill a batch.
      clip: str `[B]`, a NumPy array: the name of the clip within its match; (match, clip)
        identifies a clip.
      frame: int `[B]`, the number of the key frame in the source video, `UNKNOWN` if it is not
        known.
    """

    boxes: Leaf
    actor_mask: Leaf
    clip_mask: Leaf = None
    frames: Leaf = None
    roi_features: Leaf = None
    actor_features: Leaf = None
    appearance: Leaf = None
    action: Leaf = None
    activity: Leaf = None
    match: Leaf = None
    clip: Leaf = None
    frame: Leaf = None

    def without_names(self) -> "Clips":
        """Returns the batch without `match` and `clip`: a device holds numbers, and no text."""
        return dataclasses.replace(self, match=None, clip=None)
