"""Actor features f_v by `config.model.source`, and what the code of focus 0 shows beside them.

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
from stvh_jax.errors import UserError
from stvh_jax.models.box_features import BoxFeatures
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.frame_features import FrameFeatures
from stvh_jax.models.graphs import reorder
from stvh_jax.models.masking import masked_mean, masked_mean_by_frame
from stvh_jax.models.scene import Scene


class ActorFeatures(NamedTuple):
    """Features of every actor in every frame.

    Attributes:
      features: f_v.
      shown: what they were made from, f_roi for frames.
      decoded: `shown` as decoded from f_v (Eq 13), or None.
      appearance: what focus 0 shows in place of these, or None.
    """

    features: Float[Array, "B T N D"]
    shown: Float[Array, "B T N ..."]
    decoded: Float[Array, "B T N ..."] | None
    appearance: Float[Array, "B C"] | None = None


def from_frames(config: ModelConfig, clips: Clips, scene: Scene, *, train: bool) -> ActorFeatures:
    """Reads frames, or the `roi_features` that were made of them before.

    With `embed="boxes"` these are only shown, and f_v is that of the boxes.
    """
    cached = clips.roi_features
    if cached is not None:
        cached = reorder(cached, scene.order, axis=2)
    module = FrameFeatures(config, name="visual")
    actors = ActorFeatures(*module(clips.frames, scene.boxes, cached, train=train))
    if config.visual.embed != "boxes":
        return actors
    features, _, _ = BoxFeatures(config, decodes=False, name="boxes")(scene.boxes, scene.mask)
    return actors._replace(features=features)


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


def from_boxes_and_appearance(
    config: ModelConfig, clips: Clips, scene: Scene, *, train: bool
) -> ActorFeatures:
    """Reads the boxes, and beside them the `appearance` that clips carry.

    The actor features are those of the boxes alone: whole frames show which match it is, and little
    of the activity.

    Raises:
      UserError: the clips carry no such appearance.
    """
    actors = from_boxes(config, clips, scene, train=train)
    return actors._replace(appearance=pool_appearance(config, clips))


def pool_appearance(config: ModelConfig, clips: Clips) -> Float[Array, "B C"]:
    """Averages the appearance that clips carry over their frames, in fp32.

    Raises:
      UserError: they carry none, or one of other channels than the config's.
    """
    channels = config.visual.appearance_channels
    if clips.appearance is None:
        raise UserError(
            "config.model.source=boxes_and_appearance needs clips with appearance, and these have "
            "none; prepare them with --features, or use source=boxes"
        )
    if clips.appearance.ndim != 3 or clips.appearance.shape[-1] != channels:
        raise UserError(
            f"the appearance of the clips is {list(clips.appearance.shape)}; config.model."
            f"appearance_channels={channels} needs [clips, frames, {channels}]"
        )
    return clips.appearance.astype(jnp.float32).mean(axis=1)


SOURCES: dict[str, Callable[..., ActorFeatures]] = {
    "frames": from_frames,
    "boxes": from_boxes,
    "features": from_features,
    "boxes_and_appearance": from_boxes_and_appearance,
}


def pool_shown(config: ModelConfig, actors: ActorFeatures, scene: Scene) -> Float[Array, "B C"]:
    """Gives what the code of focus 0 shows: the appearance, or a mean over frames and actors."""
    if actors.appearance is not None:
        return actors.appearance
    shown = actors.features if config.heads.visual_code == "f_v" else actors.shown
    pooled = masked_mean(shown, scene.mask)
    return pooled.reshape(pooled.shape[0], -1)


def views_of(
    config: ModelConfig, clips: Clips, actors: ActorFeatures, scene: Scene
) -> Float[Array, "B S C"]:
    """Gives what each frame shows: the appearance, or a mean over its actors."""
    if actors.appearance is not None:
        return clips.appearance
    shown = actors.features if config.heads.visual_code == "f_v" else actors.shown
    by_frame = masked_mean_by_frame(shown, scene.mask)
    return by_frame.reshape(*by_frame.shape[:2], -1)


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
