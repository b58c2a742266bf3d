"""The batch of clips that everything passes, and its axes.

Axes, the same letters everywhere: B clips, T frames, N actors, H W height and width, C channels,
D feature size, K bits, L layers, A actions, G activities; Q queries, M base clips.
"""

import dataclasses

import jax
from jaxtyping import Array, Bool, Float, Int, UInt8

# What an unknown action or activity is stored as; every loss and metric leaves it out.
UNKNOWN = -1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clips:
    """A batch of B clips, NumPy or JAX arrays, padded to the same T and N.

    Attributes:
      boxes: `[y_min, x_min, y_max, x_max]` of every actor in every frame, in 0..1 of the frame.
      actor_mask: true where an actor stands; whatever stands in a false slot changes nothing.
      clip_mask: false for the clips that only fill the last batch of an evaluation.
      frames: pixels, or None where the clips carry features or the boxes are enough.
      actor_features: precomputed actor features in place of frames, or None.
      action: the action of each actor, `UNKNOWN` in padded slots.
      activity: the activity of the clip, `UNKNOWN` if unlabelled.
      match: number of the source video (the match, the sequence).
      clip: number of the clip's key frame in its match; (match, clip) identifies a clip.
    """

    boxes: Float[Array, "B T N 4"]
    actor_mask: Bool[Array, "B N"]
    clip_mask: Bool[Array, "B"] | None = None
    frames: UInt8[Array, "B T H W 3"] | None = None
    actor_features: Float[Array, "B T N D"] | None = None
    action: Int[Array, "B N"] | None = None
    activity: Int[Array, "B"] | None = None
    match: Int[Array, "B"] | None = None
    clip: Int[Array, "B"] | None = None
