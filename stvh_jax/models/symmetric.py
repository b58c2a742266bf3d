"""STVH and M-STVH to which left and right are alike.

A mirrored clip shows the mirrored activity, `l_set` for `r_set`. Here the network reads the clip
and its mirror image; each gives half of the bits, and what is said of the mirror image is mirrored
back before both are added. So the scores of a mirrored clip are exactly the mirrored scores of the
clip, and its code is the clip's with the halves swapped.

The appearance of whole frames has no side: it would give both halves the same bits. So where focus
0 shows it, that code is made once, of K different bits, and is the same for the mirrored clip.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stvh_jax.clips import Clips
from stvh_jax.mirror import mirror_boxes
from stvh_jax.models.actor_features import pool_appearance
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.hash_heads import VisualHashHead
from stvh_jax.models.hasher import GroupActivityHasher
from stvh_jax.models.outputs import Outputs
from stvh_jax.models.visual_end import MODULE, VisualEnd


class SymmetricHasher(nn.Module):
    """A `GroupActivityHasher` of half the bits, read twice (`symmetric=True`).

    Even bits, counted from 0, are the clip's and odd ones its mirror image's, so that the first
    bits of nested codes have both.
    """

    config: ModelConfig

    @property
    def bits(self) -> int:
        """The length of the codes by focus: K, without the visual bits of a graded code."""
        return self.config.heads.length

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that have a code, from visual to activity."""
        foci = self._half(parent=None).foci
        return (0, *foci) if self._shows_appearance else foci

    def classifier(self, params: Mapping[str, Any], length: int) -> tuple[jax.Array, jax.Array]:
        """Gives the kernel `[length, G]` and bias `[G]` that read the activity from a code."""
        kernel, bias = self._half(parent=None).classifier(params["half"], length // 2)
        image = np.array(self.config.heads.mirrored_activities)
        return interleave(kernel, kernel[:, image], axis=0), bias + bias[image]

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips, each with its mirror image as its neighbour."""
        mask = clips.actor_mask[:, None, :, None]
        seen = Clips(boxes=clips.boxes, actor_mask=clips.actor_mask)
        image = dataclasses.replace(seen, boxes=jnp.where(mask, mirror_boxes(clips.boxes), 0))
        both = jax.tree.map(lambda one, other: interleave(one, other, axis=0), seen, image)
        outputs = self._join(self._half(name="half")(both, train=train))
        views, pooled = outputs.shown, None
        if self.config.visual.source == "boxes_and_appearance":
            # STVH has no focus 0, but is not to take clips without appearance either.
            views, pooled = clips.appearance, pool_appearance(self.config, clips)
        if self.config.heads.objective == "graded":
            visual_end = VisualEnd(self.config.heads.visual_bits, name=MODULE)
            embedded, visual = visual_end(views)
            return dataclasses.replace(outputs, embedded=embedded, visual=visual, shown=views)
        if pooled is None or not self.config.multi_focus:
            return outputs
        visual = VisualHashHead(self.bits, name="head_0")(pooled, train=train)
        relaxed = jnp.concatenate([visual[None], outputs.relaxed])
        return dataclasses.replace(outputs, relaxed=relaxed)

    @property
    def _shows_appearance(self) -> bool:
        """Whether there is a code of focus 0 that shows the appearance of whole frames."""
        printed = self.config.multi_focus and self.config.heads.objective == "printed"
        return printed and self.config.visual.source == "boxes_and_appearance"

    def _half(self, **options) -> GroupActivityHasher:
        heads, visual = self.config.heads, self.config.visual
        is_graded = heads.objective == "graded"
        halved = tuple(length // 2 for length in heads.lengths)
        bits = halved if heads.prefixes else halved[0]
        half = dataclasses.replace(
            self.config,
            visual=dataclasses.replace(visual, source="boxes"),
            heads=dataclasses.replace(
                heads,
                bits=bits,
                symmetric=False,
                objective="printed",
                has_visual_code=not (self._shows_appearance or is_graded),
                gives_views=is_graded,
            ),
        )
        return GroupActivityHasher(half, **options)

    def _join(self, outputs: Outputs) -> Outputs:
        """Joins what was said of the clips, at even places, and of their images, at odd ones."""
        image = np.array(self.config.heads.mirrored_activities)

        def scores(logits: Float[Array, "H B G"]) -> Float[Array, "H C G"]:
            return logits[:, ::2] + logits[:, 1::2, image]

        actions, relation = outputs.action_logits, outputs.relation
        return Outputs(
            relaxed=interleave(outputs.relaxed[:, ::2], outputs.relaxed[:, 1::2], axis=-1),
            activity_logits=scores(outputs.activity_logits),
            action_logits=(actions[::2] + actions[1::2]) / 2,
            relation=interleave(relation[::2], relation[1::2], axis=-1),
            reconstruction_error=outputs.reconstruction_error.reshape(-1, 2).mean(axis=1),
            shown=None if outputs.shown is None else outputs.shown[::2],
            prefix_logits={2 * n: scores(logits) for n, logits in outputs.prefix_logits.items()},
        )


def interleave(one: Array, other: Array, *, axis: int) -> Array:
    """Joins two arrays along an axis, each element of the first before that of the second."""
    axis %= one.ndim
    joined = jnp.stack([one, other], axis=axis + 1)
    return joined.reshape(*one.shape[:axis], 2 * one.shape[axis], *one.shape[axis + 1 :])
