"""A model of boxes alone whose visual bits say which colours a clip has: same team, same hall.

Boxes know nothing of how people look, but frames do. The activity's bits stay those of the model;
the visual ones are made of `models.colour`, for which nothing is trained.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax.clips import Clips
from stvh_jax.errors import UserError
from stvh_jax.inference.clip_checks import as_array, check_boxes, check_fit, no_boxes
from stvh_jax.inference.encoder import Encoder, Encoding
from stvh_jax.models.colour import CHANNELS, clip_colours, colour_maps
from stvh_jax.models.visual_end import COLLECTION, MODULE


class ColourEncoder(Encoder):
    """A model of boxes and appearance, where the appearance is the colours of a frame."""

    def __init__(self, *args: Any, **options: Any):
        """Takes what an `Encoder` takes; `with_colours` makes one."""
        super().__init__(*args, **options)
        encode_step = self.apply
        self.apply = lambda variables, clips: encode_step(variables, shown_by_colours(clips))

    def encode(
        self,
        frames: UInt8[np.ndarray, "*B T H W 3"] | None,
        boxes: Float[np.ndarray, "*B T N 4"],
        actor_mask: Bool[np.ndarray, "*B N"] | None = None,
        *,
        actor_features: Float[np.ndarray, "*B T N D"] | None = None,
        appearance: Float[np.ndarray, "*B S C"] | None = None,
    ) -> Encoding:
        """Encodes one clip or a batch of clips; see `Encoder.encode`.

        Args:
          frames: pixels of any size, of which the middle frame of each clip counts.
          boxes: see there.
          actor_mask: see there.
          actor_features: none, for this is a model of boxes.
          appearance: none, for it is made of the frames.

        Raises:
          UserError: there are no frames, or see there.
        """
        if boxes is None:
            raise no_boxes()
        if frames is None:
            raise _no_frames()
        if actor_features is not None or appearance is not None:
            raise UserError("this model takes frames and boxes; leave out features and appearance")
        given = {"boxes": boxes, "frames": frames, "actor_mask": actor_mask}
        arrays = {name: as_array(name, value) for name, value in given.items() if value is not None}
        if arrays["boxes"].ndim == 3:
            arrays = {name: array[None] for name, array in arrays.items()}
        fields = self.config.model.copy_and_resolve_references()
        fields.source = "boxes"
        check_fit(fields, arrays)
        batch, _, actors = arrays["boxes"].shape[:3]
        mask = arrays.get("actor_mask", np.ones((batch, actors), bool))
        check_boxes(arrays["boxes"], mask)
        colours = clip_colours(arrays["frames"], arrays["boxes"], mask)
        return super().encode(None, arrays["boxes"], mask, appearance=colours)


def with_colours(encoder: Encoder) -> ColourEncoder:
    """Gives an encoder whose visual bits say which colours a clip has.

    Its codes can be compared with others of its kind alone; in their visual bits with those of any
    model that has as many.

    Args:
      encoder: a model of boxes with a graded code.

    Raises:
      UserError: it is another model.
    """
    if isinstance(encoder, ColourEncoder):
        return encoder
    if encoder.bit_weights is None or encoder.config.model.source != "boxes":
        raise UserError(
            "colours are for models of boxes with one code for all foci (config.model.source=boxes,"
            f" config.model.objective=graded); this is one of {encoder.config.model.source}, with "
            f"objective={encoder.config.model.get('objective', 'printed')}"
        )
    config = encoder.config.copy_and_resolve_references()
    with config.unlocked():
        config.model.update(
            source="boxes_and_appearance", appearance_channels=CHANNELS, visual_code="f_roi"
        )
    maps = dataclasses.asdict(colour_maps(config.model.visual_bits))
    variables = {
        **encoder.variables,
        COLLECTION: {**encoder.variables[COLLECTION], MODULE: maps},
    }
    return ColourEncoder(
        config,
        variables,
        step=encoder.step,
        checkpoint=encoder.checkpoint,
        bits=None if encoder.is_whole else encoder.bits,
    )


def shown_by_colours(clips: Clips) -> Clips:
    """Puts the colours of the frames of clips in the place of their appearance and frames.

    Clips without frames that have their colours already stay as they are.

    Raises:
      UserError: they have neither.
    """
    if clips.frames is None:
        if clips.appearance is None or clips.appearance.shape[-1] != CHANNELS:
            raise _no_frames()
        return clips
    frames, boxes, mask = map(np.asarray, (clips.frames, clips.boxes, clips.actor_mask))
    return dataclasses.replace(clips, frames=None, appearance=clip_colours(frames, boxes, mask))


def _no_frames() -> UserError:
    return UserError(
        "the visual bits say which colours a clip has, and this one has no pixels; give its frames,"
        " or prepare the set with frames"
    )
