"""Renders a match as one video, indexes it with its tracks, and searches it from its own moments.

python -m benchmarks.own_video [--run=notebooks/demo_run.zip] [--minutes=10] [--size=96x160]

The match is one that no model was trained on: an activity for two seconds, then the next. Of every
window that lies in one of these, the ten nearest are found, its own surroundings left out; how
many of them show its activity (that which most of their frames are of) is printed, with the rate
of indexing, what bounds it, and the peak of the memory of the process that indexes.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

from data.synthetic import footage
from stvh_jax.cli import parsing
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.surroundings import around

# Of the synthetic matches, one that the demo does not have.
SEED, MATCH = 1, 0
K = 10


def render(folder: pathlib.Path, minutes: float, size: tuple[int, int]) -> list[str]:
    """Writes `match.mp4` and `match.txt`, and gives the activity of each frame."""
    match = footage.sample_footage(SEED, MATCH, minutes)
    footage.write_match(folder, "match", match, SEED, MATCH, size)
    frames = footage.RATE * footage.SECONDS_EACH
    return [activity for activity in match.activities for _ in range(frames)]


def search(uri: str, activities: list[str]) -> dict[str, float]:
    """Searches from every window in one activity, and says how many of its ten nearest share it."""
    index = Index.open(uri)
    table = index.clips()
    starts = table["start"].to_numpy()
    frames = np.clip(
        np.rint(footage.RATE * starts).astype(int)[:, None]
        + np.arange(round(footage.RATE * float(table["stop"][0].as_py() - starts[0]))),
        0,
        len(activities) - 1,
    )
    shown = np.array(activities)[frames]
    main = [max(set(row), key=list(row).count) for row in shown.tolist()]
    whole = (shown == shown[:, :1]).all(axis=1)
    place = {name: number for number, name in enumerate(table["clip"].to_pylist())}
    codes, _ = index.get([("match", name) for name in place])
    same = []
    for number, name in enumerate(place):
        if whole[number]:
            query = {focus: values[number] for focus, values in codes.items()}
            start, stop = float(starts[number]), float(table["stop"][number].as_py())
            # The scene itself is left out: its windows are the query's own surroundings.
            near = around("match", name, start, stop, exclude_near=footage.SECONDS_EACH)
            (hits,) = index.search(query, k=K, without=near)
            same += [main[place[hit.clip]] == main[number] for hit in hits]
    return {"queries": int(whole.sum()), "same_activity": float(np.mean(same))}


def main(run: str, minutes: float, size: tuple[int, int]) -> None:
    """Renders, indexes in a process of its own, and searches."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        activities = render(folder, minutes, size)
        command = [sys.executable, "-c", INDEXING, "index", "--run", run, "--out", f"{name}/index"]
        command += ["--video", f"{name}/match.mp4", "--tracks", f"{name}/match.txt"]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        found = search(f"{name}/index", activities)
    lines = done.stdout.splitlines()
    print("\n".join(lines[:-1]))
    print(
        f"{minutes:g} minutes of {size[0]} x {size[1]}: {seconds:.1f} s from the command line, "
        f"{60 * minutes / seconds:.1f} times real time, at most {json.loads(lines[-1]):.0f} MiB"
    )
    print(
        f"{found['queries']} windows searched: {100 * found['same_activity']:.1f} % of the ten "
        "nearest show the activity"
    )


# What the process does that indexes: the command, and then its peak of memory, in MiB.
INDEXING = """
import resource, sys
from stvh_jax.cli import search
status = search.main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(status)
"""


if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "notebooks/demo_run.zip", "The model.")
    MINUTES = flags.DEFINE_float("minutes", 10.0, "How long the video is.", lower_bound=0.1)
    SIZE = flags.DEFINE_string("size", "96x160", "Height and width of its frames in pixels.")

    def _run(_):
        height, width = map(int, SIZE.value.split("x"))
        main(RUN.value, MINUTES.value, (height, width))

    parsing.run_flags(_run)
