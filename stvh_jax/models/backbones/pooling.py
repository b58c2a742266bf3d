"""Poolings of 3x3 cells, as fast on a CPU as the convolutions around them.

XLA's CPU compiler turns a window into one plain loop over its cells, and the gradient of a maximum
into a search with the place of each cell carried along, which took a third of a training step of
Inception-v3. Here a window is a row of three cells, and then a column of three: slices, combined
element by element, which the compiler fuses and vectorises (benchmarks/backbones.py).
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

ROWS, COLUMNS = -3, -2


def max_pool(
    maps: Float[Array, "*b H W C"],
) -> Float[Array, "*b (H-1)//2 (W-1)//2 C"]:
    """Takes the maximum over windows of 3x3 cells, two cells apart, without padding.

    `nn.max_pool(maps, (3, 3), strides=(2, 2))`. Of equal cells one has the whole gradient.
    """
    return lax.platform_dependent(
        maps,
        cpu=lambda maps: _largest_of_three(_largest_of_three(maps, ROWS), COLUMNS),
        default=lambda maps: nn.max_pool(maps, (3, 3), strides=(2, 2)),
    )


def average_pool(
    maps: Float[Array, "*b H W C"], *, count_padding: bool
) -> Float[Array, "*b H W C"]:
    """Takes the mean over the 3x3 cells around each cell, by the rule for those beyond the border.

    `nn.avg_pool(maps, (3, 3), padding="SAME", count_include_pad=count_padding)`.

    Args:
      maps: the feature maps.
      count_padding: whether cells beyond the border count as zeros; else they are left out.
    """
    summed = _sum_of_three(_sum_of_three(maps, ROWS), COLUMNS)
    if count_padding:
        return summed / 9
    # Of a border 2 of 3 cells are there, of a corner 2 x 2; of a map of one row, that one.
    ones = jnp.ones((*maps.shape[-3:-1], 1))
    counts = _sum_of_three(_sum_of_three(ones, ROWS), COLUMNS)
    share = jnp.expand_dims((1 / counts).astype(maps.dtype), range(maps.ndim - 3))
    return summed * share


def _sum_of_three(maps: Any, axis: int) -> Any:
    """Adds to each cell those before and behind it along an axis; zeros beyond the border."""
    padding = [(0, 0)] * maps.ndim
    padding[axis] = (1, 1)
    padded = jnp.pad(maps, padding)
    size = maps.shape[axis]
    return sum(lax.slice_in_dim(padded, k, k + size, axis=axis % maps.ndim) for k in range(3))


def _largest_of_three(maps, axis: int):
    """Takes the maximum over windows of three cells along an axis, two cells apart."""
    return _largest(axis, maps.shape[axis], maps)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _largest(axis: int, size: int, maps):
    first, middle, last = _three(axis, size, maps)
    return jnp.maximum(jnp.maximum(first, middle), last)


def _three(axis: int, size: int, maps):
    """Gives the first, the middle and the last cell of each window along an axis."""
    behind = 2 * ((size - 1) // 2) - 1
    return [
        lax.slice_in_dim(maps, k, k + behind, stride=2, axis=axis % maps.ndim) for k in range(3)
    ]


def _largest_forward(axis: int, size: int, maps):
    """Keeps which cell of each window is the largest, and none of the cells."""
    first, middle, last = _three(axis, size, maps)
    largest = jnp.maximum(jnp.maximum(first, middle), last)
    is_first = first == largest
    return largest, (is_first, (middle == largest) & ~is_first)


def _largest_backward(axis: int, size: int, saved, cotangent):
    """Gives the cotangent of a window to the first of its cells that is the largest."""
    is_first, is_middle = saved
    nothing = jnp.zeros((), cotangent.dtype)
    of_first = jnp.where(is_first, cotangent, nothing)
    of_middle = jnp.where(is_middle, cotangent, nothing)
    of_last = jnp.where(is_first | is_middle, nothing, cotangent)
    # Cells at even places end one window and begin the next; those between are in one alone.
    axis = axis % cotangent.ndim
    even = _shifted(of_first, axis, (0, 1)) + _shifted(of_last, axis, (1, 0))
    odd = _shifted(of_middle, axis, (0, 1))
    shape = list(even.shape)
    shape[axis] *= 2
    gradient = jnp.stack([even, odd], axis=axis + 1).reshape(shape)
    # The last odd cell is beyond the windows, and beyond the map where the size is odd.
    return (lax.slice_in_dim(gradient, 0, size, axis=axis),)


def _shifted(array, axis: int, widths: tuple[int, int]):
    padding = [(0, 0)] * array.ndim
    padding[axis] = widths
    return jnp.pad(array, padding)


_largest.defvjp(_largest_forward, _largest_backward)
