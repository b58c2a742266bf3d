"""Time and memory against the size of everything: how fast each grows, and how fast it may.

python -m benchmarks.growth [--only=T,N] [--small] [--rounds=5] [--out=FILE] [--plot=FILE]

One size at a time is doubled, the others held. For a model, encoding and a training step are timed;
memory is what XLA sets aside for intermediate and returned arrays, and XLA's own count of
operations is compared with one made from the equations (benchmarks/operations.py). Searches of an
index are timed in a process each, whose peak RSS counts. Exponents are fitted to the three largest
sizes.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import operations, processes, timing
from benchmarks.growth_report import Curve, Growth, print_table, write_plot
from benchmarks.random_models import ACTIONS, ACTIVITIES, random_clips
from benchmarks.random_training import random_training
from benchmarks.search_clips import STORED, drawn, filter_matrix
from stvh_jax import config as base
from stvh_jax.config import Config
from stvh_jax.models.build import encode
from stvh_jax.retrieval.index import Index

# The paper's T, N, L and K; D and B are small, so that the smallest sizes take milliseconds.
HELD = {"T": 10, "N": 12, "L": 3, "K": 128, "B": 8, "side": 64}
FEATURES = 128
# A frame's side is varied with a small backbone and few frames, as features know no pixels.
FRAMES = 2


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A size that is varied.

    Attributes:
      sizes: it takes, each twice the one before.
      encoding: the greatest exponent of time and of memory that the algorithm allows.
      training: the same for a step.
    """

    sizes: tuple[int, ...]
    encoding: tuple[int, int]
    training: tuple[int, int]


# Attention compares T frames of an actor (T^2), and the product of two T x T maps takes T^3; so it
# is with N. The losses compare all clips of a batch; a K x K matrix stands in Eq 8. A side is a
# square root of the pixels.
SWEEPS = {
    "T": Sweep((10, 20, 40, 80, 160), (3, 2), (3, 2)),
    "N": Sweep((12, 24, 48, 96, 192), (3, 2), (3, 2)),
    "L": Sweep((1, 2, 4, 8), (1, 1), (1, 1)),
    "K": Sweep((128, 256, 512, 1024, 2048), (1, 1), (2, 2)),
    "B": Sweep((8, 16, 32, 64, 128), (1, 1), (2, 2)),
    "side": Sweep((64, 128, 256, 512), (2, 2), (2, 2)),
}
INDEX_SIZES = (10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000)
INDEX_BITS, SEARCHES = 128, 20


def config_of(sizes: dict[str, int], *, frames: bool) -> Config:
    """Gives M-STVH of these sizes, on precomputed features, or on frames."""
    config = base.get_config()
    model = config.model
    model.source = "frames" if frames else "features"
    model.features, model.layers, model.bits = FEATURES, sizes["L"], sizes["K"]
    model.num_frames = config.data.num_frames = FRAMES if frames else sizes["T"]
    model.num_actors = config.data.num_actors = sizes["N"]
    model.key_frame = model.num_frames // 2
    model.backbone.features, model.backbone.strides = (16,), (2,)
    config.data.image_size = (sizes["side"], sizes["side"])
    return config


def measure_model(varied: str, sizes: tuple[int, ...], rounds: int) -> list[Curve]:
    """Measures encoding and a training step at every size."""
    points: dict[str, list[dict]] = {"encoding": [], "training": []}
    ways: dict[str, dict[int, Callable]] = {"encoding": {}, "training": {}}
    for size in sizes:
        held = HELD | {varied: size}
        config = config_of(held, frames=varied == "side")
        run = random_training(config, batch=held["B"], initialised=False)
        variables, clips = run.state.variables, random_clips(config, batch=held["B"])
        clips = jax.device_put(clips.without_names())
        model = run.model
        encoded = jax.jit(lambda v, c, model=model: encode(model, v, c).relaxed)
        encoded = encoded.lower(variables, clips).compile()
        # The state is given away with every step.
        variables = jax.tree.map(np.asarray, variables)
        ways["encoding"][size] = lambda f=encoded, v=variables, c=clips: jax.block_until_ready(
            f(v, c)
        )
        ways["training"][size] = run.take_step
        counted = _counted(held) if varied != "side" else (None, None)
        for found, compiled, count in zip(points.values(), (encoded, run.step), counted):
            found.append(_compiled_size(compiled) | {"counted": count})
    return [
        Curve(
            varied,
            work,
            list(sizes),
            _medians(ways[work], rounds),
            [point["memory"] for point in found],
            [point["operations"] for point in found],
            [point["counted"] for point in found] if varied != "side" else None,
            *getattr(SWEEPS[varied], work),
        )
        for work, found in points.items()
    ]


def _counted(held: dict[str, int]) -> tuple[int, int]:
    """Counts the operations of encoding and of a step by the equations."""
    sizes = operations.Sizes(
        batch=held["B"],
        frames=held["T"],
        actors=held["N"],
        features=FEATURES,
        layers=held["L"],
        bits=held["K"],
        activities=ACTIVITIES,
        actions=ACTIONS,
    )
    return operations.forward(sizes), operations.training(sizes)


def _compiled_size(compiled) -> dict[str, float]:
    """Reads what XLA says of a compiled function."""
    memory = compiled.memory_analysis()
    kept = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {"memory": kept, "operations": compiled.cost_analysis()["flops"]}


def _medians(ways: dict[int, Callable], rounds: int) -> list[float]:
    """Times all sizes in turn; gives the median of each."""
    named = {str(size): way for size, way in ways.items()}
    spent = timing.alternate(named, rounds=rounds, least_seconds=0.05)
    return [float(np.median(seconds)) for seconds in spent.values()]


def measure_index(sizes: tuple[int, ...]) -> list[Curve]:
    """Measures searches of indexes of ever more clips: a query, and the memory of its process."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            uri = str(pathlib.Path(folder) / str(size))
            processes.apart("benchmarks.growth", {"uri": uri, "clips": size})
            found.append(processes.apart("benchmarks.growth", {"uri": uri}))
    return [
        Curve(
            "index",
            work,
            list(sizes),
            [one[f"{work}_seconds"] for one in found],
            [one[f"{work}_memory"] for one in found],
            None,
            None,
            *(1, 1),
        )
        for work in ("opening", "searching")
    ]


def build(uri: str, clips: int) -> dict:
    """Makes an index of random clips."""
    index = Index.create(
        uri, bits=INDEX_BITS, stored_foci=[STORED], filter_matrix=filter_matrix(INDEX_BITS)
    )
    for codes, record in drawn(clips, INDEX_BITS, None):
        index.add(codes, **record)
    return {}


def search(uri: str) -> dict[str, float]:
    """Opens an index and searches it: the first search reads the codes, the others are timed."""
    before, start = processes.memory("VmRSS"), time.perf_counter()
    index = Index.open(uri)
    random = np.random.default_rng(0)
    queries = random.integers(0, 256, (SEARCHES, INDEX_BITS // 8), np.uint8)
    index.search(queries[0], k=10)
    found = {
        "opening_seconds": time.perf_counter() - start,
        "opening_memory": processes.memory() - before,
    }
    spent = []
    for query in queries:
        start = time.perf_counter()
        index.search(query, k=10)
        spent.append(time.perf_counter() - start)
    return found | {
        "searching_seconds": float(np.median(spent)),
        "searching_memory": processes.memory() - before,
    }


def main() -> None:
    """Measures what is asked for, prints the table, and writes JSON and the plot."""
    parser = timing.parser(__doc__)
    parser.add_argument("--only", help="some of: T, N, L, K, B, side, index; joined by commas")
    parser.add_argument("--small", action="store_true", help="the three smallest sizes alone")
    parser.add_argument("--plot", type=pathlib.Path, help="a file for the plot")
    parser.add_argument("--asked", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if asked := arguments.asked:
        print(json.dumps(build(**asked) if "clips" in asked else search(**asked)))
        return
    chosen = arguments.only.split(",") if arguments.only else [*SWEEPS, "index"]
    if unknown := set(chosen) - {*SWEEPS, "index"}:
        parser.error(f"--only={','.join(sorted(unknown))}; choose from {', '.join(SWEEPS)}, index")
    last = 3 if arguments.small else None
    curves = []
    for name in chosen:
        if name == "index":
            curves += measure_index(INDEX_SIZES[:last])
        else:
            curves += measure_model(name, SWEEPS[name].sizes[:last], arguments.rounds)
        print_table(curves[-2:])
        if arguments.out:  # after each, for this takes long
            growth = Growth(timing.environment(), HELD | {"D": FEATURES}, curves)
            arguments.out.write_text(json.dumps(dataclasses.asdict(growth), indent=2) + "\n")
    print_table(curves)
    if arguments.plot:
        write_plot(curves, arguments.plot)


if __name__ == "__main__":
    main()
