"""Encodes the clips of a data set, and keeps their codes beside their labels."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

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
      activity_scores: activity logits of the last focus.
      activity_scores_from_code: the same head reading the binary code in place of h.
      action_scores: action logits of each actor; None of a model without actors.
      activity: labels, `UNKNOWN` if none.
      action: labels of each actor, `UNKNOWN` in padded slots.
      ids: (match, clip) of each clip.
    """

    codes: dict[int, UInt8[np.ndarray, "M bytes"]]
    activity_scores: Float[np.ndarray, "M G"]
    activity_scores_from_code: Float[np.ndarray, "M G"]
    action_scores: Float[np.ndarray, "M N A"] | None
    activity: Int[np.ndarray, "M"]
    action: Int[np.ndarray, "M N"]
    ids: Int[np.ndarray, "M 2"]

    def __len__(self) -> int:
        """Counts the clips."""
        return len(self.ids)

    @classmethod
    def concatenate(cls, parts: list["EncodedClips"]) -> "EncodedClips":
        """Joins encoded clips of one model."""
        joined = {}
        for field in dataclasses.fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if field.name != "codes":
                joined[field.name] = None if values[0] is None else np.concatenate(values)
        codes = {
            focus: np.concatenate([part.codes[focus] for part in parts]) for focus in parts[0].codes
        }
        return cls(codes=codes, **joined)


def encode_clips(encoder: Encoder, batches: Iterable[Clips], *, progress=None) -> EncodedClips:
    """Encodes every clip of some evaluation batches; padding clips are left out.

    Args:
      encoder: a trained model.
      batches: NumPy clips.
      progress: called with the number of clips done after each batch.
    """
    head = jax.device_get(encoder.activity_head)
    parts, done = [], 0
    for clips in batches:
        outputs = jax.device_get(encoder.apply(encoder.variables, clips))
        valid = np.asarray(clips.clip_mask)
        relaxed, actions = outputs.relaxed[:, valid], outputs.action_logits
        parts.append(
            EncodedClips(
                codes={focus: pack(binarize(h)) for focus, h in zip(encoder.foci, relaxed)},
                activity_scores=outputs.activity_logits[-1][valid],
                activity_scores_from_code=binarize(relaxed[-1]) @ head["kernel"] + head["bias"],
                action_scores=None if actions is None else actions[valid],
                activity=np.asarray(clips.activity)[valid],
                action=np.asarray(clips.action)[valid],
                ids=np.stack([clips.match, clips.clip], axis=1)[valid],
            )
        )
        done += int(valid.sum())
        if progress:
            progress(done)
    return EncodedClips.concatenate(parts)


def encode_split(encoder: Encoder, dataset, split: str) -> EncodedClips:
    """Encodes the clips of a split, or several as in "train+test", of an opened `ClipDataset`."""
    batches = dataset.evaluation_batches(
        split, batch_size=encoder.config.train.evaluation_batch_size
    )
    show = functools.partial(console.show, f"encoding {split}", dataset.num_clips(split))
    return encode_clips(encoder, batches, progress=show)


def join(parts: Mapping[str, EncodedClips], split: str) -> EncodedClips:
    """Joins the parts that a split is named by: `train+validation` are two."""
    return EncodedClips.concatenate([parts[part] for part in split.split("+")])


def check_same_classes(encoder: Encoder, dataset) -> None:
    """Checks that a data set has the classes that a model knows.

    Raises:
      UserError: it has others.
    """
    for kind in ("activity_names", "action_names"):
        known, found = (tuple(getattr(source, kind)) for source in (encoder, dataset))
        if known != found:
            raise UserError(
                f"the model's {kind} are {', '.join(known)}, those of the data set "
                f"{', '.join(found)}; evaluate it on the variant that it was trained on"
            )
