"""A trained model as an object that encodes clips: `stvh_jax.load(path).encode(frames, boxes)`.

Needs JAX and Orbax alone; reads checkpoints from a folder or a bucket.
"""

import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from stvh_jax.clips import Clips
from stvh_jax.codes.packing import binarize, code_lengths, pack
from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.models.build import Model, build_model, encode
from stvh_jax.models.hash_heads import activity_layer
from stvh_jax.models.outputs import Outputs
from stvh_jax.runs import checkpoints, packed


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What a model says of B clips.

    Attributes:
      codes: packed codes by focus, from 0 (visual) to L (activity), as far as the model has them.
      activity_probabilities: of the last focus, in the order of `activity_names`.
      action_probabilities: of each actor, in the order given; None of a model without actors.
    """

    codes: dict[int, UInt8[np.ndarray, "B bytes"]]
    activity_probabilities: Float[np.ndarray, "B G"]
    action_probabilities: Float[np.ndarray, "B N A"] | None


class Encoder:
    """A trained model with its config."""

    def __init__(
        self,
        config: Config,
        variables: dict,
        *,
        step: int,
        checkpoint: str,
        bits: int | None = None,
    ):
        """Wraps the variables of a model of `config`, which includes the class names.

        With `bits`, one of the lengths of nested codes, it makes codes of that many first bits.
        """
        self.config, self.variables = config, jax.device_put(variables)
        self.step, self.checkpoint = step, checkpoint
        self.activity_names = tuple(config.activity_names)
        self.action_names = tuple(config.action_names)
        self.model = build_model(
            config.model,
            activity_names=self.activity_names,
            action_names=self.action_names,
            backbone_options=dict(config.get("backbone_weights", {}).get("options", {})),
        )
        if not self.model.foci:
            raise UserError(
                "this run classifies frames and has no codes; train a model with codes that "
                "starts from it: --config.train.backbone_weights=ITS_FOLDER"
            )
        self.foci = self.model.foci
        lengths = code_lengths(config.model.bits)
        self.bits = lengths[-1] if bits is None else bits
        if self.bits not in lengths:
            raise UserError(
                f"this run has codes of {' and '.join(map(str, lengths))} bits, not {bits}"
            )
        encode_step = jax.jit(make_encode_step(self.model, bits=self.bits))
        self.apply = lambda variables, clips: encode_step(variables, clips.without_names())

    @functools.cached_property
    def name(self) -> str:
        """Names the checkpoint by its step and its variables: what else they make is theirs."""
        hashed = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.variables):
            hashed.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
        name = f"{self.step}-{hashed.hexdigest()[:12]}"
        return name if self.bits == self.model.bits else f"{name}-{self.bits}_bits"

    @property
    def activity_head(self) -> dict:
        """The `kernel` `[K, G]` and `bias` `[G]` that read the activity from the last focus."""
        head = self.variables["params"][f"head_{self.foci[-1]}"]
        return head[activity_layer(self.bits, self.model.bits)]

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
          actor_features: precomputed features, for a model that takes them in place of frames.

        Raises:
          UserError: the clips do not fit the model.
        """
        clips = self._clips(frames, boxes, actor_mask, actor_features)
        outputs = jax.device_get(self.apply(self.variables, clips))
        actions = outputs.action_logits
        if actions is not None:
            actions = np.asarray(jax.nn.softmax(actions))[:, : np.shape(boxes)[-2]]
        return Encoding(
            codes={
                focus: pack(binarize(relaxed)) for focus, relaxed in zip(self.foci, outputs.relaxed)
            },
            activity_probabilities=np.asarray(jax.nn.softmax(outputs.activity_logits[-1])),
            action_probabilities=actions,
        )

    def _clips(self, frames, boxes, actor_mask, actor_features) -> Clips:
        given = {
            "boxes": boxes,
            "actor_mask": actor_mask,
            "frames": frames,
            "actor_features": actor_features,
        }
        arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
        if arrays["boxes"].ndim == 3:
            arrays = {name: array[None] for name, array in arrays.items()}
        self._check(arrays)
        batch, _, actors = arrays["boxes"].shape[:3]
        mask = arrays.get("actor_mask", np.ones((batch, actors), bool))
        pad_actors = functools.partial(_pad, size=self.config.model.num_actors)
        source = self.config.model.source
        return Clips(
            boxes=pad_actors(arrays["boxes"].astype(np.float32), axis=2),
            actor_mask=pad_actors(mask, axis=1),
            frames=self._resize(arrays["frames"]) if source == "frames" else None,
            actor_features=(
                pad_actors(arrays["actor_features"], axis=2) if source == "features" else None
            ),
        )

    def _check(self, arrays: dict[str, np.ndarray]) -> None:
        """Raises a `UserError` for what does not fit the model or the boxes."""
        model, boxes = self.config.model, arrays["boxes"]
        if boxes.ndim != 4:
            raise UserError(f"boxes have shape {boxes.shape}; give [T, N, 4] or [B, T, N, 4]")
        batch, _, actors = boxes.shape[:3]
        wanted = {
            "boxes": (np.floating, (batch, model.num_frames, actors, 4)),
            "actor_mask": (np.bool_, (batch, actors)),
            "frames": (np.uint8, (batch, model.num_frames, "H", "W", 3)),
            "actor_features": (np.floating, (batch, model.num_frames, actors, model.features)),
        }
        for name, array in arrays.items():
            kind, shape = wanted[name]
            fits = array.ndim == len(shape) and all(
                isinstance(want, str) or want == have for want, have in zip(shape, array.shape)
            )
            if not fits or not np.issubdtype(array.dtype, kind):
                sizes = ", ".join(map(str, shape))
                raise UserError(
                    f"{name} is {array.dtype} {array.shape}; this model takes {kind.__name__} "
                    f"[{sizes}] beside these boxes, with {model.num_frames} frames per clip"
                )
        if actors > model.num_actors:
            raise UserError(
                f"a clip has {actors} actors; this model takes up to {model.num_actors}"
            )
        if model.source == "frames" and "frames" not in arrays:
            raise UserError("this model reads frames; give uint8 pixels [T, H, W, 3]")
        if (model.source == "features") != ("actor_features" in arrays):
            takes = "actor_features; give them" if model.source == "features" else model.source
            raise UserError(f"this model takes {takes}, see config.model.source")

    def _resize(self, frames: UInt8[np.ndarray, "B T H W 3"]) -> UInt8[jax.Array, "B T h w 3"]:
        """Resizes frames as the training data were: each pixel an average of those it replaces."""
        size = tuple(self.config.data.image_size)
        if frames.shape[2:4] == size:
            return jnp.asarray(frames)
        resized = jax.image.resize(
            frames.astype(np.float32), (*frames.shape[:2], *size, 3), "bilinear", antialias=True
        )
        return jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)


def _pad(array, *, axis: int, size: int):
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def load(path: epath.PathLike, *, checkpoint: str = "best", bits: int | None = None) -> Encoder:
    """Loads a trained model from a run's folder, or from a file that `stvh_jax.cli.share` packed.

    Args:
      path: the workdir of a run, or a `.zip` of one, local or in a bucket (`gs://...`); or the URL
        of a `.zip`, which is fetched once and kept in `~/.cache/stvh_jax/runs`.
      checkpoint: `best` on validation (the latest where there was none) or `latest`.
      bits: of nested codes, how many first bits are wanted; all if None.

    Raises:
      UserError: there is no run or no readable checkpoint at `path`, or it has no such bits.
    """
    run = packed.open_run(path)
    step, checkpoint = checkpoints.choose_step(run, checkpoint)
    config = ConfigDict(checkpoints.load_config(run, step))
    variables = checkpoints.load_variables(run, step)
    return Encoder(config, variables, step=step, checkpoint=checkpoint, bits=bits)


def make_encode_step(model: Model, *, bits: int | None = None):
    """Makes `encode(variables, clips) -> Outputs`, the model without training.

    With `bits`, one of the lengths of nested codes, the outputs are those of that many first bits.
    """

    def encode_step(variables: dict, clips: Clips) -> Outputs:
        outputs = encode(model, variables, clips)
        return outputs if bits is None else outputs.prefix(bits)

    return encode_step
