"""Times a step of training on boxes alone beside the same step in PyTorch, and its input.

python -m benchmarks.training_step

A step is that of configs/vd_boxes.py: augmentation, forward pass, loss, backward pass, clipping,
Adam and a moving average. Both networks have the same variables, and are found to give the same
outputs before they are timed. The input is what a run has, batches of a prepared set: of rendered
matches, kept as boxes alone.
"""

import contextlib
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

import configs.vd_boxes
from benchmarks.random_models import RandomModel, random_clips, random_model
from benchmarks.timing import compare, needs_torch, parser, report
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.compiling import jit
from stvh_jax.training import sharding
from stvh_jax.training.augment import Augmentation
from stvh_jax.training.objectives import supervised
from stvh_jax.training.optimizer import build_optimizer, learning_rate_schedule
from stvh_jax.training.state import create_state
from stvh_jax.training.step import make_train_step

# Those of the Volleyball Dataset's 3493 clips in batches of 128.
LENGTHS = {"steps_per_epoch": 27, "epochs": 120}
# Rendered matches for the input: three splits, the first of 160 clips.
MATCHES, CLIPS_PER_MATCH = 6, 40


def our_step(ours: RandomModel, clips: Clips) -> tuple[Callable[[], object], float]:
    """Compiles the step of a run; gives it, and how many GFLOP it has by XLA's count."""
    config = ours.config
    optimizer = build_optimizer(config.optimizer, **LENGTHS)
    step = make_train_step(
        ours.model,
        optimizer,
        supervised(config.loss),
        learning_rate_schedule(config.optimizer, **LENGTHS),
        augment=Augmentation.of(config.train),
        average=config.train.average,
        accumulate=config.train.accumulate,
    )
    averaged = config.train.average > 0
    key, mesh = jax.random.key(1), sharding.make_mesh(1)
    state = create_state(jax.random.key(0), ours.model, optimizer, clips, averaged=averaged)
    # The step uses the state up, and the variables are still to be read.
    state = state.beginning_with(jax.tree.map(np.array, ours.variables))
    batch = sharding.put_batch(clips, mesh)
    compiled = jit(step, donate_argnums=0).lower(state, batch, key).compile()
    held = [jax.device_put(state)]

    def work() -> None:
        held[0], metrics = compiled(held[0], batch, key)
        jax.block_until_ready(metrics)

    return work, (compiled.cost_analysis() or {}).get("flops", 0.0) / 1e9


def peer_step(ours: RandomModel, clips: Clips) -> Callable[[], object]:
    """Makes the same step of PyTorch's network."""
    from benchmarks.peers import hasher_training, hasher_variables
    from benchmarks.peers.hasher import Batch

    trainer = hasher_training.Trainer(hasher_variables.equal_to(ours, clips), ours.config)
    batch = Batch.of(clips)
    return lambda: trainer.step(batch)


@contextlib.contextmanager
def rendered_batches(config: Config) -> Iterator[Iterator[Clips]]:
    """Prepares rendered matches as boxes alone, and opens the batches that a run would have."""
    from data.prepared.builder import prepare
    from data.prepared.pipeline import open_dataset
    from data.synthetic.volleyball_files import synthesize_volleyball
    from data.variants import Variant

    with tempfile.TemporaryDirectory() as folder:
        raw, out = pathlib.Path(folder, "raw"), pathlib.Path(folder, "sets")
        options = {"matches": MATCHES, "clips_per_match": CLIPS_PER_MATCH, "image_size": (48, 80)}
        synthesize_volleyball(raw, **options, progress=lambda line: None)
        variant = Variant.parse("volleyball", "boxes_only")
        prepare(variant, raw, out, allow_missing=False, report=lambda line: None)
        config.data.dir = str(out)
        yield open_dataset(config.data).training_batches(
            "train", batch_size=config.train.batch_size, seed=0, flip=config.data.flip
        )


def input_seconds(batches: Iterator[Clips], *, steps: int = 100) -> float:
    """Times how long a step waits for its batch and puts it on the device; the median."""
    mesh, spent = sharding.make_mesh(1), []
    for place in range(steps + 10):
        start = time.perf_counter()
        jax.block_until_ready(sharding.put_batch(next(batches), mesh))
        if place >= 10:
            spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def main() -> None:
    """Prints the comparison, the GFLOP and clips a second of our step, and the input's share."""
    options = parser(__doc__, rounds=15)
    options.add_argument("--batch", type=int, help="clips of a step; by default the config's")
    options.add_argument("--one-side", action="store_true", help="reads no mirror images")
    options.add_argument("--torch-threads", type=int, default=0, help="0: one a core")
    arguments = options.parse_args()
    peer = needs_torch(arguments.torch_threads)
    config: Config = configs.vd_boxes.get_config()
    config.model.symmetric = not arguments.one_side
    config.train.batch_size = arguments.batch or config.train.batch_size
    ours = random_model(config)
    batch = config.train.batch_size
    clips = random_clips(config, batch=batch)
    other = peer_step(ours, clips)  # first of all: it compares the outputs
    step, gigaflop = our_step(ours, clips)
    sides = "one side" if arguments.one_side else "both sides"
    found = compare(f"a step of {batch} clips, {sides}", step, other, rounds=arguments.rounds)
    report("training on boxes", [found], peer=peer, out=arguments.out)
    seconds = statistics.median(found.ours)
    print(
        f"{gigaflop:.2f} GFLOP a step by XLA's count, {gigaflop / seconds:.0f} GFLOP/s, "
        f"{batch / seconds:.0f} clips/s (PyTorch: {batch / statistics.median(found.peer):.0f})"
    )
    with rendered_batches(config) as batches:
        waited = input_seconds(batches)
    print(f"input: {1e3 * waited:.2f} ms a step, {waited / (waited + seconds):.1%} of it")


if __name__ == "__main__":
    main()
