"""Training on several devices: what splitting a batch costs, and what the devices exchange.

python -m benchmarks.devices [--devices=1,2,4] [--small] [--rounds=5] [--out=FILE]

The devices are forced on one machine's cores, each count in a process of its own, so that nothing
here says how fast several chips are. The whole batch and the cores are the same for every count: on
one core, what n devices take beyond one is what is not arithmetic, that is the copies, the exchange
and the waiting; on all cores, devices also keep busy the cores that one leaves idle. What several
chips would exchange is read in the compiled step: its collectives, counted. The loss and the norm
of the parameters after a few steps are compared with those of one device.
"""

import argparse
import itertools
import json
import math
import os
import re
import statistics
from typing import Any

from benchmarks import processes, timing
from stvh_jax.reporting.tables import aligned

# The configs by name, and the clips of a batch.
CONFIGS = {"vd_boxes": 128, "demo": 8}
STEPS = 3
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8}
_COLLECTIVE = re.compile(
    r"= (?P<shapes>.+?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|"
    r"collective-permute)(?:-start)?\("
)
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")


def collectives(program: str) -> dict[str, dict[str, int]]:
    """Counts the collectives of a compiled program, and the bytes that they give each device.

    Args:
      program: its text, in XLA's HLO.

    Returns:
      `count`, `arrays` and `bytes` by the kind of collective. One of several arrays at once counts
      once.
    """
    found: dict[str, dict[str, int]] = {}
    for match in _COLLECTIVE.finditer(program):
        one = found.setdefault(match["kind"], {"count": 0, "arrays": 0, "bytes": 0})
        one["count"] += 1
        for kind, shape in _SHAPE.findall(match["shapes"]):
            if kind in _BYTES:
                one["arrays"] += 1
                one["bytes"] += _BYTES[kind] * math.prod(map(int, filter(None, shape.split(","))))
    return found


def measure(name: str, devices: int, cores: int, rounds: int) -> dict[str, Any]:
    """Measures the training step of a config in this process, on some cores alone."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import importlib

    import jax
    import numpy as np

    jax.config.update("jax_num_cpu_devices", devices)
    from benchmarks.random_training import random_training

    config = importlib.import_module(f"configs.{name}").get_config()
    run = random_training(config, batch=CONFIGS[name], devices=devices)
    losses = [float(run.take_step()["loss"]) for _ in range(STEPS)]
    parameters = [np.asarray(leaf) for leaf in jax.tree.leaves(run.state.params)]
    spent = timing.alternate({"step": run.take_step}, rounds=rounds)["step"]
    memory = run.step.memory_analysis()
    return {
        "config": name,
        "devices": devices,
        "cores": cores,
        "seconds": statistics.median(spent),
        "lowest": min(spent),
        "highest": max(spent),
        "losses": losses,
        "collectives": collectives(run.step.as_text()),
        "parameter_bytes": sum(leaf.nbytes for leaf in parameters),
        "norm": math.sqrt(
            sum(float(np.square(leaf, dtype=np.float64).sum()) for leaf in parameters)
        ),
        "memory_of_a_device": memory.temp_size_in_bytes,
    }


def print_table(rows: list[dict]) -> None:
    """Prints a row for each config, number of cores and number of devices."""
    table = [
        [
            "",
            "cores",
            "devices",
            "ms",
            "to one",
            "all-reduce",
            "arrays",
            "MiB",
            "of parameters",
            "others",
            "MiB a device",
            "loss differs",
            "norm differs",
        ]
    ]
    one: dict[tuple, dict] = {}
    for row in rows:
        first = one.setdefault((row["config"], row["cores"]), row)
        reduced = row["collectives"].get("all-reduce", {"count": 0, "arrays": 0, "bytes": 0})
        others = [
            f"{found['count']} {kind} of {found['bytes'] / 2**10:.0f} KiB"
            for kind, found in row["collectives"].items()
            if kind != "all-reduce"
        ]
        apart = max(abs(a - b) / abs(b) for a, b in zip(row["losses"], first["losses"]))
        table.append(
            [
                row["config"],
                f"{row['cores']}",
                f"{row['devices']}",
                f"{1e3 * row['seconds']:.1f}",
                f"{row['seconds'] / first['seconds']:.2f}",
                f"{reduced['count']}",
                f"{reduced['arrays']}",
                f"{reduced['bytes'] / 2**20:.2f}",
                f"{row['parameter_bytes'] / 2**20:.2f}",
                ", ".join(others) or "none",
                f"{row['memory_of_a_device'] / 2**20:.0f}",
                f"{apart:.0e}",
                f"{abs(row['norm'] / first['norm'] - 1):.0e}",
            ]
        )
    print(aligned(table), flush=True)


def main() -> None:
    """Measures every config on every number of devices, each in a process of its own."""
    parser = timing.parser(__doc__)
    parser.add_argument("--devices", default="1,2,4", help="how many, joined by commas")
    parser.add_argument("--small", action="store_true", help="vd_boxes on 1 and 2 devices alone")
    parser.add_argument("--asked", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.asked:
        print(json.dumps(measure(**arguments.asked)))
        return
    names = ["vd_boxes"] if arguments.small else list(CONFIGS)
    counts = [1, 2] if arguments.small else list(map(int, arguments.devices.split(",")))
    rows = []
    for name, cores in itertools.product(names, sorted({1, os.cpu_count() or 1})):
        for count in counts:
            asked = {"name": name, "devices": count, "cores": cores, "rounds": arguments.rounds}
            rows.append(processes.apart("benchmarks.devices", asked))
        print_table(rows[-len(counts) :])
        if arguments.out:  # after each, for this takes long
            written = {"environment": timing.environment(), "rows": rows}
            arguments.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
