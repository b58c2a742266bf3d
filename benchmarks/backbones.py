"""Times the backbones beside PyTorch's in one run: read the ratios.

python -m benchmarks.backbones [--backbones inception_v3 vgg16] [--image-size 480 720] [--batch 1]
  [--passes forward training] [--dtypes float32] [--rounds 5] [--out FILE]

Both read the same uint8 frames with the same random weights, and their maps are compared before
anything is timed. PyTorch runs eagerly, in channels-last order and in inference mode. A training
pass is the gradient of all parameters, with frozen statistics. In bfloat16 the frames and the
weights of PyTorch are bfloat16; ours are kept in float32 and rounded in every pass.
"""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from benchmarks import timing
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.compiling import jit
from stvh_jax.models.weights import convert

TAPS = {"inception_v3": ("Mixed_5d", "Mixed_6e"), "vgg16": ("pool5",)}
PASSES = ("forward", "training")
# What the ratio should be at most, and the largest error of the maps by type.
GOALS = {"forward": 1.0, "training": 1.1}
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}


def draw_state(backbone: str) -> dict[str, np.ndarray]:
    """Draws the tensors of a backbone by torchvision's names."""
    from benchmarks.peers import networks

    draw = {"inception_v3": networks.inception_state, "vgg16": networks.vgg_state}[backbone]
    return {name: np.asarray(tensor) for name, tensor in draw(np.random.default_rng(0)).items()}


def our_variables(state: dict[str, np.ndarray]) -> dict:
    """Gives the variables of our backbone with the tensors of a file of torchvision's."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "weights.safetensors"
        safetensors.numpy.save_file(state, path)
        return jax.tree.map(jnp.asarray, convert.read(path).variables)


def our_passes(backbone: str, state: dict[str, np.ndarray], frames: np.ndarray, dtype: str) -> dict:
    """Gives our forward and training pass, each a function without arguments."""
    options = {"count_padding": True} if backbone == "inception_v3" else {}
    module = build_backbone(backbone, normalisation="symmetric", dtype=jnp.dtype(dtype), **options)
    variables, pixels, taps = our_variables(state), jnp.asarray(frames), TAPS[backbone]

    def total(params, variables, pixels):
        maps = module.apply({**variables, "params": params}, pixels, train=True, taps=taps)
        return sum(jnp.square(one.astype(jnp.float32)).mean() for one in maps)

    forward = jit(lambda variables, pixels: module.apply(variables, pixels, train=False, taps=taps))
    gradient = jit(jax.grad(total))
    return {
        "forward": lambda: jax.block_until_ready(forward(variables, pixels)),
        "training": lambda: jax.block_until_ready(gradient(variables["params"], variables, pixels)),
    }


def peer_passes(
    backbone: str, state: dict[str, np.ndarray], frames: np.ndarray, dtype: str
) -> dict:
    """Gives PyTorch's forward and training pass, each a function without arguments."""
    import torch

    from benchmarks.peers import networks

    run = {
        "inception_v3": functools.partial(networks.inception_maps, last="Mixed_6e"),
        "vgg16": networks.vgg_maps,
    }[backbone]
    pixels, kind = torch.from_numpy(frames), getattr(torch, dtype)

    def placed(array):
        tensor = torch.tensor(array)
        if tensor.is_floating_point():
            tensor = tensor.to(kind)
        last = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        return tensor.contiguous(memory_format=last)

    weights = {name: placed(array) for name, array in state.items()}
    trained = {
        name: tensor.clone().requires_grad_(tensor.is_floating_point() and "running" not in name)
        for name, tensor in weights.items()
    }

    def maps(weights):
        # Frames are channels-last as they are, for their channels come last.
        x = pixels.permute(0, 3, 1, 2).to(kind).div(127.5).sub(1)
        found = run(weights, x)
        return [found[tap] for tap in TAPS[backbone]]

    def forward():
        with torch.inference_mode():
            return maps(weights)

    def training():
        for tensor in trained.values():
            tensor.grad = None
        sum(one.float().square().mean() for one in maps(trained)).backward()

    return {"forward": forward, "training": training}


def error(ours, peer) -> float:
    """Gives the largest difference of the maps, over the largest number in them."""
    found = 0.0
    for one, other in zip(ours, peer, strict=True):
        one = np.asarray(one, np.float32)
        other = other.float().permute(0, 2, 3, 1).numpy()
        found = max(found, float(np.abs(one - other).max() / np.abs(other).max()))
    return found


def main() -> None:
    """Prints a row for each backbone, type and pass."""
    parser = timing.parser(__doc__)
    parser.add_argument("--backbones", nargs="+", default=list(TAPS), choices=list(TAPS))
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=list(TOLERANCES))
    parser.add_argument("--image-size", type=int, nargs=2, default=(480, 720))
    parser.add_argument("--batch", type=int, default=1, help="frames at a time")
    given = parser.parse_args()
    peer_name = timing.needs_torch()
    shape = (given.batch, *given.image_size, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    comparisons = []
    for backbone in given.backbones:
        state = draw_state(backbone)
        for dtype in given.dtypes:
            ours, peer = (
                make(backbone, state, frames, dtype) for make in (our_passes, peer_passes)
            )
            off = error(ours["forward"](), peer["forward"]())
            assert off < TOLERANCES[dtype], f"{backbone}, {dtype}: the maps differ by {off:.2g}"
            for one in given.passes:
                work = f"{backbone}, {dtype}, {one}"
                goal = GOALS[one] if dtype == "float32" else None
                comparisons.append(
                    timing.compare(work, ours[one], peer[one], rounds=given.rounds, goal=goal)
                )
    size = "x".join(map(str, given.image_size))
    title = f"Backbones, {given.batch} frames of {size}"
    timing.report(title, comparisons, peer=peer_name, out=given.out)


if __name__ == "__main__":
    main()
