"""A trained model as an object that encodes clips: `stvh_jax.load(path).encode(frames, boxes)`.

Needs JAX and Orbax alone; reads checkpoints from a folder or a bucket.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from stvh_jax import checkpoints
from stvh_jax.clips import Clips
from stvh_jax.codes import binarize, pack
from stvh_jax.errors import UserError
from stvh_jax.models import build_model
from stvh_jax.step import make_encode_step


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What a model says of B clips.

    Attributes:
      codes: packed codes by focus, from 0 (visual) to L (activity), as far as the model has them.
      activity_probabilities: of the last focus, in the order of `activity_names`.
      action_probabilities: of each actor, in the order given.
    """

    codes: dict[int, UInt8[np.ndarray, "B K/8"]]
    activity_probabilities: Float[np.ndarray, "B G"]
    action_probabilities: Float[np.ndarray, "B N A"]


class Encoder:
    """A trained model with its config."""

    def __init__(self, config: ConfigDict, variables: dict, *, step: int, checkpoint: str):
        """Wraps the variables of a model of `config`, which includes the class names."""
        self.config, self.variables = config, variables
        self.step, self.checkpoint = step, checkpoint
        self.activity_names = tuple(config.activity_names)
        self.action_names = tuple(config.action_names)
        self.model = build_model(
            config.model, activity_names=self.activity_names, action_names=self.action_names
        )
        self.foci = self.model.foci
        self.apply = jax.jit(make_encode_step(self.model))

    def encode(
        self,
        frames: UInt8[np.ndarray, "*B T H W 3"] | None,
        boxes: Float[np.ndarray, "*B T N 4"],
        actor_mask: Bool[np.ndarray, "*B N"] | None = None,
        *,
        actor_features: Float[np.ndarray, "*B T N D"] | None = None,
    ) -> Encoding:
        """Encodes one clip or a batch of clips.

        Args:
          frames: pixels of any size; None for a model that needs none of them.
          boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame; up to `num_actors` actors,
            in any order.
          actor_mask: false for padded actors; None for none.
          actor_features: precomputed features in place of frames.

        Raises:
          UserError: the clips do not fit the model.
        """
        clips = self._clips(frames, boxes, actor_mask, actor_features)
        outputs = jax.device_get(self.apply(self.variables, clips))
        return Encoding(
            codes={
                focus: pack(binarize(relaxed))
                for focus, relaxed in zip(self.foci, outputs.relaxed)
            },
            activity_probabilities=np.asarray(jax.nn.softmax(outputs.activity_logits[-1])),
            action_probabilities=np.asarray(jax.nn.softmax(outputs.action_logits))[
                :, : np.shape(boxes)[-2]
            ],
        )

    def _clips(self, frames, boxes, actor_mask, actor_features) -> Clips:
        model = self.config.model
        boxes = np.asarray(boxes, np.float32)
        if boxes.ndim == 3:
            boxes, frames, actor_mask, actor_features = (
                None if value is None else np.asarray(value)[None]
                for value in (boxes, frames, actor_mask, actor_features)
            )
        batch, length, actors = boxes.shape[:3]
        if boxes.ndim != 4 or boxes.shape[-1] != 4 or length != model.num_frames:
            raise UserError(
                f"boxes have shape {boxes.shape}; this model takes "
                f"[B, {model.num_frames}, N, 4] (T = {model.num_frames} frames)"
            )
        if actors > model.num_actors:
            raise UserError(
                f"a clip has {actors} actors; this model takes up to {model.num_actors}"
            )
        if actor_mask is None:
            actor_mask = np.ones((batch, actors), bool)
        padding = model.num_actors - actors
        pad_actors = functools.partial(_pad, axis=2, padding=padding)
        if actor_features is None and model.source == "features":
            raise UserError("this model takes actor_features; give them")
        pixels = None
        if actor_features is None and model.source == "frames":
            pixels = self._resize(frames, batch, length)
        return Clips(
            boxes=pad_actors(boxes),
            actor_mask=_pad(np.asarray(actor_mask, bool), axis=1, padding=padding),
            frames=pixels,
            actor_features=None if actor_features is None else pad_actors(actor_features),
        )

    def _resize(self, frames, batch, length) -> UInt8[jax.Array, "B T h w 3"]:
        if frames is None:
            raise UserError("this model reads frames; give uint8 pixels [T, H, W, 3]")
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.shape[:2] != (batch, length) or frames.ndim != 5:
            raise UserError(
                f"frames are {frames.dtype} {frames.shape}; give uint8 "
                f"[{batch}, {length}, H, W, 3] to fit the boxes"
            )
        size = tuple(self.config.data.image_size)
        if frames.shape[2:4] == size:
            return jnp.asarray(frames)
        resized = jax.image.resize(
            frames.astype(np.float32), (batch, length, *size, 3), "bilinear", antialias=False
        )
        return jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)


def _pad(array, *, axis: int, padding: int):
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, padding)
    return np.pad(array, widths)


def load(path: str, *, checkpoint: str = "best") -> Encoder:
    """Loads a trained model from a run's folder, local or in a bucket (`gs://...`).

    Args:
      path: the workdir of a run.
      checkpoint: `best` on validation (the latest where there was none) or `latest`.

    Raises:
      UserError: there is no run or no readable checkpoint at `path`.
    """
    run = epath.Path(path)
    if "://" not in str(path):
        run = run.absolute()
    if checkpoint not in ("best", "latest"):
        raise UserError(f"checkpoint is {checkpoint!r}; choose best or latest")
    step, checkpoint = checkpoints.choose_step(run, checkpoint)
    config = ConfigDict(checkpoints.load_config(run, step))
    return Encoder(config, checkpoints.load_variables(run, step), step=step, checkpoint=checkpoint)
