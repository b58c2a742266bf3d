"""Where the interleaving layers look: the attention maps of O-MFAT and G-MFAT (Fig. 11)."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from stvh_jax.clips import Clips
from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models.compiling import jit
from stvh_jax.models.graphs import canonical_order, restore_order


@dataclasses.dataclass(frozen=True)
class LayerAttention:
    """The attention of one layer of M-STVH for B clips; every row sums to 1.

    Attributes:
      objects: O-MFAT's, from each frame of an actor to each other frame of the same actor.
      group: G-MFAT's, from each actor of a frame to each other, in the order of the clip.
    """

    objects: Float[np.ndarray, "B N T T"]
    group: Float[np.ndarray, "B T N N"]


def attention_by_layer(encoder: Encoder, clips: Clips) -> list[LayerAttention]:
    """Computes the attention of every layer, in order.

    Raises:
      UserError: the model is not an M-STVH with the paper's layers.
    """
    config = encoder.config.model
    if config.name != "mstvh" or config.position != "graphs":
        raise UserError(
            f"a model with name={config.name} and position={config.position} has no O-MFAT and "
            "G-MFAT; give a run with name=mstvh and position=graphs"
        )
    if config.get("symmetric"):
        raise UserError(
            "a symmetric model looks at each clip twice; give a run with symmetric=False"
        )

    @jit
    def look(variables, clips):
        applied: Any = encoder.model.apply(variables, clips, train=False, mutable="intermediates")
        captured = applied[1]
        order = canonical_order(clips.boxes, clips.actor_mask, key_frame=config.key_frame)
        layers = []
        for layer in range(1, config.layers + 1):
            sown: Any = captured["intermediates"][f"layer_{layer}"]
            ((objects,), (group,)) = (sown[part]["attention"] for part in ("object", "group"))
            group = restore_order(restore_order(group, order, axis=2), order, axis=3)
            layers.append((restore_order(objects, order, axis=1), group))
        return layers

    looked = jax.device_get(look(encoder.variables, clips.without_names()))
    return [LayerAttention(np.asarray(objects), np.asarray(group)) for objects, group in looked]
