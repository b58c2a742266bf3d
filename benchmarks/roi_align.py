"""Times RoIAlign beside loops of C++, PyTorch and `map_coordinates` in one run: read the ratios.

python -m benchmarks.roi_align [--rounds 5] [--out FILE]

Ten frames with twelve people each, 5x5 bins of 2x2 samples. The C++ is what libraries for detection
run on a CPU, compiled here by g++ with all that the processor has, on one thread; PyTorch's is made
of its own `grid_sample`. What all of them pool is compared before anything is timed. The last rows
are of our own choice: Inception-v3's 1x1 convolution after RoIAlign, beside the same before it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from benchmarks import timing
from stvh_jax.models.compiling import jit
from stvh_jax.models.roi_align import roi_align

# Height, width and channels of VGG-16 at stride 32 and of Inception-v3 at stride 8, at 720x1280.
SHAPES = ((22, 40, 512), (87, 157, 1056))
FRAMES, ACTORS = 10, 12
SIZE, SAMPLES = 5, 2
# Channels after the 1x1 convolution: the paper's d_v.
REDUCED = 512
# What the ratio to the C++ should be at most.
GOAL = 0.1


def people(seed: int = 0) -> np.ndarray:
    """Draws boxes `[T, N, 4]` of the size of players."""
    random = np.random.default_rng(seed)
    centre = random.uniform(0.2, 0.8, (FRAMES, ACTORS, 2))
    half = np.array([0.125, 0.035]) * random.uniform(0.5, 1.5, (FRAMES, ACTORS, 1))
    return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)


def align_by_coordinates(features, boxes):
    """Pools the same samples with `map_coordinates`, one channel at a time."""
    samples = (jnp.arange(SIZE * SAMPLES) + 0.5) / (SIZE * SAMPLES)

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
        return sampled.reshape(-1, SIZE, SAMPLES, SIZE, SAMPLES, channels).mean((2, 4))

    return jax.vmap(pool)(features, boxes)


def called(function, *arguments):
    """Compiles a function, and gives one without arguments that waits for its result."""
    compiled = jit(function)
    return lambda: jax.block_until_ready(compiled(*arguments))


def gradient_of(align):
    """Makes the function of the gradient of the features, of a sum of squares."""
    return jax.grad(lambda features, boxes: jnp.square(align(features, boxes)).sum())


def peers_in_torch(features: np.ndarray, boxes: np.ndarray) -> dict:
    """Gives what PyTorch and the C++ do with features `[T, H, W, C]`, by name."""
    import torch

    from benchmarks.peers import roi_align as peer

    options = {"size": SIZE, "samples": SAMPLES}
    by_channel = np.ascontiguousarray(features.transpose(0, 3, 1, 2))
    maps, regions = torch.from_numpy(by_channel), torch.from_numpy(boxes)
    maps = maps.contiguous(memory_format=torch.channels_last)

    def gradient():
        leaf = maps.detach().requires_grad_(True)
        peer.by_grid_sample(leaf, regions, **options).square().sum().backward()

    return {
        "C++": lambda: peer.by_loops(by_channel, boxes, **options),
        "PyTorch": lambda: peer.by_grid_sample(maps, regions, **options),
        "PyTorch, gradient": gradient,
    }


def compare_shape(shape: tuple[int, int, int], rounds: int) -> list[timing.Comparison]:
    """Compares all ways on maps of a height, a width and channels."""
    features = np.random.default_rng(1).normal(size=(FRAMES, *shape)).astype(np.float32)
    boxes = people()
    arrays = jnp.asarray(features), jnp.asarray(boxes)
    ways = {
        "ours": called(roi_align, *arrays),
        "map_coordinates": called(align_by_coordinates, *arrays),
        **peers_in_torch(features, boxes),
        "ours, gradient": called(gradient_of(roi_align), *arrays),
        "map_coordinates, gradient": called(gradient_of(align_by_coordinates), *arrays),
    }
    ours = np.asarray(ways["ours"]()).transpose(0, 1, 4, 2, 3)
    for name in ("C++", "PyTorch"):
        np.testing.assert_allclose(ways[name](), ours, atol=1e-4)
    spent = timing.alternate(ways, rounds=rounds)
    label = "x".join(map(str, shape))
    rows = []
    for name in ("C++", "PyTorch", "map_coordinates"):
        goal = GOAL if name == "C++" else None
        rows.append(timing.Comparison(f"{label}, {name}", spent["ours"], spent[name], goal))
    for name in ("PyTorch, gradient", "map_coordinates, gradient"):
        rows.append(timing.Comparison(f"{label}, {name}", spent["ours, gradient"], spent[name]))
    return rows


def compare_reduction(rounds: int) -> list[timing.Comparison]:
    """Compares a 1x1 convolution to fewer channels after RoIAlign with one before it."""
    key_features, key_kernel = jax.random.split(jax.random.key(0))
    features = jax.random.normal(key_features, (FRAMES, *SHAPES[-1]))
    channels = SHAPES[-1][-1]
    kernel = jax.random.normal(key_kernel, (channels, REDUCED)) / channels**0.5
    boxes = jnp.asarray(people())

    def after(features, boxes):
        return roi_align(features, boxes) @ kernel

    def before(features, boxes):
        return roi_align(features @ kernel, boxes)

    rows = []
    for name, change in (("", lambda align: align), (", gradient", gradient_of)):
        forms = [called(change(align), features, boxes) for align in (after, before)]
        work = f"1x1 to {REDUCED} after, before{name}"
        rows.append(timing.compare(work, *forms, rounds=rounds))
    return rows


def main() -> None:
    """Prints a row for each feature map and way."""
    given = timing.parser(__doc__).parse_args()
    peer_name = timing.needs_torch()
    rows = [row for shape in SHAPES for row in compare_shape(shape, given.rounds)]
    rows += compare_reduction(given.rounds)
    title = f"RoIAlign, T = {FRAMES}, N = {ACTORS}"
    timing.report(title, rows, peer=f"C++, {peer_name}", out=given.out)


if __name__ == "__main__":
    main()
