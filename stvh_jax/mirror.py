"""The left-to-right mirror image of boxes and of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int


def mirror_boxes(boxes: Any) -> Any:
    """Returns the mirrored boxes `[..., 4]`: x becomes 1 - x, with the two ends swapped.

    Takes NumPy's arrays and JAX's, and returns the same.
    """
    ones = [1] * (boxes.ndim - 1)
    sign, offset = np.reshape([[1, -1, 1, -1], [0, 1, 0, 1]], (2, *ones, 4)).astype(boxes.dtype)
    return offset + sign * boxes[..., np.array([0, 3, 2, 1])]


def mirror_classes(names: Sequence[str]) -> Int[np.ndarray, "A"]:
    """Returns the number of each class's mirror image: `l_x` for `r_x` and the reverse.

    Classes without a side are their own image.

    Raises:
      ValueError: the image of one is no class.
    """
    return np.array([names.index(_image(name)) for name in names], np.int32)


def has_pairs(names: Sequence[str], *, few: int = 1) -> bool:
    """Says whether each class on a side has its image, and there are so `few` pairs at least."""
    sided = [name for name in names if _image(name) != name]
    return len(sided) >= 2 * few and all(_image(name) in names for name in sided)


def _image(name: str) -> str:
    sides = {"l_": "r_", "r_": "l_"}
    return sides.get(name[:2], name[:2]) + name[2:]
