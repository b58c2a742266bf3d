"""Times the head, from actor features to codes and scores, beside the same network in PyTorch.

python -m benchmarks.head

The sizes are those of configs/vd.py, and the features also those of configs/vd_boxes.py. Both
networks have the same variables, and are found to give the same outputs before they are timed.
"""

from collections.abc import Callable

import jax

import configs.vd
import configs.vd_boxes
from benchmarks.random_models import RandomModel, random_clips, random_model
from benchmarks.timing import Comparison, compare, needs_torch, parser, report
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.build import encode
from stvh_jax.models.compiling import jit
from stvh_jax.training.losses import total_loss

BATCHES = (2, 32)
# What our time should be at most of PyTorch's.
GOAL = 0.8


def head_config(name: str, size: int) -> Config:
    """Takes the paper's config, with actor features of this size given."""
    config: Config = configs.vd.get_config()
    config.model.name, config.model.source, config.model.features = name, "features", size
    config.model.freeze_backbone = False
    return config


def our_ways(ours: RandomModel, clips: Clips) -> dict[str, Callable[[], object]]:
    """Compiles the forward pass, and the gradient of the loss."""
    state = dict(ours.variables)
    params, clips = state.pop("params"), jax.device_put(clips)

    def loss(params, state, clips):
        outputs, _ = ours.model.apply(
            {"params": params, **state}, clips, train=True, mutable=list(state)
        )
        return total_loss(outputs, clips, weights=ours.config.loss)[0]

    forward = jit(lambda variables, clips: encode(ours.model, variables, clips))
    backward = jit(jax.value_and_grad(loss))
    return {
        "forward": lambda: jax.block_until_ready(forward(ours.variables, clips)),
        "forward and backward": lambda: jax.block_until_ready(backward(params, state, clips)),
    }


def peer_ways(ours: RandomModel, clips: Clips) -> dict[str, Callable[[], object]]:
    """Makes the same of PyTorch's network."""
    import torch

    from benchmarks.peers import hasher_training, hasher_variables
    from benchmarks.peers.hasher import Batch

    module, batch = hasher_variables.equal_to(ours, clips), Batch.of(clips)

    @torch.inference_mode()
    def forward():
        module.eval()(batch)

    def backward():
        module.train().zero_grad()
        hasher_training.loss_of(module(batch), batch, ours.config.loss).backward()

    return {"forward": forward, "forward and backward": backward}


def main() -> None:
    """Prints a row for each size, batch and pass."""
    options = parser(__doc__)
    options.add_argument("--model", choices=("mstvh", "stvh"), default="mstvh")
    options.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="clips at a time")
    published: list[Config] = [configs.vd.get_config(), configs.vd_boxes.get_config()]
    sizes = [config.model.features for config in published]
    options.add_argument("--sizes", type=int, nargs="+", default=sizes, help="D of the features")
    options.add_argument("--torch-threads", type=int, default=0, help="0: one a core")
    arguments = options.parse_args()
    peer = needs_torch(arguments.torch_threads)
    found: list[Comparison] = []
    for size in arguments.sizes:
        ours = random_model(head_config(arguments.model, size))
        for batch in arguments.batches:
            clips = random_clips(ours.config, batch=batch)
            peers = peer_ways(ours, clips)
            for name, way in our_ways(ours, clips).items():
                work = f"{arguments.model}, D = {size}, {batch} clips, {name}"
                found.append(compare(work, way, peers[name], rounds=arguments.rounds, goal=GOAL))
    report("the head", found, peer=peer, out=arguments.out)


if __name__ == "__main__":
    main()
