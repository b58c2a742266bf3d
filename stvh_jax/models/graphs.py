"""Graphs of boxes: overlaps with an actor's earlier boxes (Eq 1), distances of actors (Eq 2).

Pure functions. Whatever stands in a padded slot changes nothing, and gradients are finite also
where boxes are empty, equal or alone.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

DISTANCES = ("normalised", "literal")
# A spread below the rounding of coordinates in 0..1 is none.
SMALLEST_VARIANCE = jnp.finfo(jnp.float32).eps ** 2


def box_iou(first: Float[Array, "*#b 4"], second: Float[Array, "*#b 4"]) -> Float[Array, "*b"]:
    """Divides the intersection of two boxes by their union, 0 where both are empty.

    Boxes are `[y_min, x_min, y_max, x_max]`; leading axes broadcast. A box whose end lies before
    its start is empty.
    """
    low = jnp.maximum(first[..., :2], second[..., :2])
    high = jnp.minimum(first[..., 2:], second[..., 2:])
    intersection = _area(low, high)
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:])
    union -= intersection
    return jnp.where(union > 0, intersection / jnp.where(union > 0, union, 1), 0)


def _area(low: Float[Array, "*b 2"], high: Float[Array, "*b 2"]) -> Float[Array, "*b"]:
    """Multiplies the sides of boxes, those that run backwards counted as 0."""
    return jnp.maximum(high - low, 0).prod(-1)


def temporal_graph(boxes: Float[Array, "B T N 4"]) -> Float[Array, "B N T T"]:
    """Compares every actor's box with its own earlier boxes, G_T of Eq 1.

    `G_T[b, j, t, t'] = IoU(box_jt, box_jt')` for t' <= t, 0 above the diagonal: row t attends to
    the frames up to its own. The weight matrix W comes later, in the attention.
    """
    tracks = jnp.swapaxes(boxes, 1, 2)
    return jnp.tril(box_iou(tracks[:, :, :, None], tracks[:, :, None, :]))


def spatial_graph(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"], *, form: str = "normalised"
) -> Float[Array, "B T N N"]:
    """Compares the actors of every frame, G_S of Eq 2: 1 - distance, 0 for padded actors.

    With c over the four coordinates and std_c the population standard deviation of c over the
    valid actors of the frame, a coordinate without spread left out:

        normalised:  G_S[i, j] = 1 - sqrt(sum_c ((box_ic - box_jc) / std_c)^2)
        literal:     G_S[i, j] = 1 - sqrt(sum_c (box_ic - box_jc)^2 / std_c)

    Args:
      boxes: `[y_min, x_min, y_max, x_max]`.
      actor_mask: true where an actor stands.
      form: `normalised`, the normalised Euclidean distance, or `literal`, the equation as printed.

    Raises:
      ValueError: `form` is neither.
    """
    if form not in DISTANCES:
        raise ValueError(f"form is {form!r}; choose one of {', '.join(DISTANCES)}")
    valid = actor_mask[:, None, :, None]
    boxes = jnp.where(valid, boxes, 0)
    count = jnp.maximum(valid.sum(2, keepdims=True), 1)
    centred = jnp.where(valid, boxes - boxes.sum(2, keepdims=True) / count, 0)
    variance = jnp.square(centred).sum(2, keepdims=True) / count
    spread = variance > SMALLEST_VARIANCE
    scale = jnp.where(spread, variance, 1)
    if form == "literal":
        scale = jnp.sqrt(scale)
    squared = jnp.square(boxes[:, :, :, None] - boxes[:, :, None, :])
    total = (squared * (spread / scale)[:, :, None]).sum(-1)
    apart = total > 0
    distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, total, 1)), 0)
    pairs = actor_mask[:, None, :, None] & actor_mask[:, None, None, :]
    return jnp.where(pairs, 1 - distance, 0)


def canonical_order(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"], *, key_frame: int
) -> Int[Array, "B N"]:
    """Sorts the actors from left to right, so that the order of a list never matters.

    By x of the box centre at the key frame; ties by y of the centre, then by x_min and y_min, and
    only equal boxes by their places in the list. Padded actors come last.

    Returns:
      `order[b, n]`, the place in the list of the actor that comes n-th.
    """
    y_min, x_min, y_max, x_max = jnp.moveaxis(
        jnp.where(actor_mask[:, :, None], boxes[:, key_frame], 0), -1, 0
    )
    # The last key sorts first.
    return jnp.lexsort((y_min, x_min, y_min + y_max, x_min + x_max, ~actor_mask))


def reorder(
    values: Shaped[Array, "B *rest"], order: Int[Array, "B N"], *, axis: int
) -> Shaped[Array, "B *rest"]:
    """Puts the actors, which lie along `axis` of `values`, into the given order."""
    shape = [1] * values.ndim
    shape[0], shape[axis] = order.shape
    return jnp.take_along_axis(values, order.reshape(shape), axis)


def restore_order(
    values: Shaped[Array, "B *rest"], order: Int[Array, "B N"], *, axis: int
) -> Shaped[Array, "B *rest"]:
    """Undoes `reorder`: puts the actors back into the order of the list."""
    return reorder(values, jnp.argsort(order, axis=-1), axis=axis)
