"""A trained model as an object that encodes clips: `stvh_jax.load(path).encode(frames, boxes)`.

Needs JAX and Orbax alone; reads checkpoints from a folder or a bucket.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from stvh_jax import files
from stvh_jax.clips import Clips
from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.packing import binarize, code_lengths, pack
from stvh_jax.codes.readout import Readout
from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.inference import saved_filter
from stvh_jax.inference.clip_checks import (
    check_people,
    checked_arrays,
    finite_appearance,
    finite_features,
)
from stvh_jax.inference.run_variables import variables_of
from stvh_jax.models.baselines import GlobalVideoHasher
from stvh_jax.models.build import Model, build_model, encode
from stvh_jax.models.compiling import jit
from stvh_jax.models.outputs import Outputs
from stvh_jax.models.shapes import variable_shapes
from stvh_jax.models.visual_end import COLLECTION, MODULE
from stvh_jax.runs import checkpoints, folders, packed


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What a model says of B clips.

    Attributes:
      codes: packed codes by focus, from 0 (visual) to L (activity), as far as the model has them. A
        graded code is that of L alone; `Encoder.bit_weights` says what its bits weigh elsewhere.
      activity_probabilities: of the last focus, in the order of `activity_names`; None of a model
        that was trained without labels.
      action_probabilities: of each actor, in the order given; None of a model without actors, or
        one that was trained without labels.
      relaxed: h by focus, what the codes are the signs of; see `Encoder.relaxed`.
      embedded: what a model with a graded code has whitened of what the clips show; else None.
    """

    codes: dict[int, UInt8[np.ndarray, "B bytes"]]
    activity_probabilities: Float[np.ndarray, "B G"] | None
    action_probabilities: Float[np.ndarray, "B N A"] | None
    relaxed: dict[int, Float[np.ndarray, "B K"]]
    embedded: Float[np.ndarray, "B E"] | None = None

    def __repr__(self) -> str:
        shapes = {len(codes): 8 * codes.shape[-1] for codes in self.codes.values()}
        clips, bits = next(iter(shapes.items()), (0, 0))
        foci = ", ".join(map(str, self.codes))
        return f"Encoding({clips} clips, codes of {bits} bits, foci {foci})"


class Encoder:
    """A trained model with its config.

    Attributes:
      names_activities: whether it was taught to, and not trained without labels.
      activity_names: the activities that it names, in the order of their numbers; () for none.
      action_names: the actions, likewise.
    """

    def __init__(
        self,
        config: Config,
        variables: dict,
        *,
        step: int,
        checkpoint: str,
        bits: int | None = None,
        run: epath.Path | None = None,
    ):
        """Wraps the variables of a model of `config`, which includes the class names.

        With `bits`, one of the lengths of nested codes, it makes codes of that many first bits.
        `run` is the folder of its run, if it has one.
        """
        self._run, self._filter_matrix = run, None
        self.config, self.variables = config, jax.device_put(variables)
        self.step, self.checkpoint = step, checkpoint
        self.names_activities = config.get("objective", "supervised") == "supervised"
        named = config if self.names_activities else {}
        self.activity_names: tuple[str, ...] = tuple(named.get("activity_names", ()))
        self.action_names: tuple[str, ...] = tuple(named.get("action_names", ()))
        self.model = model_of(config)
        if not self.model.foci:
            raise UserError(
                "this run classifies frames and has no codes; train a model with codes that "
                "starts from it: --config.train.backbone_weights=ITS_FOLDER"
            )
        lengths = code_lengths(config.model.bits)
        self.bits = lengths[-1] if bits is None else bits
        self.is_whole = self.bits == lengths[-1]
        self.foci, self.bit_weights = self.model.foci, None
        if config.model.get("objective", "printed") == "graded":
            self.foci = self.foci[-1:]
            self.bit_weights = laid_out(
                bits=self.bits, visual_bits=config.model.visual_bits, layers=self.foci[-1]
            )
            _check_fitted(variables)
        if self.bits not in lengths:
            raise UserError(
                f"this run has codes of {' and '.join(map(str, lengths))} bits, not {bits}"
            )
        prefix = self.bits if self.bit_weights is None else None
        encode_step = jit(make_encode_step(self.model, bits=prefix))
        self.apply = lambda variables, clips: encode_step(variables, clips.without_names())

    def __repr__(self) -> str:
        foci = range(self.bit_weights.layers + 1) if self.bit_weights is not None else self.foci
        return (
            f"Encoder({self.config.model.name}, {self.checkpoint} checkpoint of step {self.step}, "
            f"{self.bits} bits, foci {', '.join(map(str, foci))}, "
            f"{len(self.activity_names) or 'no'} activities)"
        )

    @functools.cached_property
    def name(self) -> str:
        """Names the checkpoint by its step and its variables: what else they make is theirs."""
        hashed = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.variables):
            hashed.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
        name = f"{self.step}-{hashed.hexdigest()[:12]}"
        return name if self.is_whole else f"{name}-{self.bits}_bits"

    @property
    def filter_matrix(self) -> FilterMatrix | None:
        """The filter matrix kept in the run of a model with a code for each focus; else None.

        It derives the foci between the first and the last. `evaluate.py` and `search.py index` fit
        one and keep it in the run's folder, `filter_matrix/`; here it is read, and never fitted. A
        packed run comes without. It is the one fitted to the training split with the default
        options, or, without that, the only one of other options.

        Raises:
          Damaged: it cannot be read.
        """
        if self._filter_matrix is None and self._run is not None and len(self.foci) > 1:
            split = self.config.data.train_split
            self._filter_matrix = saved_filter.find(
                self._run, checkpoint=self.name, base_split=split
            )
        return self._filter_matrix

    @property
    def code_format(self) -> dict[str, Any]:
        """What an index stores of each clip: `Index.create(uri, **model.code_format)`.

        With the filter matrix, where there is one, the index is searched at every focus, and with
        the readout, where there is one, by the names of activities.
        """
        return {
            "bits": self.bits,
            "stored_foci": tuple(sorted({self.foci[0], self.foci[-1]})),
            "filter_matrix": self.filter_matrix,
            "bit_weights": self.bit_weights,
            "readout": self.readout,
        }

    @property
    def readout(self) -> Readout | None:
        """What reads the activity from the code of the last focus; None if it names none."""
        if not self.names_activities:
            return None
        return Readout(self.activity_names, *map(np.asarray, jax.device_get(self.activity_head)))

    @property
    def activity_head(self) -> tuple[jax.Array, jax.Array]:
        """The kernel `[K, G]` and bias `[G]` that read the activity from the last focus.

        Those of a graded code read nothing from its visual bits.
        """
        if self.bit_weights is None:
            return self.model.classifier(self.variables["params"], self.bits)
        kernel, bias = self.model.classifier(self.variables["params"], self.model.bits)
        return jnp.pad(kernel, ((0, self.bits - len(kernel)), (0, 0))), bias

    def adapted(self, adaptation: Adaptation | None) -> "Encoder":
        """Gives an encoder whose visual bits are those of an archive.

        Its codes can be compared with others of the same adaptation alone.

        Args:
          adaptation: that of an index (`Index.adaptation`), or fitted to any clips
            (`codes.visual_maps.fit_adaptation`); None for the bits that were trained.

        Raises:
          UserError: the model has no graded code, or other features or visual bits.
        """
        if adaptation is None:
            return self
        if self.bit_weights is None:
            raise UserError(
                "only a graded code can be adapted to an archive; this model has a code for each "
                "focus (config.model.objective=printed)"
            )
        there = self.variables[COLLECTION][MODULE]
        maps = {"projection": adaptation.projection, "offset": adaptation.offset}
        for name, array in maps.items():
            if array.shape != there[name].shape:
                raise UserError(
                    f"the adaptation's {name} has shape {array.shape}, this model's "
                    f"{there[name].shape}; it was fitted to what another model makes of clips"
                )
        variables = {
            **self.variables,
            COLLECTION: {**self.variables[COLLECTION], MODULE: {**there, **maps}},
        }
        bits = None if self.is_whole else self.bits
        return type(self)(
            self.config, variables, step=self.step, checkpoint=self.checkpoint, bits=bits
        )

    def relaxed(self, outputs: Outputs) -> dict[int, Float[np.ndarray, "B K"]]:
        """Gives the codes before the sign by focus; a graded one under the last.

        Its visual part is scaled, clip by clip, to be as large in the mean as the activity's.
        """
        if self.bit_weights is None:
            return dict(zip(self.foci, np.asarray(outputs.relaxed)))
        activity, visual = np.asarray(outputs.relaxed[-1]), np.asarray(outputs.visual)
        sizes = [np.abs(part).mean(axis=-1, keepdims=True) for part in (activity, visual)]
        scale = np.divide(*sizes, out=np.ones_like(sizes[0]), where=sizes[1] > 0)
        return {self.foci[-1]: np.concatenate([activity, scale * visual], axis=-1)}

    def encode(
        self,
        frames: UInt8[np.ndarray, "*B T H W 3"] | None,
        boxes: Float[np.ndarray, "*B T N 4"],
        actor_mask: Bool[np.ndarray, "*B N"] | None = None,
        *,
        actor_features: Float[np.ndarray, "*B T N D"] | None = None,
        appearance: Float[np.ndarray, "*B S C"] | None = None,
    ) -> Encoding:
        """Encodes one clip or a batch of clips.

        Args:
          frames: pixels of any size; None for a model that needs none of them.
          boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame, or a little beyond; up to
            `num_actors` actors, in any order.
          actor_mask: false for padded actors, whose slots may hold anything; None for none.
          actor_features: precomputed features, for a model that takes them in place of frames.
          appearance: features of S whole frames of each clip, for a model that takes them.

        Raises:
          UserError: the clips do not fit the model, a box cannot be one of a person, a clip has
            nobody, or features are not finite.
        """
        clips = self._clips(
            boxes=boxes,
            actor_mask=actor_mask,
            frames=frames,
            actor_features=actor_features,
            appearance=appearance,
        )
        outputs = jax.device_get(self.apply(self.variables, clips))
        relaxed = self.relaxed(outputs)
        finite = np.logical_and.reduce([np.isfinite(h).all(axis=1) for h in relaxed.values()])
        if not finite.all():
            raise UserError(
                f"clip {finite.argmin()} (counted from 0) has no codes: the model makes NaN or "
                "infinity of it; its features or the model's weights are too large"
            )
        activities = actions = None
        if self.names_activities:
            activities, actions = outputs.activity_logits[-1], outputs.action_logits
            activities = np.asarray(jax.nn.softmax(activities))
        if actions is not None:
            actions = np.asarray(jax.nn.softmax(actions))[:, : np.shape(boxes)[-2]]
        return Encoding(
            codes={focus: pack(binarize(h)) for focus, h in relaxed.items()},
            activity_probabilities=activities,
            action_probabilities=actions,
            relaxed=relaxed,
            embedded=outputs.embedded,
        )

    def _arrays(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Checks what `encode` is given, and makes of it what the model takes."""
        return checked_arrays(self.config.model, given)

    def _clips(self, **given: Any) -> Clips:
        arrays = self._arrays(given)
        mask = arrays["actor_mask"]
        if not isinstance(self.model, GlobalVideoHasher):
            check_people(mask)
        if "actor_features" in arrays:
            arrays["actor_features"] = finite_features(arrays["actor_features"], mask)
        if "appearance" in arrays:
            arrays["appearance"] = finite_appearance(arrays["appearance"])
        pad_actors = functools.partial(_pad, size=self.config.model.num_actors)
        source = self.config.model.source
        with np.errstate(over="ignore"):  # what is in the slots of nobody
            boxes = arrays["boxes"].astype(np.float32)
        return Clips(
            boxes=pad_actors(boxes, axis=2),
            actor_mask=pad_actors(mask, axis=1),
            frames=self._resize(arrays["frames"]) if source == "frames" else None,
            actor_features=(
                pad_actors(arrays["actor_features"], axis=2) if source == "features" else None
            ),
            appearance=arrays.get("appearance"),
        )

    def _resize(self, frames: UInt8[np.ndarray, "B T H W 3"]) -> UInt8[jax.Array, "B T h w 3"]:
        """Resizes frames as the training data were: each pixel an average of those it replaces."""
        size = tuple(self.config.data.image_size)
        if frames.shape[2:4] == size:
            return jnp.asarray(frames)
        resized = jax.image.resize(
            frames.astype(np.float32), (*frames.shape[:2], *size, 3), "bilinear", antialias=True
        )
        return jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)


def _check_fitted(variables: dict) -> None:
    """Raises a `UserError` for a checkpoint from the middle of a training with a graded code."""
    if not np.any(variables[COLLECTION][MODULE]["projection"]):
        raise UserError(
            "the visual bits of this checkpoint are not fitted: they are at the end of the "
            "training; finish it with the same train.py command"
        )


def _pad(array, *, axis: int, size: int):
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def model_of(config: Config) -> Model:
    """Builds the model of a run's config, which includes the class names.

    Raises:
      UserError: a field has a value that no model has.
    """
    return build_model(
        config.model,
        activity_names=config.activity_names,
        action_names=config.action_names,
        backbone_options=dict(config.get("backbone_weights", {}).get("options", {})),
    )


def load(path: epath.PathLike, *, checkpoint: str = "best", bits: int | None = None) -> Encoder:
    """Loads a trained model from a run's folder, or from a file that `stvh_jax.cli.share` packed.

    A run may come from anybody: its config is checked field by field, and its arrays are read only
    if they are those of the config's model, which is of a sensible size.

    Args:
      path: the workdir of a run, or a `.zip` of one, local or in a bucket (`gs://...`); the URL of
        a `.zip`, which is fetched once and kept in `~/.cache/stvh_jax/runs`; or the name of a model
        that comes with the library, `volleyball-boxes` or `street-boxes` (docs/models.md).
      checkpoint: `best` on validation (the latest where there was none) or `latest`.
      bits: of nested codes, how many first bits are wanted; all if None.

    Raises:
      UserError: there is no run or no readable checkpoint at `path`, or it has no such bits.
    """
    with files.reading(path, "a run of stvh_jax"):
        run = packed.open_run(path)
        step, checkpoint = checkpoints.choose_step(run, checkpoint)
        config = ConfigDict(folders.read_checkpoint_config(run, step, source=path))
        variables = variables_of(
            run, step, lambda: variable_shapes(model_of(config), config), source=path
        )
    return Encoder(config, variables, step=step, checkpoint=checkpoint, bits=bits, run=run)


def make_encode_step(model: Model, *, bits: int | None = None):
    """Makes `encode(variables, clips) -> Outputs`, the model without training.

    With `bits`, one of the lengths of nested codes, the outputs are those of that many first bits.
    """

    def encode_step(variables: dict, clips: Clips) -> Outputs:
        outputs = encode(model, variables, clips)
        return outputs if bits is None else outputs.prefix(bits)

    return encode_step
