"""The operations that took the most time, from a trace that `jax.profiler` wrote as JSON."""

import collections
import dataclasses
import gzip
import json
import pathlib
import re
from typing import Any

# The rank of a line that is a stream of a GPU.
STREAM = 2


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a compiled function, over a whole trace.

    Attributes:
      name: as XLA named it.
      seconds: that it took itself, without those within it.
      calls: how often it ran.
      share: of the time of all operations.
      result: type and shape of what it makes, or "" if the compiled function does not tell.
      source: what it was in the program, likewise.
    """

    name: str
    seconds: float
    calls: int
    share: float
    result: str = ""
    source: str = ""


def read_events(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the events of the newest trace in a folder.

    Raises:
      FileNotFoundError: there is no trace.
    """
    traces = sorted(folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime)
    if not traces:
        raise FileNotFoundError(f"{folder} has no *.trace.json.gz")
    with gzip.open(traces[-1], "rt", encoding="utf-8") as file:
        return json.load(file)["traceEvents"]


def top_operations(
    events: list[dict[str, Any]], *, compiled: str = "", most: int = 10
) -> list[Operation]:
    """Finds the operations that took the most time.

    Args:
      events: of a trace.
      compiled: the text of the compiled function, to say what each operation is.
      most: how many to list.
    """
    spent: dict[str, float] = collections.defaultdict(float)
    calls: collections.Counter = collections.Counter()
    for line in _lines(events):
        for name, seconds in _own_times(line):
            spent[name] += seconds
            calls[name] += 1
    whole = sum(spent.values())
    ranked = sorted(spent, key=lambda name: -spent[name])[:most]
    known = _described(compiled)
    return [
        Operation(name, spent[name], calls[name], spent[name] / whole, *known.get(name, ("", "")))
        for name in ranked
    ]


def _lines(events) -> list[list[dict]]:
    """Sorts the events of operations into lines, in each of which one runs at a time or in another.

    A GPU's trace may show an operation twice, as a kernel on a stream and on a line of its own, as
    may the host's that started it: the streams count, then what else the device shows. A kernel of
    a CUDA graph does not say what operation it is of, and counts under its own name.
    """
    processes, threads = {}, {}
    for event in events:
        if event.get("ph") == "M" and event["name"] == "process_name":
            processes[event["pid"]] = event["args"]["name"]
        if event.get("ph") == "M" and event["name"] == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]

    def rank(line) -> int:
        on_device = processes.get(line[0], "").startswith("/device:")
        return on_device + (on_device and threads.get(line, "").startswith("Stream"))

    lines = collections.defaultdict(list)
    for event in events:
        line = event.get("pid"), event.get("tid")
        if event.get("ph") == "X" and ("hlo_op" in event.get("args", {}) or rank(line) == STREAM):
            lines[line].append(event)
    best = max(map(rank, lines), default=0)
    return [lines[line] for line in lines if rank(line) == best]


def _own_times(line: list[dict]) -> list[tuple[str, float]]:
    """Lists the name and seconds of each event, without the events that lie within it."""
    found, open_events = [], []
    for event in sorted(line, key=lambda event: (event["ts"], -event.get("dur", 0))):
        end = event["ts"] + event.get("dur", 0)
        while open_events and open_events[-1][0] <= event["ts"]:
            open_events.pop()
        if open_events:
            open_events[-1][1][1] -= event.get("dur", 0)
        name = event.get("args", {}).get("hlo_op") or event["name"]
        found.append([name, event.get("dur", 0)])
        open_events.append((end, found[-1]))
    return [(name, microseconds / 1e6) for name, microseconds in found]


def _described(compiled: str) -> dict[str, tuple[str, str]]:
    """Reads the result and the source of every operation from the text of a compiled function."""
    known = {}
    for line in compiled.splitlines():
        parts = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) [\w\-]+\(", line)
        if not parts:
            continue
        source = re.search(r'op_name="([^"]*)"', line)
        result = re.sub(r"\{[^}]*\}", "", parts[2])
        known[parts[1]] = (result[:60], source[1][-90:] if source else "")
    return known
