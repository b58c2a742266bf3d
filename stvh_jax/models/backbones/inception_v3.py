"""Inception-v3 (Szegedy et al., 2016): multiscale features at strides 8 and 16, or the whole.

The network stands here as a table: a block is a tuple of branches, side by side and joined along
the channels; a branch is a tuple of steps, one after the other; a step is a convolution, a pooling
or a fork into branches. Names are those of torchvision.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, UInt8

from stvh_jax.errors import UserError
from stvh_jax.models.backbones.convolution import Conv
from stvh_jax.models.backbones.preprocessing import normalise
from stvh_jax.models.backbones.taps import check_taps

BATCH_NORMS = ("frozen", "trained")


class Convolution(NamedTuple):
    """A convolution without bias, batch normalisation, ReLU."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class Pooling(NamedTuple):
    """3x3 pooling: the average at stride 1, or the maximum at stride 2 without padding."""

    kind: str


class Fork(NamedTuple):
    """Branches that continue one branch, joined along the channels."""

    branches: tuple


AVERAGE, MAXIMUM = Pooling("average"), Pooling("maximum")
HALVING = {"kernel": (3, 3), "stride": 2, "padding": "VALID"}
STEM = (
    Convolution("Conv2d_1a_3x3", 32, **HALVING),
    Convolution("Conv2d_2a_3x3", 32, (3, 3), padding="VALID"),
    Convolution("Conv2d_2b_3x3", 64, (3, 3)),
    MAXIMUM,
    Convolution("Conv2d_3b_1x1", 80, padding="VALID"),
    Convolution("Conv2d_4a_3x3", 192, (3, 3), padding="VALID"),
    MAXIMUM,
)


def _mixed_5(pooled: int) -> tuple:
    return (
        (Convolution("branch1x1", 64),),
        (Convolution("branch5x5_1", 48), Convolution("branch5x5_2", 64, (5, 5))),
        (
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3)),
        ),
        (AVERAGE, Convolution("branch_pool", pooled)),
    )


def _mixed_6(inner: int) -> tuple:
    return (
        (Convolution("branch1x1", 192),),
        (
            Convolution("branch7x7_1", inner),
            Convolution("branch7x7_2", inner, (1, 7)),
            Convolution("branch7x7_3", 192, (7, 1)),
        ),
        (
            Convolution("branch7x7dbl_1", inner),
            Convolution("branch7x7dbl_2", inner, (7, 1)),
            Convolution("branch7x7dbl_3", inner, (1, 7)),
            Convolution("branch7x7dbl_4", inner, (7, 1)),
            Convolution("branch7x7dbl_5", 192, (1, 7)),
        ),
        (AVERAGE, Convolution("branch_pool", 192)),
    )


def _mixed_7() -> tuple:
    return (
        (Convolution("branch1x1", 320),),
        (
            Convolution("branch3x3_1", 384),
            Fork(
                (
                    (Convolution("branch3x3_2a", 384, (1, 3)),),
                    (Convolution("branch3x3_2b", 384, (3, 1)),),
                )
            ),
        ),
        (
            Convolution("branch3x3dbl_1", 448),
            Convolution("branch3x3dbl_2", 384, (3, 3)),
            Fork(
                (
                    (Convolution("branch3x3dbl_3a", 384, (1, 3)),),
                    (Convolution("branch3x3dbl_3b", 384, (3, 1)),),
                )
            ),
        ),
        (AVERAGE, Convolution("branch_pool", 192)),
    )


MIXED = {
    "Mixed_5b": _mixed_5(32),
    "Mixed_5c": _mixed_5(64),
    "Mixed_5d": _mixed_5(64),
    "Mixed_6a": (
        (Convolution("branch3x3", 384, **HALVING),),
        (
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, **HALVING),
        ),
        (MAXIMUM,),
    ),
    "Mixed_6b": _mixed_6(128),
    "Mixed_6c": _mixed_6(160),
    "Mixed_6d": _mixed_6(160),
    "Mixed_6e": _mixed_6(192),
    "Mixed_7a": (
        (Convolution("branch3x3_1", 192), Convolution("branch3x3_2", 320, **HALVING)),
        (
            Convolution("branch7x7x3_1", 192),
            Convolution("branch7x7x3_2", 192, (1, 7)),
            Convolution("branch7x7x3_3", 192, (7, 1)),
            Convolution("branch7x7x3_4", 192, **HALVING),
        ),
        (MAXIMUM,),
    ),
    "Mixed_7b": _mixed_7(),
    "Mixed_7c": _mixed_7(),
}
TAPS = (*MIXED, "pooled")


def convolutions(branch: Sequence, depth: int = 0) -> Iterator[tuple[Convolution, int]]:
    """Lists the convolutions of a branch in the order of the table.

    Yields:
      A convolution and its number of layers to the end of the block, `depth` beyond the branch:
      three of a convolution (its own, the normalisation, the ReLU), one of a pooling or a join.
    """
    for index, step in enumerate(branch):
        below = depth + sum(_layers(later) for later in branch[index + 1 :])
        if isinstance(step, Convolution):
            yield step, below + 3
        elif isinstance(step, Fork):
            for fork in step.branches:
                yield from convolutions(fork, below + 1)


def _layers(step) -> int:
    if isinstance(step, Fork):
        return 1 + max(sum(map(_layers, branch)) for branch in step.branches)
    return 3 if isinstance(step, Convolution) else 1


class ConvolutionUnit(nn.Module):
    """A `Convolution` of the table."""

    convolution: Convolution
    batch_norm: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps, train: bool):
        """Convolves, normalises by running or by batch statistics, and cuts at zero."""
        _, channels, kernel, stride, padding = self.convolution
        maps = Conv(
            channels,
            kernel,
            strides=stride,
            padding=padding,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(maps)
        norm = nn.BatchNorm(
            use_running_average=not train or self.batch_norm == "frozen",
            momentum=0.9,
            epsilon=1e-3,
            dtype=self.dtype,
            name="bn",
        )
        return nn.relu(norm(maps))


class Block(nn.Module):
    """Branches side by side on one input, joined along the channels."""

    branches: tuple
    batch_norm: str
    count_padding: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps, train: bool):
        """Runs the branches in the order of the table."""
        return self._join(self.branches, maps, train)

    def _join(self, branches, maps, train):
        return jnp.concatenate([self._run(branch, maps, train) for branch in branches], axis=-1)

    def _run(self, branch, maps, train):
        for step in branch:
            if isinstance(step, Convolution):
                unit = ConvolutionUnit(step, self.batch_norm, self.dtype, name=step.name)
                maps = unit(maps, train)
            elif isinstance(step, Fork):
                maps = self._join(step.branches, maps, train)
            elif step.kind == "average":
                maps = nn.avg_pool(
                    maps, (3, 3), padding="SAME", count_include_pad=self.count_padding
                )
            else:
                maps = nn.max_pool(maps, (3, 3), strides=(2, 2))
        return maps


class InceptionV3(nn.Module):
    """Inception-v3 without its dense layer.

    Attributes:
      batch_norm: `frozen`, the running statistics of the weights also in training, or `trained`.
      count_padding: whether the average poolings count padded cells as zeros (torchvision) or
        leave them out (Keras); a file of weights says which.
      normalisation: of the pixels; a file of weights says which its own is.
      remat: computes each block's activations again in the backward pass instead of keeping them.
      dtype: compute type; parameters are float32.
    """

    batch_norm: str = "frozen"
    count_padding: bool = False
    normalisation: str = "symmetric"
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        frames: UInt8[Array, "*b height width 3"],
        *,
        train: bool,
        taps: Sequence[str] = ("Mixed_5d", "Mixed_6e"),
    ) -> tuple:
        """Computes the feature maps after the blocks named in `taps`, as far as these need.

        Returns:
          A map `[*b, H, W, C]` for each tap, 288 channels at stride 8 and 768 at stride 16 for
          the two by default; `pooled` is `[*b, 2048]`, the mean over Mixed_7c.

        Raises:
          UserError: an unknown tap, `batch_norm` or `normalisation`.
        """
        check_taps(taps, TAPS)
        if self.batch_norm not in BATCH_NORMS:
            raise UserError(f"batch_norm is {self.batch_norm!r}; choose {' or '.join(BATCH_NORMS)}")
        maps = normalise(frames, self.normalisation).astype(self.dtype)
        options = (self.batch_norm, self.count_padding, self.dtype)
        block_type = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        maps = block_type((STEM,), *options, name="stem")(maps, train)
        found = {}
        for name, branches in MIXED.items():
            if set(taps) <= set(found):
                break
            found[name] = maps = block_type(branches, *options, name=name)(maps, train)
        if "pooled" in taps:
            found["pooled"] = maps.mean(axis=(-3, -2))
        return tuple(found[tap] for tap in taps)
