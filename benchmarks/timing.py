"""Times ways of doing the same work in turn, and reports ratios: machines are noisy, ratios less.

Every benchmark that compares with something else is made of this: `alternate` times, `Comparison`
holds what came out, `report` prints a table and writes JSON.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from stvh_jax.console import error_line
from stvh_jax.evaluation.environment import hardware, versions
from stvh_jax.reporting.tables import aligned


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How long our way takes beside another's.

    Attributes:
      work: what is done, as a row of a table names it.
      ours: seconds of each round.
      peer: seconds of each round of the other way, in the same order.
      goal: what the ratio should be at most; None where none is set.
    """

    work: str
    ours: Sequence[float]
    peer: Sequence[float]
    goal: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours over the other's, round by round."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer)]

    @property
    def ratio(self) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios)

    def as_json(self) -> dict:
        """The medians, the ratio and its spread as plain numbers."""
        return {
            "work": self.work,
            "ours_seconds": statistics.median(self.ours),
            "peer_seconds": statistics.median(self.peer),
            "ratio": self.ratio,
            "lowest_ratio": min(self.ratios),
            "highest_ratio": max(self.ratios),
            "goal": self.goal,
            "rounds": len(self.ours),
        }


def alternate(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, least_seconds: float = 0.2
) -> dict[str, list[float]]:
    """Calls every way in turn, `rounds` times.

    Each is called once before, unmeasured, to compile and to warm up. A way that is quick is called
    several times a turn, until `least_seconds` have passed; a round is then the mean of its calls.
    A way must return when its work is done: `jax.block_until_ready` is the caller's.

    Returns:
      Seconds of a call in each round, by the names of `ways`.
    """
    calls = {}
    for name, way in ways.items():
        way()
        start = time.perf_counter()
        way()
        calls[name] = max(1, int(least_seconds / max(time.perf_counter() - start, 1e-7)))
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                way()
            spent[name].append((time.perf_counter() - start) / calls[name])
    return spent


def compare(
    work: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    rounds: int,
    goal: float | None = None,
) -> Comparison:
    """Times our way and another's in turn."""
    spent = alternate({"ours": ours, "peer": peer}, rounds=rounds)
    return Comparison(work, spent["ours"], spent["peer"], goal)


def parser(description: str | None, *, rounds: int = 5) -> argparse.ArgumentParser:
    """Makes the command line that every comparison has: --rounds and --out."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--rounds", type=int, default=rounds, help="turns of each way")
    made.add_argument("--out", type=pathlib.Path, help="a file for the table as JSON")
    return made


def needs_torch(threads: int = 0) -> str:
    """Gives PyTorch its threads, 0 for one a core; ends the program where it is missing.

    Where other programs share the cores, its threads wait for one another: one may then be faster.

    Returns:
      PyTorch's name, version and threads.
    """
    if importlib.util.find_spec("torch") is None:
        message = "this is timed beside PyTorch, which is missing: pip install '.[torch]'"
        print(error_line(message), file=sys.stderr)
        raise SystemExit(2)
    import torch

    torch.set_num_threads(threads or os.cpu_count() or 1)
    return f"PyTorch {torch.__version__}, threads: {torch.get_num_threads()}"


def environment() -> dict[str, str]:
    """Says what a measurement ran on."""
    return {
        "hardware": hardware(),
        "versions": versions(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def report(
    title: str, comparisons: Sequence[Comparison], *, peer: str, out: pathlib.Path | None
) -> None:
    """Prints a row for each comparison, and writes them as JSON where `out` is given.

    `peer` names the other way with its version.
    """
    print(f"{title}; {hardware()}; beside {peer}")
    rows = [["", "ours ms", "peer ms", "ratio", "lowest", "highest", "goal"]]
    for found in map(Comparison.as_json, comparisons):
        times = [f"{1e3 * found[key]:.2f}" for key in ("ours_seconds", "peer_seconds")]
        ratios = [f"{found[key]:.2f}" for key in ("ratio", "lowest_ratio", "highest_ratio")]
        goal = "" if found["goal"] is None else f"{found['goal']:g}"
        rows.append([found["work"], *times, *ratios, goal])
    print(aligned(rows), flush=True)
    if out:
        written = {
            "title": title,
            "peer": peer,
            "environment": environment(),
            "comparisons": [one.as_json() for one in comparisons],
        }
        out.write_text(json.dumps(written, indent=2) + "\n")
