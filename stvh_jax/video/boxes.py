"""Boxes of one frame against each other: how much they overlap, and which of them say the same."""

import numpy as np
from jaxtyping import Bool, Float, Int


def areas(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    """Measures boxes `[y_min, x_min, y_max, x_max]`; one that is inside out has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def overlaps(
    boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "M 4"]
) -> Float[np.ndarray, "N M"]:
    """Gives the area that two boxes share over the area of both (IoU), for each pair; 0 of none."""
    shared = _shared(boxes, others)
    united = areas(boxes)[:, None] + areas(others)[None] - shared
    return _ratio(shared, united)


def without_repeats(
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, "N"],
    most_overlap: float | int,
) -> Int[np.ndarray, "K"]:
    """Suppresses all but the best of boxes that overlap: greedy non-maximum suppression.

    Args:
      boxes: `[y_min, x_min, y_max, x_max]`.
      scores: how sure each is; of equal scores the earlier box comes first.
      most_overlap: a box with a larger IoU with a better one that is kept is left out.

    Returns:
      The numbers of the boxes that are kept, the best first.
    """
    order = np.argsort(-scores, kind="stable")
    repeats: Bool[np.ndarray, "N N"] = overlaps(boxes[order], boxes[order]) > most_overlap
    left = np.ones(len(order), bool)
    for place in range(len(order)):
        if left[place]:
            left[place + 1 :] &= ~repeats[place, place + 1 :]
    return order[left]


def _shared(
    boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "M 4"]
) -> Float[np.ndarray, "N M"]:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def _ratio(
    part: Float[np.ndarray, "N M"], whole: Float[np.ndarray, "N M"]
) -> Float[np.ndarray, "N M"]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
