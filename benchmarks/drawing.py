"""Numbers that belong to names: the same on every machine, with every version of every library.

They come from the bits of NumPy's PCG64, which never change; and nothing is compiled, which takes
as long for the initialisers of a large model as for a step of its training.
"""

import zlib
from typing import Any

import jax
import numpy as np


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws float32 numbers in 0..1 that belong to a name, the same on every machine."""
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    return ((bits >> np.uint64(40)) * 2.0**-24).astype(np.float32).reshape(shape)


def draw_variables(shapes: Any) -> Any:
    """Draws the variables of a model, of sizes that keep activations of a size."""

    def draw(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        kind, centred = name.rsplit("/", 1)[-1], 2 * uniform(name, leaf.shape) - 1
        if kind in ("scale", "var"):
            return 1 + centred / 2
        if kind == "graph_weight":
            return np.eye(*leaf.shape, dtype=np.float32) + centred / 10
        if len(leaf.shape) < 2:
            return centred / 10
        return centred * np.float32(np.sqrt(6 / np.prod(leaf.shape[:-1])))

    return jax.tree.map_with_path(draw, shapes)
