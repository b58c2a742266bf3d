"""The left-to-right mirror image of boxes and of classes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def mirror_boxes(boxes: Float[np.ndarray, "*axes 4"]) -> Float[np.ndarray, "*axes 4"]:
    """Returns the mirrored boxes: x becomes 1 - x, with the two ends swapped."""
    y_min, x_min, y_max, x_max = np.moveaxis(boxes, -1, 0)
    return np.stack([y_min, 1 - x_max, y_max, 1 - x_min], axis=-1)


def mirror_classes(names: Sequence[str]) -> Int[np.ndarray, "A"]:
    """Returns the number of each class's mirror image: `l_x` for `r_x` and the reverse.

    Classes without a side are their own image.
    """
    sides = {"l_": "r_", "r_": "l_"}
    images = [sides.get(name[:2], name[:2]) + name[2:] for name in names]
    return np.array([names.index(image) for image in images], np.int32)
