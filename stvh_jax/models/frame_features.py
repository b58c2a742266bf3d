"""Actor features from frames: backbone, RoIAlign, embedding (paper 4.1), and back (Eq 13)."""

import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.backbones.convolution import Conv
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.roi_align import roi_align


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
        summed: Any = sum(padded[:, t : t + frames, ..., t, :] for t in range(3))
        bias = self.param("conv3d_bias", nn.initializers.zeros, (self.hidden,))
        summed += jnp.broadcast_to(bias, summed.shape).astype(self.dtype)
        # A convolution over all that is left is a dense layer.
        vectors = nn.Dense(self.features, dtype=self.dtype, name="conv2d")
        return vectors(nn.relu(summed).reshape(batch, frames, actors, -1))


class FramePool(nn.Module):
    """Backbone and RoIAlign of some frames of each clip."""

    config: ModelConfig

    @nn.compact
    def __call__(self, frames, boxes, train: bool):
        """Pools `frames` `[B, t, H, W, 3]` under `boxes` `[B, t, N, 4]` to `[B, t, N, h, w, C]`."""
        images = frames.reshape(-1, *frames.shape[2:])
        backbone = build_backbone(
            **self.config.visual.backbone, dtype=self.config.dtype, module_name="backbone"
        )
        boxes_of_images = boxes.reshape(-1, *boxes.shape[2:])
        pooled = [self._pool(maps, boxes_of_images) for maps in backbone(images, train=train)]
        # Maps of several strides are joined here, each read at its own.
        roi = jnp.concatenate(pooled, axis=-1)
        return roi.reshape(*boxes.shape[:3], *roi.shape[2:])

    def _pool(self, maps, boxes):
        visual = self.config.visual
        if visual.whole_frame:
            return maps.mean(axis=(1, 2))[:, None, None, None, :]
        return roi_align(
            maps,
            boxes,
            size=visual.roi_size,
            sampling_ratio=visual.sampling_ratio,
            border=visual.roi_border,
        )


class RoiFeatures(nn.Module):
    """frames -> backbone -> RoIAlign: all that costs, and all that a feature cache keeps.

    With `frames_per_chunk` the frames go through the backbone some at a time, computed again in
    the backward pass, so that memory is that of one chunk. What a frozen backbone gives is rounded
    to half precision, as a cache stores it, so that a run is the same with a cache and without.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, frames: UInt8[Array, "B T H W 3"], boxes: Float[Array, "B T N 4"], *, train: bool
    ) -> Float[Array, "B T N h w C"]:
        """Pools the backbone's features under the boxes of each frame."""
        visual = self.config.visual
        train = train and not visual.freeze_backbone
        pool = FramePool(self.config, name="pool")
        if visual.frames_per_chunk:
            roi = self._in_chunks(pool, frames, boxes, train)
        else:
            roi = pool(frames, boxes, train)
        if visual.freeze_backbone:
            roi = jax.lax.stop_gradient(roi).astype(jnp.float16).astype(self.config.dtype)
        return roi

    def _in_chunks(self, pool, frames, boxes, train):
        # The clips stay whole, for they may lie on several devices.
        def split(array):
            batch, _, *rest = array.shape
            parts = array.reshape(batch, -1, self.config.visual.frames_per_chunk, *rest)
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
    """The visual module: frames -> backbone -> RoIAlign -> embedding, and back for M-STVH.

    RoIAlign is linear, so that the 1x1 convolution after it might as well come before, at many
    times the cost (benchmarks/roi_align.py).
    """

    config: ModelConfig

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
          f_v `[B, T, N, D]`, f_roi `[B, T, N, h, w, C]` and its reconstruction or None; with
          `embed="boxes"` f_roi alone.

        Raises:
          ValueError: there are neither frames nor features of them.
        """
        config, visual, dtype = self.config, self.config.visual, self.config.dtype
        if roi_features is not None:
            roi = roi_features.astype(dtype)
        elif frames is not None:
            roi = RoiFeatures(config, name="roi")(frames, boxes, train=train)
        else:
            raise ValueError("the clips carry neither frames nor roi_features")
        if visual.roi_channels:
            roi = nn.Dense(visual.roi_channels, use_bias=False, dtype=dtype, name="reduce")(roi)
        if visual.embed == "boxes":
            return cast(Any, None), roi, None
        shown = roi
        if visual.temporal_contrast:
            shown = jnp.concatenate([roi, roi - roi.mean(axis=1, keepdims=True)], axis=-1)
        if visual.embed == "conv":
            features = ConvolutionalEmbedding(
                config.features, roi.shape[-1], dtype, name="embedding"
            )(shown)
        else:
            flat = shown.reshape(*roi.shape[:3], -1)
            features = nn.Dense(config.features, dtype=dtype, name="embedding")(flat)
        features = nn.LayerNorm(dtype=dtype, name="norm")(features)
        if not config.multi_focus:
            return features, roi, None
        size = math.prod(roi.shape[-3:])
        decoded = nn.Dense(size, dtype=dtype, name="decoder")(features)
        return features, roi, decoded.reshape(roi.shape)
