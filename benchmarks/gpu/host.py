"""What the host can feed a device with: JPEG frames decoded a second, and batches put there.

`decode` is run by processes of its own, which import neither JAX nor this library.
"""

import concurrent.futures
import io
import multiprocessing
import os
import statistics
import time
from typing import Any

import numpy as np
import PIL.Image

ROUNDS = 5


def measure_host(settings: dict[str, Any]) -> dict[str, Any]:
    """Measures frames decoded a second by cores, and bytes a second to the device."""
    size, seconds = ((96, 128), 0.2) if settings.get("small") else ((720, 1280), 1.0)
    cores = len(os.sched_getaffinity(0))
    jpeg = draw_jpeg(*size)
    counts = sorted({1, *(2**power for power in range(1, 8) if 2**power < cores), cores})
    context = multiprocessing.get_context("spawn")
    frames = {}
    with concurrent.futures.ProcessPoolExecutor(cores, mp_context=context) as pool:
        list(pool.map(decode, [jpeg] * cores, [0.0] * cores))  # starts the processes
        for count in counts:
            rates = list(pool.map(decode, [jpeg] * count, [seconds] * count))
            frames[count] = sum(rates)
    return {
        "image_size": size,
        "jpeg_bytes": len(jpeg),
        "cores": cores,
        "frames_per_clip": settings["frames"],
        "decoded_frames_per_second": frames,
        **measure_transfer(size, settings["batch"], settings["frames"]),
    }


def draw_jpeg(height: int, width: int) -> bytes:
    """Draws a frame with smooth parts, edges and noise, as a JPEG of quality 90."""
    rows, columns = np.mgrid[:height, :width]
    random = np.random.default_rng(0)
    smooth = np.stack([rows * 200 / height, columns * 200 / width, (rows + columns) % 97], axis=-1)
    noisy = smooth + random.normal(0, 6, smooth.shape) + 40 * ((rows // 40) % 2)[..., None]
    image = PIL.Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def decode(jpeg: bytes, seconds: float) -> float:
    """Decodes an image again and again, at least once; returns images a second."""
    start, images = time.perf_counter(), 0
    while images == 0 or time.perf_counter() - start < seconds:
        np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert("RGB"))
        images += 1
    return images / (time.perf_counter() - start)


def measure_transfer(size: tuple[int, int], batch: int, frames: int) -> dict[str, Any]:
    """Measures how fast batches of uint8 frames are put onto the device, as in training."""
    import jax

    from stvh_jax.clips import Clips
    from stvh_jax.training import sharding

    mesh = sharding.make_mesh(1)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (batch, frames, *size, 3), np.uint8)
    clips = Clips(boxes=np.zeros((batch, frames, 1, 4), np.float32), actor_mask=None, frames=pixels)
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        put = jax.block_until_ready(sharding.put_batch(clips, mesh))
        times.append(time.perf_counter() - start)
    spent = statistics.median(times[1:])
    return {
        "put_dtype": put.frames.dtype.name,
        "put_seconds": spent,
        "put_bytes_per_second": pixels.nbytes / spent,
        "put_clips_per_second": batch / spent,
    }
