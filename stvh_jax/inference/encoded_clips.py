"""Encodes the clips of a data set and keeps their codes together with their labels."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from stvh_jax import console
from stvh_jax.clips import Clips
from stvh_jax.codes.packing import binarize, pack
from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class EncodedClips:
    """M encoded clips with their labels, as NumPy arrays.

    Attributes:
      codes: packed codes by focus.
      activity_scores: activity logits of the last focus; None for a model that names no activities.
      activity_scores_from_code: logits of the same head, applied to the binary code instead of h;
        None likewise.
      action_scores: action logits of each actor; None likewise, and for a model without actors.
      activity: activity labels, `UNKNOWN` for unlabelled clips.
      action: action labels of each actor, `UNKNOWN` in padded slots.
      match: names of the source videos, text.
      clip: names of the clips within them, text; (match, clip) identifies a clip.
      frame: numbers of the key frames in the source videos.
      embedded: what a model with a graded code has whitened of what the clips show; else None.
      relaxed: h by focus, see `Encoder.relaxed`; None where it was not kept.
    """

    codes: dict[int, UInt8[np.ndarray, "M bytes"]]
    activity_scores: Float[np.ndarray, "M G"] | None
    activity_scores_from_code: Float[np.ndarray, "M G"] | None
    action_scores: Float[np.ndarray, "M N A"] | None
    activity: Int[np.ndarray, "M"]
    action: Int[np.ndarray, "M N"]
    match: Shaped[np.ndarray, "M"]
    clip: Shaped[np.ndarray, "M"]
    frame: Int[np.ndarray, "M"]
    embedded: Float[np.ndarray, "M E"] | None = None
    relaxed: dict[int, Float[np.ndarray, "M K"]] | None = None

    def __len__(self) -> int:
        """Counts the clips."""
        return len(self.frame)

    @classmethod
    def concatenate(cls, parts: list["EncodedClips"]) -> "EncodedClips":
        """Joins encoded clips of one model."""
        joined = {}
        for field in dataclasses.fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if isinstance(values[0], dict):
                joined[field.name] = {
                    focus: np.concatenate([value[focus] for value in values]) for focus in values[0]
                }
            else:
                joined[field.name] = None if values[0] is None else np.concatenate(values)
        return cls(**joined)


def encode_clips(
    encoder: Encoder, batches: Iterable[Clips], *, keep_relaxed: bool = False, progress=None
) -> EncodedClips:
    """Encodes every clip of evaluation batches, without the clips that only fill a batch.

    Args:
      encoder: a trained model.
      batches: NumPy clips.
      keep_relaxed: whether h is kept, which takes 32 times the space of the codes.
      progress: called after each batch with the number of clips encoded so far.
    """
    named = encoder.names_activities
    kernel, bias = jax.device_get(encoder.activity_head) if named else (None, None)
    parts, done = [], 0
    for clips in batches:
        outputs = jax.device_get(encoder.apply(encoder.variables, clips))
        valid = np.asarray(clips.clip_mask)
        relaxed = {focus: h[valid] for focus, h in encoder.relaxed(outputs).items()}
        actions = outputs.action_logits if named else None
        from_code = binarize(relaxed[encoder.foci[-1]]) @ kernel + bias if named else None
        parts.append(
            EncodedClips(
                codes={focus: pack(binarize(h)) for focus, h in relaxed.items()},
                activity_scores=outputs.activity_logits[-1][valid] if named else None,
                activity_scores_from_code=from_code,
                action_scores=None if actions is None else actions[valid],
                activity=np.asarray(clips.activity)[valid],
                action=np.asarray(clips.action)[valid],
                match=np.asarray(clips.match, np.str_)[valid],
                clip=np.asarray(clips.clip, np.str_)[valid],
                frame=np.asarray(clips.frame)[valid],
                embedded=None if outputs.embedded is None else outputs.embedded[valid],
                relaxed=relaxed if keep_relaxed else None,
            )
        )
        done += int(valid.sum())
        if progress:
            progress(done)
    return EncodedClips.concatenate(parts)


def encode_split(
    encoder: Encoder, dataset, split: str, *, keep_relaxed: bool = False
) -> EncodedClips:
    """Encodes the clips of a split, or of several joined as in "train+test".

    Args:
      encoder: a trained model.
      dataset: an opened data set, see `stvh_jax.dataset.Dataset`.
      split: the name of the split.
      keep_relaxed: see `encode_clips`.
    """
    batches = dataset.evaluation_batches(
        split, batch_size=encoder.config.train.evaluation_batch_size
    )
    show = functools.partial(console.show, f"encoding {split}", dataset.num_clips(split))
    return encode_clips(encoder, batches, keep_relaxed=keep_relaxed, progress=show)


def at_every_focus(encoder: Encoder, clips: EncodedClips) -> EncodedClips:
    """Gives the codes of every focus as codes of their own, where one graded code stands for all.

    Each bit is repeated as often as it weighs (`BitWeights.spread`); the clips of another model
    stay as they are.
    """
    weights = encoder.bit_weights
    if weights is None:
        return clips
    (stored,) = clips.codes.values()
    codes = {focus: weights.spread(stored, focus) for focus in range(weights.layers + 1)}
    return dataclasses.replace(clips, codes=codes)


def join(parts: Mapping[str, EncodedClips], split: str) -> EncodedClips:
    """Joins the encoded splits that a name like "train+validation" stands for."""
    return EncodedClips.concatenate([parts[part] for part in split.split("+")])


def predictions(
    encoder: Encoder, encoded: EncodedClips
) -> tuple[Sequence[str | None], Sequence[float | None]]:
    """Names the activity that each clip seems to be of, and says how probable it is.

    Both are None for every clip where the model names no activities.
    """
    if encoded.activity_scores is None:
        return [None] * len(encoded), [None] * len(encoded)
    probabilities = np.asarray(jax.nn.softmax(encoded.activity_scores))
    named = [encoder.activity_names[label] for label in probabilities.argmax(axis=1)]
    return named, probabilities.max(axis=1).tolist()


def check_same_classes(encoder: Encoder, dataset) -> None:
    """Checks that a data set has the same classes as a model, in the same order.

    Those of a model that names none may be any.

    Raises:
      UserError: it has other classes.
    """
    if not encoder.names_activities:
        return
    for kind in ("activity_names", "action_names"):
        known, found = (tuple(getattr(source, kind)) for source in (encoder, dataset))
        if known != found:
            raise UserError(
                f"the model's {kind} are {', '.join(known)}, those of the data set "
                f"{', '.join(found)}; evaluate it on the variant that it was trained on"
            )
