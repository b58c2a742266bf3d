"""Parity, throughput, memory and a profile on a GPU, in a few minutes: see benchmarks/gpu.sh."""

import argparse
import json
import os
import pathlib
import re
import signal
import sys
import time

from benchmarks.gpu import needs

# The exit status after a signal to end; the results so far are kept.
STOPPED = 128 + signal.SIGTERM
# Of the device's memory, what a process takes at its start.
SHARE_OF_MEMORY = "0.92"
# Seconds in which a process says what the device is.
LONGEST_START = 120.0


def main() -> int:
    """Runs the command line; returns the exit status."""
    given = read_arguments()
    if absent := needs.missing():
        return complain(
            f"these packages are missing: {', '.join(absent)}; make a folder of wheels as the head "
            "of benchmarks/gpu.sh says, and give it as --wheels DIR"
        )
    if given.measure:
        from benchmarks.gpu.children import measure_here

        kind, settings, out = given.measure
        measure_here(kind, json.loads(settings), pathlib.Path(out))
        return 0
    if given.store_parity:
        from benchmarks.gpu import parity

        parity.store()
        return 0
    return measure_all(given)


def read_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="the time limit of all")
    parser.add_argument(
        "--out", type=pathlib.Path, default="gpu.json", help="the file for the results as JSON"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a CPU too")
    parser.add_argument("--only", default="", help="measure names with this (regular expression)")
    parser.add_argument(
        "--after", type=pathlib.Path, help="leave out what these results of before have measured"
    )
    parser.add_argument(
        "--store-parity", action="store_true", help="compute on a CPU what parity compares with"
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def complain(message: str) -> int:
    """Prints a user's mistake as one line; returns the exit status."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def measure_all(given: argparse.Namespace) -> int:
    """Makes the measurements that fit in the time; returns 1 where parity does not hold."""
    from benchmarks.gpu import children, limit

    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", SHARE_OF_MEMORY)
    budget = limit.Budget(60 * given.minutes)
    signals: list[int] = []

    def stop(number, frame):
        signals.append(number)
        budget.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        plan = choose(given)
    except ValueError as error:
        return complain(str(error))
    start = time.monotonic()
    device = children.measure_apart(
        "device", {}, lambda: min(budget.left(), start + LONGEST_START - time.monotonic())
    )
    if device["status"] != "measured":
        return complain(f"JAX does not start on this machine: {device.get('reason')}")
    if device["platform"] != "gpu" and not given.small:
        return complain(
            f"JAX sees no GPU here, only {device['device']}; install its CUDA build, or try "
            "everything on this machine with --small"
        )
    try:
        results = follow(plan, describe(given, device), given.out, budget)
    except OSError as error:
        return complain(f"cannot write {given.out} ({error.strerror})")
    results["state"] = "stopped by a signal" if signals else "done"
    return finish(results, given.out) or (STOPPED if signals else 0)


def choose(given: argparse.Namespace) -> list:
    """Chooses the measurements that the command line asks for.

    Raises:
      ValueError: one of its values cannot be used.
    """
    from benchmarks.gpu.plan import ALWAYS, make_plan

    if given.minutes <= 0:
        raise ValueError(f"--minutes is {given.minutes:g}; give more than 0")
    done = set()
    if given.after:
        try:
            before = json.loads(given.after.read_text())["measurements"]
            done = {one["name"] for one in before if one["status"] == "measured"}
        except (OSError, ValueError, LookupError, TypeError) as error:
            message = f"--after={given.after} is not a file that --out has written ({error})"
            raise ValueError(message) from error
    try:
        wanted = re.compile(given.only)
    except re.error as error:
        raise ValueError(f"--only={given.only} is not a regular expression ({error})") from error
    return [
        one
        for one in make_plan(small=given.small)
        if one.name in ALWAYS or (one.name not in done and wanted.search(one.name))
    ]


def describe(given: argparse.Namespace, device: dict) -> dict:
    """Says what the measurements are made on, and gives them a place."""
    from stvh_jax.evaluation.environment import versions

    return {
        "state": "running",
        "minutes": given.minutes,
        "small": given.small,
        "device": device,
        "environment": {"versions": versions(), "python": sys.version.split()[0]},
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "measurements": [],
    }


def follow(plan, results: dict, out: pathlib.Path, budget) -> dict:
    """Measures, and writes the results again after every measurement; returns them.

    Raises:
      OSError: they cannot be written.
    """
    from benchmarks.gpu import children, limit, report

    known: dict[str, dict] = {}

    def record(outcome):
        known[outcome["name"]] = report.add_shares(outcome, known)
        results["measurements"] = list(known.values())
        children.write_whole(out, results)
        shown = f"{outcome['name']}: {outcome['status']}"
        print(f"{shown} {outcome.get('reason', '')}".rstrip(), file=sys.stderr, flush=True)

    children.write_whole(out, results)
    limit.run_plan(
        plan,
        lambda one, left: children.measure_apart(one.kind, one.settings, left),
        record,
        budget=budget,
        memory=results["device"]["memory_bytes"],
    )
    return results


def finish(results: dict, out: pathlib.Path) -> int:
    """Writes the results and prints them; returns 1 where parity does not hold."""
    from benchmarks.gpu import children, report

    children.write_whole(out, results)
    print(report.text(results), flush=True)
    print(f"written to {out}", file=sys.stderr)
    parity = [one for one in results["measurements"] if one["name"] == "parity"]
    if any(not case["holds"] for one in parity for case in one.get("cases", [])):
        print("error: parity does not hold; see the first table", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
