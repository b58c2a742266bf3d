"""Actor features from frames: backbone, RoIAlign, embedding (paper 4.1), and back (Eq 13)."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from stvh_jax.models.backbones import build
from stvh_jax.models.backbones.convolution import Conv
from stvh_jax.models.roi_align import roi_align

# The `roi_size` of features that are of no box.
WHOLE_FRAME = 0


class ConvolutionalEmbedding(nn.Module):
    """Sequential 3D and 2D convolutions, f_roi -> f_v.

    Conv3D 3x3x3 over (T, h, w), padded in time alone, takes 5x5 to 3x3; Conv2D 3x3 takes that to
    one vector of size D. The 3D convolution is a 2D one of each frame, once for the frame before,
    once for the frame itself and once for the one after, and the three summed: the same, and far
    faster on a CPU.
    """

    features: int
    hidden: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, roi: Float[Array, "B T N h w C"]) -> Float[Array, "B T N D"]:
        """Embeds the RoI features of each actor in each frame, over `hidden` channels."""
        batch, frames, actors, height, width, channels = roi.shape
        parts = Conv(
            3 * self.hidden,
            (3, 3),
            padding="VALID",
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(
                1 / 3,
                "fan_in",
                "truncated_normal",  # a third: three such parts are summed
            ),
            name="conv3d",
        )(roi.reshape(-1, height, width, channels))
        parts = parts.reshape(batch, frames, actors, height - 2, width - 2, 3, self.hidden)
        padded = jnp.pad(parts, [(0, 0), (1, 1)] + [(0, 0)] * 5)
        summed = sum(padded[:, t : t + frames, ..., t, :] for t in range(3))
        bias = self.param("conv3d_bias", nn.initializers.zeros, (self.hidden,))
        summed += jnp.broadcast_to(bias, summed.shape).astype(self.dtype)
        # A convolution over all that is left is a dense layer.
        vectors = nn.Dense(self.features, dtype=self.dtype, name="conv2d")
        return vectors(nn.relu(summed).reshape(batch, frames, actors, -1))


class FramePool(nn.Module):
    """Backbone and RoIAlign of some frames of each clip."""

    backbone: Mapping
    roi_size: int
    sampling_ratio: int
    border: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, frames, boxes, train: bool):
        """Pools `frames` `[B, t, H, W, 3]` under `boxes` `[B, t, N, 4]` to `[B, t, N, h, w, C]`."""
        images = frames.reshape(-1, *frames.shape[2:])
        backbone = build.build(**self.backbone, dtype=self.dtype, module_name="backbone")
        boxes_of_images = boxes.reshape(-1, *boxes.shape[2:])
        pooled = [self._pool(maps, boxes_of_images) for maps in backbone(images, train=train)]
        # Maps of several strides are joined here, each read at its own.
        roi = jnp.concatenate(pooled, axis=-1)
        return roi.reshape(*boxes.shape[:3], *roi.shape[2:])

    def _pool(self, maps, boxes):
        if self.roi_size == WHOLE_FRAME:
            return maps.mean(axis=(1, 2))[:, None, None, None, :]
        return roi_align(
            maps,
            boxes,
            size=self.roi_size,
            sampling_ratio=self.sampling_ratio,
            border=self.border,
        )


class RoiFeatures(nn.Module):
    """frames -> backbone -> RoIAlign: all that costs, and all that a feature cache keeps.

    Attributes:
      backbone: options of `build.build`, its `name` among them.
      roi_size: side of the square that RoIAlign samples a box into; `WHOLE_FRAME` takes the mean
        over the map in its place, whatever the one box.
      sampling_ratio: RoIAlign's samples a bin along each axis.
      border: RoIAlign's rule outside the map.
      frames_per_chunk: how many frames of each clip go through the backbone at a time, computed
        again in the backward pass, so that memory is that of one chunk; 0 for all at once.
      frozen: whether the backbone keeps the weights it has. What it gives is then rounded to half
        precision, as a cache stores it, so that a run is the same with a cache and without.
    """

    backbone: Mapping
    roi_size: int
    sampling_ratio: int
    border: str
    frames_per_chunk: int
    frozen: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, frames: UInt8[Array, "B T H W 3"], boxes: Float[Array, "B T N 4"], *, train: bool
    ) -> Float[Array, "B T N h w C"]:
        """Pools the backbone's features under the boxes of each frame."""
        train = train and not self.frozen
        pool = FramePool(
            self.backbone, self.roi_size, self.sampling_ratio, self.border, self.dtype, name="pool"
        )
        if self.frames_per_chunk:
            roi = self._in_chunks(pool, frames, boxes, train)
        else:
            roi = pool(frames, boxes, train)
        if self.frozen:
            roi = jax.lax.stop_gradient(roi).astype(jnp.float16).astype(self.dtype)
        return roi

    def _in_chunks(self, pool, frames, boxes, train):
        # The clips stay whole, for they may lie on several devices.
        def split(array):
            batch, length, *rest = array.shape
            parts = array.reshape(batch, -1, self.frames_per_chunk, *rest)
            return jnp.moveaxis(parts, 1, 0)

        def step(pool, carry, chunk):
            return carry, nn.remat(lambda pool, *arrays: pool(*arrays, train))(pool, *chunk)

        over_chunks = nn.scan(
            step, variable_broadcast=("params", "batch_stats"), split_rngs={"params": False}
        )
        _, roi = over_chunks(pool, None, (split(frames), split(boxes)))
        roi = jnp.moveaxis(roi, 0, 1)
        return roi.reshape(*boxes.shape[:3], *roi.shape[4:])


class FrameFeatures(nn.Module):
    """The visual module: frames -> backbone -> RoIAlign -> embedding.

    Attributes:
      features: D, the size of an actor feature.
      roi: the fields of `RoiFeatures`.
      roi_channels: C of f_roi, by a 1x1 convolution after RoIAlign; 0 for that of the backbone.
        RoIAlign is linear, so that the convolution might as well come before it, at many times
        the cost (benchmarks/roi_align.py).
      embed: `conv`, the paper's 3D and 2D convolutions, or `fc`, one dense layer as the
        literature has it.
      temporal_contrast: whether the embedding also reads each frame's deviation from the actor's
        mean over time.
      reconstruct: whether to decode f_roi from f_v again (Eq 13).
    """

    features: int
    roi: Mapping
    roi_channels: int
    embed: str
    temporal_contrast: bool
    reconstruct: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        frames: UInt8[Array, "B T H W 3"] | None,
        boxes: Float[Array, "B T N 4"],
        roi_features: Float[Array, "B T N h w C"] | None = None,
        *,
        train: bool,
    ):
        """Computes actor features from frames, or from what `RoiFeatures` made of them before.

        Returns:
          f_v `[B, T, N, D]`, f_roi `[B, T, N, h, w, C]` and its reconstruction or None.
        """
        if roi_features is None:
            roi = RoiFeatures(**self.roi, dtype=self.dtype, name="roi")(frames, boxes, train=train)
        else:
            roi = roi_features.astype(self.dtype)
        if self.roi_channels:
            reduce = nn.Dense(self.roi_channels, use_bias=False, dtype=self.dtype, name="reduce")
            roi = reduce(roi)
        shown = roi
        if self.temporal_contrast:
            shown = jnp.concatenate([roi, roi - roi.mean(axis=1, keepdims=True)], axis=-1)
        if self.embed == "conv":
            features = ConvolutionalEmbedding(
                self.features, roi.shape[-1], self.dtype, name="embedding"
            )(shown)
        else:
            flat = shown.reshape(*roi.shape[:3], -1)
            features = nn.Dense(self.features, dtype=self.dtype, name="embedding")(flat)
        features = nn.LayerNorm(dtype=self.dtype, name="norm")(features)
        if not self.reconstruct:
            return features, roi, None
        size = math.prod(roi.shape[-3:])
        decoded = nn.Dense(size, dtype=self.dtype, name="decoder")(features)
        return features, roi, decoded.reshape(roi.shape)


def visual_module(model: nn.Module, *, reconstruct: bool) -> FrameFeatures:
    """Builds the visual module of a model, inside it."""
    return FrameFeatures(
        features=model.features,
        roi=roi_options(model),
        roi_channels=model.roi_channels,
        embed=model.embed,
        temporal_contrast=model.temporal_contrast,
        reconstruct=reconstruct,
        dtype=model.dtype,
        name="visual",
    )


def roi_options(model: nn.Module) -> dict:
    """Picks the fields of `RoiFeatures`, but for its type, from a model."""
    return {
        "backbone": model.backbone,
        "roi_size": model.roi_size,
        "sampling_ratio": model.sampling_ratio,
        "border": model.roi_border,
        "frames_per_chunk": model.frames_per_chunk,
        "frozen": model.freeze_backbone,
    }
