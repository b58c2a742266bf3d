"""A whole encoder in PyTorch, from frames to codes: Inception-v3, RoIAlign, M-STVH."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers import networks
from benchmarks.peers.hasher import Batch, Hasher
from benchmarks.peers.roi_align import by_grid_sample
from stvh_jax.models.config import ModelConfig

STRIDES = ("Mixed_5d", "Mixed_6e")
CHANNELS = 288 + 768


class Encoder(nn.Module):
    """Makes codes of frames and boxes, by random weights.

    Args:
      config: of a model of frames with Inception-v3; `source` is "features" here, for the hasher.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        state = networks.inception_state(np.random.default_rng(0))
        self.state = {name: _channels_last(torch.tensor(value)) for name, value in state.items()}
        visual, size = config.visual, config.features
        self.size, self.samples = visual.roi_size, visual.sampling_ratio
        channels = visual.roi_channels
        self.reduce = nn.Linear(CHANNELS, channels, bias=False)
        self.in_time = nn.Conv3d(channels, channels, 3, padding=(1, 0, 0))
        self.to_vector = nn.Conv2d(channels, size, self.size - 2)
        self.norm = nn.LayerNorm(size)
        self.hasher = Hasher(config)

    @torch.inference_mode()
    def forward(self, frames: Tensor, batch: Batch) -> np.ndarray:
        """Encodes uint8 frames `[T, H, W, 3]` of a clip, one after the other, to packed codes."""
        frame_boxes = batch.boxes[0]
        pooled = torch.stack([self._pool(*one) for one in zip(frames, frame_boxes)])
        reduced = self.reduce(pooled.movedim(2, -1)).movedim(-1, 2)
        # [T, N, C, h, w], of which a convolution in time takes each actor as a clip.
        mixed = functional.relu(self.in_time(reduced.transpose(0, 1).transpose(1, 2)))
        flat = mixed.transpose(1, 2).flatten(0, 1)
        vectors = self.to_vector(flat).flatten(1).unflatten(0, (len(mixed), -1)).transpose(0, 1)
        outputs = self.hasher(batch._replace(features=self.norm(vectors)[None]))
        return np.packbits(outputs.relaxed.numpy() >= 0, axis=-1)

    def _pool(self, frame: Tensor, boxes: Tensor) -> Tensor:
        x = frame.permute(2, 0, 1)[None].float().div(127.5).sub(1)
        maps = networks.inception_maps(self.state, x, last=STRIDES[-1])
        options = {"size": self.size, "samples": self.samples}
        pooled = [by_grid_sample(maps[tap], boxes[None], **options)[0] for tap in STRIDES]
        return torch.cat(pooled, dim=1)


def decoded(jpegs: list[bytes]) -> Tensor:
    """Decodes the frames of a clip."""
    return torch.from_numpy(np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in jpegs]))


def _channels_last(tensor: Tensor) -> Tensor:
    last = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return tensor.contiguous(memory_format=last)
