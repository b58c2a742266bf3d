"""Runs a measurement in a process of its own: its memory, and nothing of another one's."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]


def apart(
    module: str, asked: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs `python -m MODULE --asked JSON`, which prints what it found as one line of JSON.

    Args:
      module: of `benchmarks`, by its full name.
      asked: what it is to measure.
      environment: variables to set beside those that are set.

    Raises:
      CalledProcessError: it failed; its messages are on stderr.
    """
    command = [sys.executable, "-m", module, "--asked", json.dumps(asked)]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory(field: str = "VmHWM", process: int | str = "self") -> int:
    """Reads a process's own memory in bytes: VmRSS as it is, VmHWM at its most."""
    # The peak that getrusage knows may be that of the process which started this one.
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/{process}/status has no {field}")


def forget_peak() -> None:
    """Makes VmHWM start again from the memory that there is now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
