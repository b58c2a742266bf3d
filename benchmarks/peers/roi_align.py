"""RoIAlign in PyTorch and in C++, each as its users would have it."""

import ctypes
import functools
import pathlib
import subprocess
import tempfile

import numpy as np
import torch

_SOURCE = pathlib.Path(__file__).with_name("roi_align.cc")


def by_grid_sample(features: torch.Tensor, boxes: torch.Tensor, *, size: int, samples: int):
    """Pools features `[B, C, H, W]` under boxes `[B, R, 4]` by PyTorch's own interpolation.

    Cells beyond the border are read as the border, whatever their distance.

    Returns:
      `[B, R, C, size, size]`.
    """
    frames, regions = boxes.shape[:2]
    steps = (torch.arange(size * samples) + 0.5) / (size * samples)
    y_min, x_min, y_max, x_max = boxes.unbind(-1)
    y = y_min[..., None] + (y_max - y_min)[..., None] * steps
    x = x_min[..., None] + (x_max - x_min)[..., None] * steps
    y, x = torch.broadcast_tensors(y[..., :, None], x[..., None, :])
    # All regions of a frame are one tall picture of samples.
    grid = torch.stack([x, y], dim=-1).flatten(1, 2) * 2 - 1
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    sampled = torch.nn.functional.grid_sample(features, grid, **options)
    pooled = torch.nn.functional.avg_pool2d(sampled, samples)
    return pooled.unflatten(2, (regions, size)).transpose(1, 2)


@functools.cache
def _library() -> ctypes.CDLL:
    built = pathlib.Path(tempfile.mkdtemp()) / "roi_align.so"
    options = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["g++", *options, str(_SOURCE), "-o", str(built)], check=True)
    return ctypes.CDLL(str(built))


def by_loops(features: np.ndarray, boxes: np.ndarray, *, size: int, samples: int) -> np.ndarray:
    """Pools features `[B, C, H, W]` under boxes `[B, R, 4]` by loops of C++ on one thread.

    Returns:
      `[B, R, C, size, size]`.
    """
    frames, channels, height, width = features.shape
    regions = boxes.shape[1]
    pooled = np.empty((frames, regions, channels, size, size), np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (features, boxes, pooled)]
    numbers = frames, channels, height, width, regions, size, samples
    _library().roi_align(*pointers, *map(ctypes.c_int, numbers))
    return pooled
