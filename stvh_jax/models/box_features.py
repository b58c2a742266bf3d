"""Actor features from the boxes alone, for studies of position without appearance."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from stvh_jax.models.config import ModelConfig
from stvh_jax.models.neighbours import describe_movement, describe_neighbours

# Sine and cosine features of a box centre, in half periods over the frame.
BOX_FREQUENCIES = (1, 2)
# Sides are taken to be at least this long before their logarithm, in frame heights and widths.
SMALLEST_SIDE = 1e-3


def describe_boxes(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"]
) -> Float[Array, "B T N F"]:
    """Describes each box by where it stands in the frame and among the others.

    Centre, height and width; sines and cosines of the centre; the centre and height standardised
    over the valid actors of the frame; zeros for padded actors. F is 4 + 4 frequencies + 3.
    """
    y_min, x_min, y_max, x_max = jnp.moveaxis(boxes, -1, 0)
    place = jnp.stack([(y_min + y_max) / 2, (x_min + x_max) / 2, y_max - y_min, x_max - x_min], -1)
    angles = [jnp.pi * frequency * place[..., :2] for frequency in BOX_FREQUENCIES]
    waves = [wave(angle) for angle in angles for wave in (jnp.sin, jnp.cos)]
    mask = actor_mask[:, None, :, None]
    count = jnp.maximum(mask.sum(axis=2, keepdims=True), 1)
    local = place[..., :3]
    centred = jnp.where(mask, local - (local * mask).sum(2, keepdims=True) / count, 0)
    spread = jnp.sqrt((centred**2).sum(2, keepdims=True) / count + 1e-6)
    return jnp.where(mask, jnp.concatenate([place, *waves, centred / spread], axis=-1), 0)


def describe_boxes_in_detail(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"]
) -> Float[Array, "B T N 11"]:
    """Describes each box by its edges, its form and its rank in the frame.

    Top and bottom edge; logarithms of height, width and their ratio; sines and cosines of the
    bottom edge, where the feet are; the share of the frame's actors who stand further left, scaled
    to -1..1; the number of actors, in tens. Zeros for padded actors.
    """
    y_min, x_min, y_max, x_max = jnp.moveaxis(boxes, -1, 0)
    height = jnp.log(jnp.maximum(y_max - y_min, SMALLEST_SIDE))
    width = jnp.log(jnp.maximum(x_max - x_min, SMALLEST_SIDE))
    angles = [jnp.pi * frequency * y_max for frequency in BOX_FREQUENCIES]
    waves = [wave(angle) for angle in angles for wave in (jnp.sin, jnp.cos)]
    centre, valid = (x_min + x_max) / 2, actor_mask[:, None, :]
    further_left = (centre[..., None, :] < centre[..., :, None]) & valid[..., None, :]
    count = jnp.broadcast_to(jnp.maximum(valid.sum(-1, keepdims=True), 1), centre.shape)
    rank = 2 * further_left.sum(-1) / count - 1
    detail = [y_min, y_max, height, width, height - width, *waves, rank, count / 10]
    return jnp.where(valid[..., None], jnp.stack(detail, axis=-1), 0)


def describe_motion(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"]
) -> Float[Array, "B T N 8"]:
    """Describes how each box deviates from the actor's mean over the frames.

    Centre (y, x), height and width, in tenths of the actor's mean height (y) or width (x): a step
    is as long near the camera as far from it. Then the same less its mean over the valid actors
    of the frame, which takes the camera's own motion out as far as the boxes of all follow it.
    Zeros for padded actors.
    """
    mask = actor_mask[:, None, :, None]
    y_min, x_min, y_max, x_max = jnp.moveaxis(boxes, -1, 0)
    size = jnp.stack([y_max - y_min, x_max - x_min], axis=-1)
    box = jnp.concatenate([jnp.stack([y_min + y_max, x_min + x_max], axis=-1) / 2, size], axis=-1)
    mean_size = jnp.maximum(size.mean(axis=1, keepdims=True), 1e-3)
    scale = jnp.concatenate([mean_size, mean_size], axis=-1)
    deviation = 10 * (box - box.mean(axis=1, keepdims=True)) / scale
    count = jnp.maximum(mask.sum(axis=2, keepdims=True), 1)
    together = jnp.where(mask, deviation, 0).sum(axis=2, keepdims=True) / count
    return jnp.where(mask, jnp.concatenate([deviation, deviation - together], axis=-1), 0)


class BoxFeatures(nn.Module):
    """Actor features from the boxes alone: `describe_boxes`, then two dense layers.

    What `FrameFeatures` is to pixels, for studies of position without appearance; the description
    takes the place of f_roi, also in the reconstruction. With `detailed_boxes` it includes
    `describe_boxes_in_detail`, with `temporal_contrast` `describe_motion`, with `neighbours`
    `describe_movement` and `describe_neighbours`.
    """

    config: ModelConfig
    decodes: bool = True

    @nn.compact
    def __call__(self, boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"]):
        """Returns f_v `[B, T, N, D]`, the description `[B, T, N, F]` and its reconstruction."""
        config = self.config
        description = describe_boxes(boxes, actor_mask)
        if config.visual.detailed_boxes:
            detail = describe_boxes_in_detail(boxes, actor_mask)
            description = jnp.concatenate([description, detail], axis=-1)
        if config.visual.temporal_contrast:
            motion = describe_motion(boxes, actor_mask)
            description = jnp.concatenate([description, motion], axis=-1)
        if count := config.visual.neighbours:
            movement = describe_movement(boxes, actor_mask)
            others = describe_neighbours(boxes, actor_mask, count=count)
            description = jnp.concatenate([description, movement, others], axis=-1)
        hidden = nn.gelu(nn.Dense(config.features, dtype=config.dtype, name="hidden")(description))
        features = nn.Dense(config.features, dtype=config.dtype, name="embedding")(hidden)
        if not (config.multi_focus and self.decodes):
            return features, description, None
        decoded = nn.Dense(description.shape[-1], dtype=config.dtype, name="decoder")(features)
        return features, description, decoded
