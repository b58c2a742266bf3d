"""Inception-v3 (Szegedy et al., 2016): multiscale features at strides 8 and 16, or the whole.

The network stands here as a table: a block is a tuple of branches, side by side and joined along
the channels; a branch is a tuple of steps, one after the other; a step is a convolution, a pooling
or a fork into branches. Names are those of torchvision.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, UInt8

from stvh_jax.errors import UserError
from stvh_jax.models.backbones.convolution import Conv, convolve
from stvh_jax.models.backbones.pooling import average_pool, max_pool
from stvh_jax.models.backbones.preprocessing import normalise
from stvh_jax.models.backbones.taps import check_taps

BATCH_NORMS = ("frozen", "trained")
EPSILON = 1e-3


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


class Kernel(nn.Module):
    """The kernel `[h, w, C, D]` of a convolution, where `nn.Conv` keeps it."""

    channels: int
    size: tuple[int, int]

    @nn.compact
    def __call__(self, inputs: int):
        """Gives the kernel for maps of so many channels."""
        shape = (*self.size, inputs, self.channels)
        return self.param("kernel", nn.initializers.lecun_normal(), shape)


class RunningNorm(nn.Module):
    """A batch normalisation by running statistics, with the variables of `nn.BatchNorm`."""

    channels: int

    @nn.compact
    def __call__(self):
        """Gives the factor and the offset `[D]` that it comes to: x factor + offset."""
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        scale = self.param("scale", ones, (self.channels,))
        bias = self.param("bias", zeros, (self.channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (self.channels,)).value
        variance = self.variable("batch_stats", "var", jnp.ones, (self.channels,)).value
        factor = scale * lax.rsqrt(variance + EPSILON)
        return factor, bias - mean * factor


class Folded(nn.Module):
    """A `Convolution` with its normalisation by running statistics, which is part of the kernel.

    That is less to compute, and nothing between the two has to be kept for the gradient.
    """

    convolution: Convolution

    @nn.compact
    def __call__(self, inputs: int):
        """Gives the kernel `[h, w, C, D]` and the offset `[D]` for maps of so many channels."""
        channels = self.convolution.channels
        kernel = Kernel(channels, self.convolution.kernel, name="conv")(inputs)
        factor, offset = RunningNorm(channels, name="bn")()
        return kernel * jnp.expand_dims(factor, (0, 1, 2)), offset


class Normalised(nn.Module):
    """A `Convolution` with normalisation by the statistics of the batch."""

    convolution: Convolution
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps):
        """Convolves, normalises and updates the running statistics."""
        _, channels, size, stride, padding = self.convolution
        convolution = Conv(
            channels,
            size,
            strides=stride,
            padding=padding,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )
        norm = nn.BatchNorm(
            use_running_average=False,
            momentum=0.9,
            epsilon=EPSILON,
            dtype=self.dtype,
            name="bn",
        )
        return norm(convolution(maps))


class Block(nn.Module):
    """Branches side by side on one input, joined along the channels."""

    branches: tuple
    batch_norm: str
    count_padding: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps, train: bool):
        """Runs the branches in the order of the table."""
        return self._join(self.branches, maps, train and self.batch_norm == "trained")

    def _join(self, branches, maps, by_batch):
        began = {} if by_batch else self._begin(branches, maps)
        starts = [began.get(branch, (maps, branch)) for branch in branches]
        ends = [self._run(steps, maps, by_batch) for maps, steps in starts]
        return jnp.concatenate(ends, axis=-1)

    def _begin(self, branches, maps):
        """Computes the 1x1 convolutions that branches begin with as one: they read the same maps.

        One behind an average pooling goes before it, where the maps have fewer channels: both are
        linear, and change places.

        Returns:
          By branch, the maps after its first steps and the steps that are left.
        """
        firsts = {}
        for branch in branches:
            index = int(branch[0] == AVERAGE)
            step = branch[index]
            if isinstance(step, Convolution) and (step.kernel, step.stride) == ((1, 1), 1):
                firsts[branch] = index, *self._folded(step, maps)
        if not firsts:
            return {}
        pooled, kernels, offsets = zip(*firsts.values())
        joined = convolve(maps, jnp.concatenate(kernels, axis=-1), (1, 1), "VALID")
        ends = list(itertools.accumulate(len(offset) for offset in offsets))
        began = {}
        for branch, is_pooled, offset, part in zip(
            firsts, pooled, offsets, jnp.split(joined, ends[:-1], axis=-1)
        ):
            if is_pooled:
                part = average_pool(part, count_padding=self.count_padding)
            began[branch] = _cut(part, offset), branch[1 + is_pooled :]
        return began

    def _folded(self, step, maps):
        kernel, offset = Folded(step, name=step.name)(maps.shape[-1])
        return kernel.astype(self.dtype), offset.astype(self.dtype)

    def _run(self, branch, maps, by_batch):
        for step in branch:
            if isinstance(step, Convolution) and by_batch:
                maps = nn.relu(Normalised(step, self.dtype, name=step.name)(maps))
            elif isinstance(step, Convolution):
                kernel, offset = self._folded(step, maps)
                strides = (step.stride, step.stride)
                maps = _cut(convolve(maps, kernel, strides, step.padding), offset)
            elif isinstance(step, Fork):
                maps = self._join(step.branches, maps, by_batch)
            elif step.kind == "average":
                maps = average_pool(maps, count_padding=self.count_padding)
            else:
                maps = max_pool(maps)
        return maps


def _cut(maps, offset):
    """Adds the offset `[D]` and cuts at zero."""
    return nn.relu(maps + jnp.expand_dims(offset, range(maps.ndim - 1)))


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
