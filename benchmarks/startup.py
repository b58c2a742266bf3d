"""How long the program takes to start: a query, a model's first clip, a training's first step.

    python -m benchmarks.startup [--rounds 5] [--out startup.json]

It renders and prepares its small data set itself, in a temporary folder. Cold is without what was
compiled before, warm with it. Each time is also given as a multiple of `python -c "import numpy"`
in the same round, which says how quick the machine is just then.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from stvh_jax import files

ROOT = pathlib.Path(__file__).resolve().parents[1]
YARDSTICK = "import numpy"
_PATIENCE = 600.0  # seconds for a training's first step

INDEX = """
import sys
import numpy as np
from stvh_jax import Index
codes = np.random.default_rng(0).integers(0, 256, (1000, 16), np.uint8)
index = Index.create(sys.argv[1], bits=128, stored_foci=(3,))
index.add({3: codes}, match=["match"] * 1000, clip=range(1000))
Index.open(sys.argv[1]).clips()
"""

# Prints the seconds of `stvh_jax.load` and of the first clip, imports left out.
ENCODE = """
import json, sys, time
import numpy as np
import stvh_jax
stvh_jax.keep_compiled()
stvh_jax.load
start = time.perf_counter()
model = stvh_jax.load(sys.argv[1])
loaded = time.perf_counter()
config = model.config.model
corner = np.random.default_rng(0).random((config.num_frames, config.num_actors, 2)) * 0.8
boxes = np.concatenate([corner, corner + 0.1], -1).astype(np.float32)
size = (config.num_frames, *model.config.data.image_size, 3)
frames = np.zeros(size, np.uint8) if config.source == "frames" else None
model.encode(frames, boxes)
print(json.dumps([loaded - start, time.perf_counter() - loaded]))
"""


def timed(command: list, environment: dict[str, str]) -> tuple[float, str]:
    """Runs a command to its end; gives the seconds it took and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return time.perf_counter() - start, done.stdout


def first_step(data: pathlib.Path, environment: dict[str, str]) -> float:
    """Starts the demo's training; gives the seconds until its first step is written down."""
    run = data.parent / "run"
    shutil.rmtree(run, ignore_errors=True)
    command = ["train.py", "--config=configs/demo.py", f"--config.data.dir={data}"]
    command += [f"--workdir={run}", "--config.train.log_every_steps=1"]
    start, history = time.perf_counter(), run / "history.jsonl"
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not (history.exists() and history.stat().st_size):
            passed = time.perf_counter() - start
            if process.poll() is not None or passed > _PATIENCE:
                raise SystemExit(f"train.py made no step in {passed:.0f} s")
            time.sleep(0.01)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def measure(folder: pathlib.Path, environment: dict[str, str]) -> dict[str, float]:
    """Measures everything once, in seconds."""
    cache = pathlib.Path(environment["XDG_CACHE_HOME"])
    times = {YARDSTICK: timed(["-c", YARDSTICK], environment)[0]}
    query = ["search.py", "query", "--index", folder / "index", "--clip", "match/7"]
    times["query of an indexed clip"] = timed(query, environment)[0]
    for name, run in {
        "volleyball-boxes": "volleyball-boxes",
        "demo": ROOT / "notebooks" / "demo_run.zip",
    }.items():
        shutil.rmtree(cache / "stvh_jax" / "compiled", ignore_errors=True)
        for kind in ("cold", "warm"):
            _, printed = timed(["-c", ENCODE, run], environment)
            load, encode = json.loads(printed.splitlines()[-1])
            times[f"{name}: load, {kind}"] = load
            times[f"{name}: first clip, {kind}"] = encode
    shutil.rmtree(cache / "stvh_jax" / "compiled", ignore_errors=True)
    for kind in ("cold", "warm"):
        times[f"training to its first step, {kind}"] = first_step(folder / "data", environment)
    return times


def summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Gives median, least and most of the seconds, and the median multiple of the yardstick."""
    results = {}
    for name in rounds[0]:
        seconds = [each[name] for each in rounds]
        ratios = [each[name] / each[YARDSTICK] for each in rounds]
        results[name] = {
            "median": statistics.median(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "ratio": statistics.median(ratios),
        }
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """Writes the results for people."""
    lines = [f"{'':38} {'median':>8} {'least':>8} {'most':>8}  x numpy"]
    for name, row in results.items():
        seconds = " ".join(f"{row[each]:7.2f}s" for each in ("median", "least", "most"))
        lines.append(f"{name:38} {seconds} {row['ratio']:7.1f}")
    return "\n".join(lines)


def main() -> None:
    """Makes the data, measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument("--out", help="also write the results to this JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        environment["XDG_CACHE_HOME"] = str(folder / "cache")
        few = ["--clips-per-match", "8"]
        raw, data = folder / "raw", folder / "data"
        timed(["-m", "data", "synthesize", "volleyball", "--out", raw, *few], environment)
        timed(["-m", "data", "prepare", "volleyball", "--raw", raw, "--out", data], environment)
        timed(["-c", INDEX, folder / "index"], environment)
        rounds = [measure(folder, environment) for _ in range(max(1, arguments.rounds))]
    results = summary(rounds)
    print(table(results))
    if arguments.out:
        content = {"load": os.getloadavg(), "cores": os.cpu_count(), "results": results}
        files.write(arguments.out, json.dumps(content | {"rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
