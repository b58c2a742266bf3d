"""A small backbone, trained from scratch: for the demo, for tests, and where no weights fit."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from stvh_jax.errors import UserError, shown
from stvh_jax.models.backbones.convolution import Conv
from stvh_jax.models.backbones.preprocessing import normalise

MOST_STAGES = 64


class Small(nn.Module):
    """A stack of stages: convolution, group normalisation, ReLU.

    A stage's kernel is 3x3, or as large as its stride where that is more. A first stride of 4
    cuts the frame into patches and is the fast choice: on a CPU, features `(32, 32)` at strides
    `(4, 1)` train almost twice as fast as `(16, 32)` at `(2, 2)`, for a map of the same size.

    Attributes:
      features: C of every stage.
      strides: stride of every stage; 2 each if not given.
      dtype: compute type; parameters are float32.
    """

    features: Sequence[int] = (16, 32, 64)
    strides: Sequence[int] | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, frames: UInt8[Array, "*b height width 3"], *, train: bool
    ) -> tuple[Float[Array, "*b H W C"]]:
        """Computes the maps of the last stage; H is the height over all strides, rounded up.

        Every frame is normalised on its own, in training as in use: `train` changes nothing.

        Raises:
          UserError: features and strides differ in number, or are not whole numbers of 1 or more.
        """
        del train
        _check_sizes("features", self.features)
        strides = (2,) * len(self.features) if self.strides is None else self.strides
        _check_sizes("strides", strides)
        if len(strides) != len(self.features):
            raise UserError(
                f"backbone small has {len(self.features)} features and {len(strides)} strides; "
                "give as many of one as of the other"
            )
        maps = normalise(frames, "symmetric").astype(self.dtype)
        for stage, (channels, stride) in enumerate(zip(self.features, strides)):
            side = max(3, stride)
            maps = Conv(
                channels,
                (side, side),
                strides=stride,
                use_bias=False,
                dtype=self.dtype,
                name=f"conv_{stage}",
            )(maps)
            maps = nn.GroupNorm(
                num_groups=math.gcd(8, channels),
                reduction_axes=(-3, -2, -1),
                dtype=self.dtype,
                name=f"norm_{stage}",
            )(maps)
            maps = nn.relu(maps)
        return (maps,)


def _check_sizes(name: str, values) -> None:
    """Checks that each stage has a size that can be built."""
    fit = isinstance(values, (list, tuple)) and 0 < len(values) <= MOST_STAGES
    if not fit or any(type(value) is not int or not 1 <= value <= 16384 for value in values):
        raise UserError(
            f"config.model.backbone.{name} is {shown(values)}; give one whole number from 1 to "
            f"16384 for each of up to {MOST_STAGES} stages, e.g. (16, 32)"
        )
