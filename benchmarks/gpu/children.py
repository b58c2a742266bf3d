"""Processes that measure, one at a time: the memory and the settings of each are its own.

A process writes what it has found so far as a file, again and again where that grows; whatever ends
it, the last whole file is what it found.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

# A process gets this long to end by itself once it is told to.
GRACE = 3.0
POLL = 0.1


def find_measure(kind: str) -> Callable[[dict[str, Any]], Any]:
    """Gives the function that measures a kind; it may yield what it knows so far, to the last."""
    # Imported here: only a process that measures may start JAX.
    if kind == "device":
        from benchmarks.gpu.ceilings import describe_device

        return lambda settings: describe_device()
    if kind == "ceilings":
        from benchmarks.gpu.ceilings import measure_ceilings

        return measure_ceilings
    if kind == "parity":
        from benchmarks.gpu.parity import compare

        return compare
    if kind == "host":
        from benchmarks.gpu.host import measure_host

        return measure_host
    from benchmarks.gpu.steps import count_operations, measure_step

    return count_operations if kind == "operations" else measure_step


def measure_here(kind: str, settings: dict[str, Any], out: pathlib.Path) -> None:
    """Measures in this process, and writes what it finds; an error is found, too."""
    try:
        found = find_measure(kind)(settings)
        for part in [found] if isinstance(found, dict) else found:
            write_whole(out, {"status": "cut off", **part})
            found = part
        write_whole(out, {**found, "status": "measured"})
    except Exception as error:  # of the compiler, the device or the library: one line of it
        reason = " ".join(str(error).split())[:300]
        reason = f"{type(error).__name__}: {reason}"
        write_whole(out, {"status": "failed", "reason": name_failure(reason)})


def name_failure(reason: str) -> str:
    """Puts before the reason of a failure what it means, where that is known."""
    if "RESOURCE_EXHAUSTED" in reason or "out of memory" in reason.lower():
        return f"out of memory: {reason}"
    return reason


def measure_apart(kind: str, settings: dict[str, Any], left: Callable[[], float]) -> dict[str, Any]:
    """Measures in a process of its own, which is ended when no seconds are left."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = pathlib.Path(folder, "found.json"), pathlib.Path(folder, "log")
        command = [sys.executable, "-m", "benchmarks.gpu", "--measure", kind]
        command += [json.dumps(settings), str(out)]
        with log.open("wb") as errors, running(command, stderr=errors) as process:
            start = time.monotonic()
            while process.poll() is None and left() > 0:
                time.sleep(POLL)
            seconds = time.monotonic() - start
            in_time = process.poll() is not None
        if out.exists():
            found = json.loads(out.read_text())
            if found["status"] == "cut off":
                ended = f"its process ended with status {process.returncode}"
                found["reason"] = ended if in_time else f"not done after {seconds:.0f} s"
            return found
        if not in_time:
            return {"status": "cut off", "reason": f"not done after {seconds:.0f} s"}
        # A crash, such as the system's when the memory is full.
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing was said"]
        reason = f"its process ended with status {process.returncode}: {lines[-1][:300]}"
        return {"status": "failed", "reason": reason}


@contextlib.contextmanager
def running(command: list[str], **options: Any):
    """Runs a process, and ends it and its own when the context does, whatever the reason."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)


def write_whole(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Writes JSON whole or not at all, in the place of a file that is there."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.replace(path)
