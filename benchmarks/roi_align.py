"""Times RoIAlign and `jax.scipy.ndimage.map_coordinates` in the same run: read the ratios.

python -m benchmarks.roi_align
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from stvh_jax.models.roi_align import roi_align

# Height, width and channels of VGG-16 at stride 32 and of Inception-v3 at stride 8, at 720x1280.
SHAPES = ((22, 40, 512), (87, 157, 1056))
FRAMES, ACTORS = 10, 12
# Channels after the 1x1 convolution: the paper's d_v.
REDUCED = 512


def align_by_coordinates(features, boxes, *, size=5, sampling_ratio=2):
    """Pools the same samples with `map_coordinates`, one channel at a time."""
    samples = (jnp.arange(size * sampling_ratio) + 0.5) / (size * sampling_ratio)

    def positions(low, high, extent):
        position = (low[:, None] + (high - low)[:, None] * samples) * extent - 0.5
        return jnp.clip(position, 0, extent - 1)

    def pool(frame, frame_boxes):
        height, width, channels = frame.shape
        y_min, x_min, y_max, x_max = frame_boxes.T
        y, x = positions(y_min, y_max, height), positions(x_min, x_max, width)
        y, x = jnp.broadcast_arrays(y[:, :, None], x[:, None, :])
        interpolate = functools.partial(map_coordinates, coordinates=(y, x), order=1)
        sampled = jax.vmap(interpolate, in_axes=-1, out_axes=-1)(frame)
        bins = (-1, size, sampling_ratio, size, sampling_ratio, channels)
        return sampled.reshape(bins).mean((2, 4))

    return jax.vmap(pool)(features, boxes)


def people(key):
    """Draws boxes `[T, N, 4]` of the size of players."""
    key_centre, key_extent = jax.random.split(key)
    centre = jax.random.uniform(key_centre, (FRAMES, ACTORS, 2), minval=0.2, maxval=0.8)
    shape = jnp.array([0.25, 0.07])
    extent = shape * jax.random.uniform(key_extent, (FRAMES, ACTORS, 1), minval=0.5, maxval=1.5)
    return jnp.concatenate([centre - extent / 2, centre + extent / 2], -1)


def seconds(functions, arguments, repeats):
    """Times each function, in turn, `repeats` times; returns the median of each."""
    spent = [[] for _ in functions]
    for function in functions:
        jax.block_until_ready(function(*arguments))
    for _ in range(repeats):
        for function, durations in zip(functions, spent):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            durations.append(time.perf_counter() - start)
    return [statistics.median(durations) for durations in spent]


def forward_and_backward(align, cotangent):
    """Makes a function of the pooled features and the gradient that `cotangent` sends back."""

    def both(features, boxes):
        pooled, pull_back = jax.vjp(align, features, boxes)
        return pooled, pull_back(cotangent)[0]

    return both


def reductions(kernel):
    """Returns RoIAlign with a 1x1 convolution to fewer channels, after it and before it."""

    def after(features, boxes):
        return roi_align(features, boxes) @ kernel

    def before(features, boxes):
        return roi_align(features @ kernel, boxes)

    return after, before


def main():
    """Prints a row per feature map and pass: milliseconds of both forms, and their ratio.

    First it compares RoIAlign with `map_coordinates`, then the 1x1 convolution of Inception-v3's
    features after RoIAlign with the one before it.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each function")
    repeats = parser.parse_args().repeats
    print(
        f"{jax.devices()[0].device_kind}, T = {FRAMES}, N = {ACTORS}, 5x5 bins, median of {repeats}"
    )
    print(f"{'feature map':>14} {'pass':>18} {'roi_align':>12} {'coordinates':>12} {'ratio':>6}")
    key_features, key_boxes = jax.random.split(jax.random.key(0))
    boxes = people(key_boxes)
    for shape in SHAPES:
        features = jax.random.normal(key_features, (FRAMES, *shape))
        cotangent = jnp.ones((FRAMES, ACTORS, 5, 5, shape[-1]))
        training = functools.partial(forward_and_backward, cotangent=cotangent)
        for name, transform in (("forward", lambda align: align), ("forward + backward", training)):
            functions = [jax.jit(transform(align)) for align in (roi_align, align_by_coordinates)]
            ours, theirs = seconds(functions, (features, boxes), repeats)
            label = "x".join(map(str, shape))
            times = f"{ours * 1e3:9.1f} ms {theirs * 1e3:9.1f} ms {ours / theirs:6.3f}"
            print(f"{label:>14} {name:>18} {times}")
    shape = SHAPES[-1]
    features = jax.random.normal(key_features, (FRAMES, *shape))
    forms = reductions(jax.random.normal(key_boxes, (shape[-1], REDUCED)) / shape[-1] ** 0.5)
    cotangent = jnp.ones((FRAMES, ACTORS, 5, 5, REDUCED))
    training = functools.partial(forward_and_backward, cotangent=cotangent)
    print(f"1x1 convolution to {REDUCED}{'':>12} {'after':>12} {'before':>12} {'ratio':>6}")
    for name, transform in (("forward", lambda form: form), ("forward + backward", training)):
        functions = [jax.jit(transform(form)) for form in forms]
        after, before = seconds(functions, (features, boxes), repeats)
        times = f"{after * 1e3:9.1f} ms {before * 1e3:9.1f} ms {after / before:6.3f}"
        print(f"{'x'.join(map(str, shape)):>14} {name:>18} {times}")


if __name__ == "__main__":
    main()
