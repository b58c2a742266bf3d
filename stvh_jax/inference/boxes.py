"""What boxes may be: in 0..1 of the frame or a little beyond, with the smaller end first."""

import numpy as np
from jaxtyping import Bool, Float

# People leave the frame by a part of its size; pixels are far beyond it.
LEAST, MOST = -0.5, 1.5


def first_fault(
    boxes: Float[np.ndarray, "... 4"], present: Bool[np.ndarray, "..."]
) -> tuple[tuple[int, ...], str] | None:
    """Finds the first box that cannot be one of a person.

    Args:
      boxes: `[y_min, x_min, y_max, x_max]`.
      present: which boxes are a person's; the others may hold anything.

    Returns:
      The place of the box, and what is wrong with it and what to give; None if there is no fault.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    with np.errstate(invalid="ignore"):
        # Comparisons with NaN are false.
        sound = np.all((boxes >= LEAST) & (boxes <= MOST), axis=-1) & np.all(low <= high, axis=-1)
    faults = np.argwhere(present & ~sound)
    if not len(faults):
        return None
    place = tuple(int(index) for index in faults[0])
    box = boxes[place]
    values = ", ".join(f"{value:.4g}" for value in box)
    if not np.isfinite(box).all():
        fault = "is not finite"
    elif box.min() < LEAST or box.max() > MOST:
        fault = "is far beyond the frame; give boxes in 0..1 of it, not in pixels"
    else:
        fault = "is inverted; give y_min, x_min, y_max, x_max"
    return place, f"[{values}] {fault}"
