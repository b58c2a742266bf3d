"""A model of boxes alone whose visual bits say which colours a clip has: same team, same hall.

Boxes know nothing of how people look, but frames do. The activity's bits stay those of the model;
the visual ones are made of `models.colour`, for which nothing is trained.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from stvh_jax.clips import Clips
from stvh_jax.errors import UserError
from stvh_jax.inference.clip_checks import checked_arrays
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models.colour import CHANNELS, clip_colours, colour_maps
from stvh_jax.models.visual_end import COLLECTION, MODULE


class ColourEncoder(Encoder):
    """A model of boxes and appearance, where the appearance is the colours of a frame.

    Its `encode` takes boxes and frames: pixels of any size, of which the middle frame of each clip
    counts.
    """

    def __init__(self, *args: Any, **options: Any):
        """Takes what an `Encoder` takes; `with_colours` makes one."""
        super().__init__(*args, **options)
        encode_step = self.apply
        self.apply = lambda variables, clips: encode_step(variables, shown_by_colours(clips))

    def _arrays(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Checks what `encode` is given, and makes of the frames the appearance."""
        if given["boxes"] is not None and given["frames"] is None:
            raise _no_frames()
        if given["actor_features"] is not None or given["appearance"] is not None:
            raise UserError("this model takes frames and boxes; leave out features and appearance")
        fields = self.config.model.copy_and_resolve_references()
        fields.source = "boxes"
        arrays = checked_arrays(fields, given)
        frames = arrays.pop("frames")
        colours = clip_colours(frames, arrays["boxes"], arrays["actor_mask"])
        return {**arrays, "appearance": colours}


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
