"""Time and memory of the backbones with RoIAlign, for each way to save memory: read the ratios.

"kept" is what the forward pass keeps for the backward pass, computed from the shapes; "peak" is the
memory of the whole process, compiling included. XLA's CPU compiler notices what remat computes
twice and computes it once, so that remat saves nothing on a CPU.

python -m benchmarks.backbone_memory [--backbone vgg16] [--frames 2] [--image-size 720 1280]

Each row is measured in its own process, to know the peak memory. Weights and frames are random.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.roi_align import people
from stvh_jax.models.config import ModelConfig, VisualConfig
from stvh_jax.models.frame_features import RoiFeatures

# By name: whether the gradient is computed, and the fields of `RoiFeatures` that differ.
WAYS = {
    "forward": (False, {}),
    "forward, one frame at a time": (False, {"frames_per_chunk": 1}),
    "training": (True, {}),
    "training, remat": (True, {"remat": True}),
    "training, one frame at a time": (True, {"frames_per_chunk": 1}),
    "training, one frame at a time, remat": (True, {"frames_per_chunk": 1, "remat": True}),
}


def measure(way, backbone, frames, size, dtype, repeats):
    """Measures one way in this process: seconds per run, and memory in GiB."""
    gradient, fields = WAYS[way]
    visual = VisualConfig(
        backbone={"name": backbone, "remat": fields.get("remat", False)},
        frames_per_chunk=fields.get("frames_per_chunk", 0),
    )
    module = RoiFeatures(ModelConfig(visual=visual, num_frames=frames, key_frame=0, dtype=dtype))
    random = np.random.default_rng(0)
    pixels = jnp.asarray(random.integers(0, 256, (1, frames, *size, 3)), jnp.uint8)
    boxes = jnp.asarray(people())[None, :frames]
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), pixels, boxes, train=False))
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.03, leaf.shape) + (leaf.ndim == 1), leaf.dtype),
        shapes,
    )

    def total(params):
        roi: Any = module.apply({**variables, "params": params}, pixels, boxes, train=True)
        return jnp.square(roi.astype(jnp.float32)).mean()

    kept = jax.eval_shape(lambda params: jax.vjp(total, params)[1], variables["params"])
    function = jax.jit(jax.grad(total) if gradient else total)
    spent = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(variables["params"]))
        spent.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if stats := jax.devices()[0].memory_stats():
        peak = stats["peak_bytes_in_use"] / 2**30
    return {
        "seconds": statistics.median(spent[1:]),
        "first": spent[0],
        "peak": peak,
        "kept": sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
        * gradient
        / 2**30,
    }


def main():
    """Prints one row per way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="inception_v3", choices=["inception_v3", "vgg16"])
    parser.add_argument("--frames", type=int, default=2, help="frames of the clip, 10 at most")
    parser.add_argument("--image-size", type=int, nargs=2, default=(720, 1280))
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each way")
    parser.add_argument("--way", choices=WAYS, help="measure only this way, in this process")
    given = parser.parse_args()
    options = (given.backbone, given.frames, tuple(given.image_size), given.dtype, given.repeats)
    if given.way:
        print(json.dumps(measure(given.way, *options)))
        return
    print(f"{given.backbone}, {given.frames} frames of {given.image_size}, {given.dtype}")
    print(f"{'':38} s a frame  ratio  kept GiB  peak GiB  first run s")
    first = None
    for way in WAYS:
        child = [sys.executable, "-m", "benchmarks.backbone_memory", *sys.argv[1:], "--way", way]
        found = json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
        seconds = found["seconds"] / given.frames
        first = first or seconds
        row = f"{way:38} {seconds:9.2f} {seconds / first:6.2f} {found['kept']:9.2f}"
        print(f"{row} {found['peak']:9.2f} {found['first']:12.1f}", flush=True)


if __name__ == "__main__":
    main()
