"""Hands broken files, flags and faults to the library for some minutes and counts what it says."""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Sequence

from tests.robustness import case
from tests.robustness.case import Outcome, Target, Verdict
from tests.robustness.worker import Worker

OUTPUT = "output.txt"


@dataclasses.dataclass
class Tally:
    """What the cases of one target came to.

    Attributes:
      counts: how many cases there were of each verdict.
      skipped: why the target cannot run here; "" where it can.
    """

    name: str
    counts: collections.Counter[Verdict] = dataclasses.field(default_factory=collections.Counter)
    skipped: str = ""

    @property
    def good(self) -> bool:
        return all(verdict.good for verdict in self.counts)


@dataclasses.dataclass
class Failures:
    """The cases that failed, each in a folder of its own: of those that fail alike, the smallest.

    Attributes:
      folder: of them all.
      kept: how large the case is that stands for all that fail like it.
    """

    folder: pathlib.Path
    kept: dict[str, int] = dataclasses.field(default_factory=dict)

    def keep(self, target: Target, outcome: Outcome, made: pathlib.Path) -> None:
        """Copies a failed case, unless a smaller one that fails alike is kept."""
        name = "-".join([*re.findall(r"[\w.]+", target.name), alike(outcome)])
        size = sum(path.lstat().st_size for path in made.rglob("*") if not path.is_dir())
        if size >= self.kept.get(name, size + 1):
            return
        self.kept[name] = size
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(made, self.folder / name, symlinks=True)
        (self.folder / name / OUTPUT).write_text(f"{outcome.verdict}\n{outcome.text}\n")


def alike(outcome: Outcome) -> str:
    """Names a failure by its verdict and by its last line, without what differs between cases."""
    assert outcome.verdict is not None
    last = (outcome.text.strip().splitlines() or [""])[-1]
    words = re.findall(r"\b[a-z]+\b", re.sub(r"/\S+|'[^']*'", "", last).lower())
    return "-".join([*outcome.verdict.value.split(), *words[:6]])[:80]


def soak(
    targets: Sequence[Target],
    *,
    seconds: float,
    seed: int,
    least: int,
    kills: int,
    failures: Failures,
) -> list[Tally]:
    """Runs the cases of all targets, which share the time evenly.

    Args:
      targets: what is tried.
      seconds: how long all of it takes, about.
      seed: of the cases.
      least: how many cases of each target there are, however long they take.
      kills: the same, of targets that kill.
      failures: where the cases that fail are kept.
    """
    workers = min(os.cpu_count() or 1, len(targets))
    share = seconds * workers / len(targets)

    def run(target: Target) -> Tally:
        tally = _soak_one(target, share, seed, kills if target.kills else least, failures)
        print(row(tally), flush=True)
        return tally

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, targets))


def _soak_one(target: Target, seconds: float, seed: int, least: int, failures: Failures) -> Tally:
    tally = Tally(target.name)
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        made = pathlib.Path(scratch, "case")
        worker = Worker(target, made)
        try:
            for number in itertools.count():
                if number >= least and time.monotonic() >= deadline:
                    break
                outcome = worker.attempt(f"{seed}/{target.name}/{number}")
                if outcome.verdict is None:
                    tally.skipped = outcome.text
                    break
                tally.counts[outcome.verdict] += 1
                if not outcome.verdict.good:
                    failures.keep(target, outcome, made)
        finally:
            worker.close()
    return tally


def again(targets: Sequence[Target], folder: pathlib.Path) -> Outcome:
    """Runs a case that was kept."""
    name = json.loads((folder / case.CASE).read_text())["target"]
    target = next(target for target in targets if target.name == name)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        made = pathlib.Path(scratch, "case")
        if target.files:
            shutil.copytree(folder, made, symlinks=True)
        else:  # what lies there was made by the run that failed
            made.mkdir()
            shutil.copy(folder / case.CASE, made)
        worker = Worker(target, made)
        try:
            return worker.attempt(None)
        finally:
            worker.close()


def table(tallies: Sequence[Tally]) -> str:
    """Writes the table: a row per target, and their sums."""
    total = Tally("all")
    for tally in tallies:
        total.counts += tally.counts
    heads = f"{'target':<24}{'runs':>8}" + "".join(f"{each.value:>16}" for each in Verdict)
    return "\n".join([heads, *map(row, tallies), row(total)])


def row(tally: Tally) -> str:
    """Writes the row of a target."""
    cells = "".join(f"{tally.counts[verdict]:>16}" for verdict in Verdict)
    skipped = f"  skipped: {tally.skipped}" if tally.skipped else ""
    return f"{tally.name:<24}{tally.counts.total():>8}{cells}{skipped}"
