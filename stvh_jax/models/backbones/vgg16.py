"""VGG-16 (Simonyan and Zisserman, 2015) up to the last pooling: 512 channels at 1/32."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from stvh_jax.models.backbones.convolution import Conv
from stvh_jax.models.backbones.preprocessing import normalise
from stvh_jax.models.backbones.taps import check_taps

# Channels and convolutions of each block; a pooling follows each.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
TAPS = tuple(f"pool{block}" for block in range(1, len(BLOCKS) + 1))


class Block(nn.Module):
    """Convolutions 3x3 with ReLU, then 2x2 maximum pooling."""

    number: int
    channels: int
    convolutions: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps):
        """Halves the height and width, rounded down."""
        for index in range(1, self.convolutions + 1):
            name = f"conv{self.number}_{index}"
            maps = nn.relu(Conv(self.channels, (3, 3), dtype=self.dtype, name=name)(maps))
        return halve(maps)


def halve(maps: Float[Array, "*b H W C"]) -> Float[Array, "*b H//2 W//2 C"]:
    """Takes the maximum over cells of 2x2; an odd last row or column is left out.

    The same as `nn.max_pool`, but a frame of 360x640 trains in 1.1 GiB on a CPU in place of 1.5.
    Where two of the four are equal, both have a part in the gradient.
    """
    height, width = maps.shape[-3] // 2, maps.shape[-2] // 2
    maps = maps[..., : 2 * height, : 2 * width, :]
    cells = maps.reshape(*maps.shape[:-3], height, 2, width, 2, maps.shape[-1])
    rows = jnp.maximum(cells[..., 0, :, :, :], cells[..., 1, :, :, :])
    return jnp.maximum(rows[..., 0, :], rows[..., 1, :])


class VGG16(nn.Module):
    """VGG-16 without its dense layers.

    Attributes:
      normalisation: of the pixels; a file of weights says which its own is.
      din_compat: feeds the network -1..1 whatever its weights were trained on, as the code of
        DIN and of others after it does.
      remat: computes each block's activations again in the backward pass instead of keeping them.
      dtype: compute type; parameters are float32.
    """

    normalisation: str = "imagenet"
    din_compat: bool = False
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        frames: UInt8[Array, "*b height width 3"],
        *,
        train: bool,
        taps: Sequence[str] = ("pool5",),
    ) -> tuple:
        """Computes the feature maps `[*b, H, W, C]` after the poolings named `pool1` to `pool5`.

        Raises:
          UserError: an unknown tap or `normalisation`.
        """
        del train
        check_taps(taps, TAPS)
        maps = normalise(frames, "symmetric" if self.din_compat else self.normalisation)
        maps = maps.astype(self.dtype)
        block_type = nn.remat(Block) if self.remat else Block
        found = {}
        for number, (channels, convolutions) in enumerate(BLOCKS, start=1):
            block = block_type(number, channels, convolutions, self.dtype, name=f"block{number}")
            found[f"pool{number}"] = maps = block(maps)
            if set(taps) <= set(found):
                break
        return tuple(found[tap] for tap in taps)
