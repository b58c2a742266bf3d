"""RoIAlign: the features under a box, as a small grid, by bilinear interpolation.

The definition is torchvision's with `aligned=True` and a fixed sampling ratio s. A box is cut into
size x size bins, each bin into s x s samples at the centres of its cells, and a bin's value is the
mean of its samples. A cell (i, j) of the feature map covers the pixels around its centre, so that
position y of the frame, in 0..1, stands at `y * H - 0.5` on the map. What lies outside the map is
read by one of two rules. `clamp`, torchvision's, reads the border within a margin of one cell and
zero beyond it. `zero` reads zero beyond the centres of the outermost cells, as TensorFlow's
`crop_and_resize` does; with one sample a bin it is the rule of ARG and DIN.

A sample is a weighted sum of four cells, its taps. The taps are read by indexing and summed one
by one, which the compiler fuses into a single loop that never stores a sample: on a CPU several
times faster than `map_coordinates` (`benchmarks/roi_align.py`). The gradient adds up the same taps
where they were read.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from stvh_jax.errors import UserError

BORDERS = ("clamp", "zero")


def roi_align(
    features: Float[Array, "B H W C"],
    boxes: Float[Array, "B R 4"],
    *,
    size: int = 5,
    sampling_ratio: int = 2,
    border: str = "clamp",
) -> Float[Array, "B R {size} {size} C"]:
    """Pools the features under R boxes of each frame to size x size bins.

    `out[b, r, p, q] = mean over the s x s samples (y, x) of bin (p, q) of features[b](y, x)`, with
    bilinear interpolation between cells and s the sampling ratio. Sums are taken in float32
    whatever the type of the features, which is also the type of the result.

    The gradient is with respect to the features alone: boxes are measurements, nothing in the
    model produces or trains them, so they get a zero gradient and none is computed. A box that is
    not finite gives zeros.

    Args:
      features: feature maps; B is clips times frames in use.
      boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame; empty boxes are allowed.
      size: number of bins along each side.
      sampling_ratio: number of samples along each side of a bin.
      border: `clamp` or `zero`, the rule for samples outside the map.

    Raises:
      UserError: an unknown `border`.
    """
    if border not in BORDERS:
        raise UserError(f"border is {border!r}; choose {' or '.join(BORDERS)}")
    _, height, width, _ = features.shape
    grid = _Grid((height, width), size, sampling_ratio, border)
    return _align(grid, features, boxes)


class _Grid(NamedTuple):
    """What is known of the samples before the boxes are; `extent` is (H, W)."""

    extent: tuple[int, int]
    size: int
    sampling_ratio: int
    border: str


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _align(grid, features, boxes):
    """Sums the taps of every bin."""

    def pool(frame, frame_boxes):
        rows, columns = _taps(frame_boxes, grid)
        pooled: Any = 0.0
        for row, column in itertools.product(zip(*rows), zip(*columns)):
            index, weight = _cross(row, column)
            cells = frame.at[index].get(mode="promise_in_bounds")
            pooled += cells.astype(jnp.float32) * weight
        return pooled.astype(frame.dtype)

    # Mapped over the frames, not indexed by them: frames on other devices are never fetched.
    return jax.vmap(pool)(features, boxes)


def _align_forward(grid, features, boxes):
    return _align(grid, features, boxes), boxes


def _align_backward(grid, boxes, cotangent):
    """Adds the cotangent of every bin to the bin's taps."""

    def spread(frame_cotangent, frame_boxes):
        rows, columns = _taps(frame_boxes, grid)
        frame_cotangent = frame_cotangent.astype(jnp.float32)

        # A loop, not an unrolled sum: nothing fuses here, and one scatter compiles faster.
        def add(tap, gradient):
            row, column = jnp.divmod(tap, 2 * grid.sampling_ratio)
            index, weight = _cross([a[row] for a in rows], [a[column] for a in columns])
            return gradient.at[index].add(frame_cotangent * weight, mode="promise_in_bounds")

        gradient = jnp.zeros((*grid.extent, frame_cotangent.shape[-1]), jnp.float32)
        return jax.lax.fori_loop(0, (2 * grid.sampling_ratio) ** 2, add, gradient)

    gradient = jax.vmap(spread)(cotangent, boxes)
    return gradient.astype(cotangent.dtype), None


_align.defvjp(_align_forward, _align_backward)


def _cross(row, column):
    """Combines one tap of the rows with one of the columns to (index, weight) on the map.

    index broadcasts to [R, size, size], weight is [R, size, size, 1].
    """
    (y, y_weight), (x, x_weight) = row, column
    weight = y_weight[:, :, None] * x_weight[:, None, :]
    return (y[:, :, None], x[:, None, :]), weight[..., None]


def _taps(boxes: Float[Array, "R 4"], grid: _Grid):
    """Returns the taps of every bin along the rows, and along the columns of the map."""
    y_min, x_min, y_max, x_max = jnp.moveaxis(boxes.astype(jnp.float32), -1, 0)
    height, width = grid.extent
    return _axis_taps(y_min, y_max, height, grid), _axis_taps(x_min, x_max, width, grid)


def _axis_taps(start: Float[Array, "R"], stop: Float[Array, "R"], extent: int, grid: _Grid):
    """Returns (index, weight), each [2 s, R, size], of the taps along one axis of `extent`."""
    samples = (jnp.arange(grid.sampling_ratio) + 0.5) / grid.sampling_ratio
    bins = (jnp.arange(grid.size)[None, :] + samples[:, None])[:, None, :]
    bin_extent = (stop - start) * (extent / grid.size)
    position = (start * extent - 0.5)[None, :, None] + bins * bin_extent[None, :, None]
    first, last = (-1, extent) if grid.border == "clamp" else (0, extent - 1)
    inside = (position >= first) & (position <= last)
    # The outer `where` also catches NaN, so that every index is in bounds.
    position = jnp.where(inside, jnp.clip(position, 0, extent - 1), 0)
    low = position.astype(jnp.int32)
    high = jnp.minimum(low + 1, extent - 1)
    fraction = position - low
    weight = jnp.concatenate([1 - fraction, fraction])
    share = inside / grid.sampling_ratio
    return jnp.concatenate([low, high]), weight * jnp.concatenate([share, share])
