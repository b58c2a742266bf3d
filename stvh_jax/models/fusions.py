"""The fusions that `config.model.position` chooses from.

A fusion is a function that a model calls while it runs: the Flax modules that it makes become the
model's own. `fuse(config, features, scene, train=...)` takes a `ModelConfig`, actor features
`[B, T, N, D]` and a `Scene`, and returns a `Fused`: the features after each of the L layers, of the
same shape. docs/extending.md adds one.
"""

from collections.abc import Callable

from stvh_jax.models.config import PLAIN_POSITIONS
from stvh_jax.models.fused import Fused
from stvh_jax.models.interleaving import interleave
from stvh_jax.models.plain_fusion import fuse_plainly

FUSIONS: dict[str, Callable[..., Fused]] = {
    "graphs": interleave,
    **dict.fromkeys(PLAIN_POSITIONS, fuse_plainly),
}
