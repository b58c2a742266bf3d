"""A convolution whose gradient is as fast inside a loop on a CPU as it is outside.

XLA's CPU compiler knows fast code for convolutions in one order of axes only. It brings others into
that order, but not inside the body of a loop, where the gradients that JAX derives take ten to
thirty times as long. Here they are written in that order from the start; frames of a clip can then
go through a backbone one after the other (benchmarks/backbone_memory.py).
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

AXES = ("NHWC", "HWIO", "NHWC")
# What `nn.Conv` passes where nothing of it was asked for.
PLAIN = {
    "lhs_dilation": (1, 1),
    "rhs_dilation": (1, 1),
    "feature_group_count": 1,
    "precision": None,
}


def conv_general_dilated(lhs, rhs, window_strides, padding, **options):
    """Computes what `jax.lax.conv_general_dilated` does for the plain 2D convolutions of `nn.Conv`.

    Args:
      lhs: as `maps` of `convolve`.
      rhs: as its `kernel`.
      window_strides: as its `strides`.
      padding: as there.
      **options: what `nn.Conv` passes besides; all as it is by default.

    Returns:
      What `convolve` returns.

    Raises:
      ValueError: a dilation, groups or a precision were asked for, which are not here.
    """
    for name, value in PLAIN.items():
        if options[name] != value:
            raise ValueError(f"{name} is {options[name]!r}; this convolution knows {value!r} alone")
    return convolve(lhs, rhs, tuple(window_strides), padding)


def convolve(
    maps: Float[Array, "*b H W C"],
    kernel: Float[Array, "h w C D"],
    strides: tuple[int, int],
    padding,
):
    """Convolves the last three axes of maps.

    Args:
      maps: the feature maps.
      kernel: the kernel.
      strides: of rows and columns.
      padding: `SAME`, `VALID`, or cells before and behind, of rows and of columns.

    Returns:
      Maps `[*b, H', W', D]`.
    """
    flat = maps.reshape(-1, *maps.shape[-3:])
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(flat.shape[1:3], kernel.shape[:2], strides, padding)
    convolved: Any = _convolve(strides, tuple(map(tuple, padding)), flat, kernel)
    return convolved.reshape(*maps.shape[:-3], *convolved.shape[1:])


# `nn.Conv` with this gradient.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolve(strides, padding, maps, kernel):
    return lax.conv_general_dilated(maps, kernel, strides, padding, dimension_numbers=AXES)


def _forward(strides, padding, maps, kernel):
    return _convolve(strides, padding, maps, kernel), (maps, kernel)


def _backward(strides, padding, saved, cotangent):
    def derived(maps, kernel, cotangent):
        convolve = functools.partial(
            lax.conv_general_dilated,
            window_strides=strides,
            padding=padding,
            dimension_numbers=AXES,
        )
        return jax.vjp(convolve, maps, kernel)[1](cotangent)

    ordered = functools.partial(_ordered_gradients, strides, padding)
    return lax.platform_dependent(*saved, cotangent, cpu=ordered, default=derived)


def _ordered_gradients(strides, padding, maps, kernel, cotangent):
    """Computes both gradients as convolutions in the order `AXES`."""
    maps_padding, kernel_padding = [], []
    for size, window, stride, (low, _), out in zip(
        maps.shape[1:3], kernel.shape[:2], strides, padding, cotangent.shape[1:3]
    ):
        span = (out - 1) * stride + 1
        maps_padding.append((window - 1 - low, size - span + low))
        kernel_padding.append((low, window - 1 - size - low + span))
    maps_gradient = lax.conv_general_dilated(
        cotangent,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        maps_padding,
        lhs_dilation=strides,
        dimension_numbers=AXES,
    )
    # Channels take the place of the batch, which is what is summed over.
    kernel_gradient = lax.conv_general_dilated(
        maps.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        (1, 1),
        kernel_padding,
        rhs_dilation=strides,
        dimension_numbers=AXES,
    )
    return maps_gradient, kernel_gradient.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)
