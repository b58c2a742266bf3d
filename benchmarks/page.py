"""Times the page at a million clips: its start, first paint, slider, map, and many users at once.

python -m benchmarks.page [--clips=1000000] [--users=50] [--seconds=60] [--think=1] [--out=FILE]

The server is the real one, in a process of its own, asked over HTTP; users are threads of a third
process. Each one opens the page, searches for a clip and for an activity, looks at six posters,
moves the slider by ten steps, narrows by match and by activity, and teaches, then begins anew; they
are measured with a mean thinking time of `--think` seconds, a tenth of it at a step of the slider,
and without any. `--index=FOLDER` keeps what was made, and takes it again.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks import page_index
from benchmarks.page_users import Page, any_clip, shown
from benchmarks.processes import memory
from benchmarks.search_tables import markdown
from stvh_jax.cli import parsing

# Steps of the slider, and how often what is warm is asked for.
STEPS, REPEATS = 100, 20
# What the server imports before it opens the index.
IMPORTED = "import stvh_jax.app.server, stvh_jax.app.archive, stvh_jax.app.loops"


@contextlib.contextmanager
def served(index: str, cache: str) -> Iterator[tuple[subprocess.Popen, int, float]]:
    """Serves an index in a process of its own.

    Args:
      index: where it is.
      cache: a folder for what the server keeps.

    Yields:
      The process, its port, and the seconds until the page could be opened.
    """
    command = [sys.executable, "-m", "stvh_jax", "search", "serve", "--index", index, "--port", "0"]
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(r"open http://127.0.0.1:(\d+)/", line):
                yield process, int(found[1]), time.perf_counter() - begun
                break
        else:
            raise RuntimeError("the server has ended")
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: int) -> float:
    """Reads the processor time that a process has taken."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Gives percentiles, in milliseconds."""
    p50, p95, p99 = 1e3 * np.percentile(seconds, [50, 95, 99])
    return {"p50": p50, "p95": p95, "p99": p99, "max": 1e3 * max(seconds), "answers": len(seconds)}


class OneUser:
    """What one user waits for, by what is done.

    Attributes:
      spent: for each, percentiles in milliseconds, and the server's processor time for an answer.
    """

    def __init__(self, process: int, port: int, clips: int):
        """Asks for nothing yet."""
        self._process, self._page, self._clips = process, Page(port), clips
        self._random = np.random.default_rng(3)
        self.spent: dict[str, dict[str, float]] = {}

    def _clip(self) -> tuple[str, str]:
        return "clip", any_clip(self._random, self._clips)

    def time(self, what: str, requests: Sequence[tuple[str, list]]) -> bytes:
        """Times requests, and gives the last answer."""
        before, seconds, answer = processor_seconds(self._process), [], b""
        for path, parameters in requests:
            spent, answer = self._page.get(path, parameters)
            seconds.append(spent)
        taken = processor_seconds(self._process) - before
        self.spent[what] = {**summary(seconds), "processor": 1e3 * taken / len(seconds)}
        return answer

    def use(self) -> None:
        """Does everything that a user can do, one after the other."""
        self.time("first paint", [("/", [])])
        self.time("first paint of a link", [("/", [self._clip()])])
        self.time("paint", [("/", [])] * REPEATS)
        self.time("paint of a link", [("/", [self._clip()]) for _ in range(REPEATS)])
        asked = self._clip()
        answer = self.time("search", [("/results", [self._clip()]) for _ in range(REPEATS)])
        self.time("slider", [("/results", [asked, ("scale", f"{s:.2f}")]) for s in slid()])
        self.time("map, first", [("/map", [])])
        self.time("map", [("/map", [])] * REPEATS)
        self.time("slider and map", [("/results", [asked, ("scale", f"{s:.2f}")]) for s in slid()])
        activity = ("activity", page_index.ACTIVITIES[0])
        # An activity says nothing of the visual bits, which are all that counts at 0.
        steps = [("/results", [activity, ("scale", f"{s:.2f}")]) for s in slid() if s]
        self.time("slider, activity", steps)
        self._narrow(asked)
        liked, not_liked = shown(answer)[:3], shown(answer)[3:5]
        taught = [("like", name) for name in liked] + [("not", name) for name in not_liked]
        self.time("teaching", [("/results", [self._clip(), *taught]) for _ in range(REPEATS)])
        self.time("480 moments", [("/results", [self._clip(), ("count", "480")])] * 3)
        self.time("poster, first", [("/poster", [self._clip()]) for _ in range(REPEATS)])
        self.time("research, first", [("/research", [])])
        self.time("research", [("/research", [])] * 3)

    def _narrow(self, asked: tuple[str, str]) -> None:
        for name, values in (
            ("match", [f"match_{number + 1:03d}" for number in range(4)]),
            ("activity", page_index.ACTIVITIES[:4]),
        ):
            narrowed = [("/results", [asked, (f"is.{name}", value)]) for value in values]
            self.time(f"narrowing by {name}, first", narrowed)
            self.time(f"narrowing by {name}", narrowed[-1:] * REPEATS)
        conditions = [asked, ("is.activity", page_index.ACTIVITIES[0]), ("from", "0:05:00")]
        slider = [("/results", [*conditions, ("scale", f"{s:.2f}")]) for s in slid()]
        self.time("slider, narrowed", slider)


def slid() -> list[float]:
    """Gives the positions of a slider that is moved from one end to the other."""
    return np.round(np.linspace(0, 1, STEPS), 2).tolist()


def many_users(port: int, clips: int, users: int, seconds: float, think: float) -> dict[str, Any]:
    """Lets users use the page, from a process of their own."""
    command = [sys.executable, "-m", "benchmarks.page_users", f"--port={port}", f"--clips={clips}"]
    command += [f"--users={users}", f"--seconds={seconds}", f"--think={think}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    spent = {what: summary(own) for what, own in found["spent"].items()}
    everything = [each for own in found["spent"].values() for each in own]
    return {
        "users": users,
        "think": think,
        "errors": found["errors"],
        "requests_per_second": len(everything) / found["seconds"],
        "spent": {**spent, "all": summary(everything)},
    }


def mebibytes(process: int) -> dict[str, float]:
    """Reads the memory of a process, as it is and at its most."""
    return {field: memory(field, process) / 2**20 for field in ("VmRSS", "VmHWM")}


def measure(
    index: str, clips: int, users: int, seconds: float, thinks: Sequence[float]
) -> dict[str, Any]:
    """Measures a server of an index."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTED], check=True)
    results: dict[str, Any] = {"clips": clips, "import_seconds": time.perf_counter() - begun}
    with tempfile.TemporaryDirectory() as cache, served(index, cache) as (process, port, started):
        results["start_seconds"] = started
        results["start_processor_seconds"] = processor_seconds(process.pid)
        results["memory"] = {"started": mebibytes(process.pid)}
        one = OneUser(process.pid, port, clips)
        one.use()
        results["one_user"] = one.spent
        results["memory"]["one user"] = mebibytes(process.pid)
        results["many_users"] = []
        for think in thinks:
            before = processor_seconds(process.pid)
            found = many_users(port, clips, users, seconds, think)
            found["processors"] = (processor_seconds(process.pid) - before) / seconds
            results["many_users"].append(found)
            results["memory"][f"{users} users, {think:g} s"] = mebibytes(process.pid)
    results["load"] = os.getloadavg()[1]
    return results


def tables(results: Mapping[str, Any]) -> str:
    """Lays out everything measured."""
    keys = ["p50", "p95", "p99", "max", "answers"]
    texts = [
        f"{results['clips']} clips: {results['start_seconds']:.1f} s to the open page, of them "
        f"{results['import_seconds']:.1f} s of imports; load {results['load']:.1f}",
        markdown(
            ["one user, ms", *keys, "processor"],
            [
                [what, *(own[key] for key in [*keys, "processor"])]
                for what, own in results["one_user"].items()
            ],
        ),
    ]
    for many in results["many_users"]:
        texts.append(
            f"{many['users']} users who think for {many['think']:g} s: {len(many['errors'])} "
            f"errors, {many['requests_per_second']:.1f} answers/s, {many['processors']:.2f} "
            "processors"
        )
        rows = [[what, *(own[key] for key in keys)] for what, own in many["spent"].items()]
        texts.append(markdown(["many users, ms", *keys], rows))
    memory_rows = [[when, *own.values()] for when, own in results["memory"].items()]
    texts.append(markdown(["MiB", "now", "at most"], memory_rows))
    return "\n\n".join(texts)


def main(
    clips: int,
    users: int,
    seconds: float,
    think: float,
    folder: str | None,
    out: str | None,
) -> None:
    """Makes the index if it is not there, measures, and prints the tables."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        place = pathlib.Path(folder).absolute()
        place.mkdir(parents=True, exist_ok=True)
        uri = str(place / "index")
        if not (place / "index").is_dir():
            page_index.make(place, clips)
        results = measure(uri, clips, users, seconds, sorted({think, 0.0}, reverse=True))
    if out:
        pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


if __name__ == "__main__":
    CLIPS = flags.DEFINE_integer("clips", 10**6, "How many.", lower_bound=page_index.CLIPS_EACH)
    USERS = flags.DEFINE_integer("users", 50, "How many there are at once.", lower_bound=1)
    SECONDS = flags.DEFINE_float("seconds", 60.0, "How long they use it.", lower_bound=0.1)
    THINK = flags.DEFINE_float("think", 1.0, "Mean seconds between what one does.", lower_bound=0.0)
    INDEX = flags.DEFINE_string("index", None, "A folder to make the index in, and to keep.")
    OUT = flags.DEFINE_string("out", None, "A JSON file of everything measured.")

    def _run(_):
        main(CLIPS.value, USERS.value, SECONDS.value, THINK.value, INDEX.value, OUT.value)

    parsing.run_flags(_run)
