"""Actor features f_v by `config.model.source`: from frames, from boxes alone, or given ones.

A source is a function that a model calls while it runs: the Flax modules that it makes become the
model's own.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from stvh_jax.clips import Clips
from stvh_jax.models.box_features import BoxFeatures
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.frame_features import FrameFeatures
from stvh_jax.models.graphs import reorder
from stvh_jax.models.masking import masked_mean
from stvh_jax.models.scene import Scene


class ActorFeatures(NamedTuple):
    """Features of every actor in every frame.

    Attributes:
      features: f_v.
      shown: what they were made from, f_roi for frames.
      decoded: `shown` as decoded from f_v (Eq 13), or None.
    """

    features: Float[Array, "B T N D"]
    shown: Float[Array, "B T N ..."]
    decoded: Float[Array, "B T N ..."] | None


def from_frames(config: ModelConfig, clips: Clips, scene: Scene, *, train: bool) -> ActorFeatures:
    """Reads frames, or the `roi_features` that were made of them before."""
    cached = clips.roi_features
    if cached is not None:
        cached = reorder(cached, scene.order, axis=2)
    module = FrameFeatures(config, name="visual")
    return ActorFeatures(*module(clips.frames, scene.boxes, cached, train=train))


def from_boxes(config: ModelConfig, clips: Clips, scene: Scene, *, train: bool) -> ActorFeatures:
    """Reads the boxes alone."""
    del clips, train
    return ActorFeatures(*BoxFeatures(config, name="boxes")(scene.boxes, scene.mask))


def from_features(config: ModelConfig, clips: Clips, scene: Scene, *, train: bool) -> ActorFeatures:
    """Embeds the `actor_features` that clips carry, of any size; nothing is decoded."""
    del train
    given = reorder(clips.actor_features, scene.order, axis=2)
    given = jnp.where(scene.mask[:, None, :, None], given, 0)
    embedding = nn.Dense(config.features, dtype=config.dtype, name="embedding")
    return ActorFeatures(embedding(given), given, None)


SOURCES: dict[str, Callable[..., ActorFeatures]] = {
    "frames": from_frames,
    "boxes": from_boxes,
    "features": from_features,
}


def reconstruction_error(actors: ActorFeatures, scene: Scene) -> Float[Array, "B"]:
    """Computes the mean squared error of the decoded features (Eq 13), zero where there are none.

    It moves the decoder and what f_v is made with, never its target.
    """
    if actors.decoded is None:
        return jnp.zeros(scene.mask.shape[:1])
    target = jax.lax.stop_gradient(actors.shown.astype(jnp.float32))
    squared = (actors.decoded.astype(jnp.float32) - target) ** 2
    error = masked_mean(squared, scene.mask)
    return error.reshape(error.shape[0], -1).mean(axis=1)
