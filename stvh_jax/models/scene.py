"""The actors of a batch of clips, in an order of their own: what a model reads of the boxes."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from stvh_jax.clips import Clips
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.graphs import canonical_order, reorder, spatial_graph


class Scene(NamedTuple):
    """Where the actors stand, in canonical order: the order of a list never changes a code.

    Attributes:
      order: the place in the clip's list of the actor that comes n-th.
      mask: true where an actor stands.
      boxes: `[y_min, x_min, y_max, x_max]`, zero in padded slots.
      in_space: G_S of Eq 2.
    """

    order: Int[Array, "B N"]
    mask: Bool[Array, "B N"]
    boxes: Float[Array, "B T N 4"]
    in_space: Float[Array, "B T N N"]


def read_scene(config: ModelConfig, clips: Clips) -> Scene:
    """Puts the actors of each clip in canonical order and compares their places."""
    order = canonical_order(clips.boxes, clips.actor_mask, key_frame=config.key_frame)
    mask = reorder(clips.actor_mask, order, axis=1)
    boxes = jnp.where(mask[:, None, :, None], reorder(clips.boxes, order, axis=2), 0)
    return Scene(order, mask, boxes, spatial_graph(boxes, mask, form=config.fusion.distance))
