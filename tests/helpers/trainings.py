"""Trainings of the shared run in processes of their own."""

import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(folder: pathlib.Path, **flags) -> list[str]:
    """Gives the command of a training in a folder, with flags of `training_process`."""
    started = [sys.executable, "-m", "tests.helpers.training_process", f"--workdir={folder}"]
    return started + [f"--{name}={value}" for name, value in flags.items()]


def start(folder: pathlib.Path, **flags) -> subprocess.Popen:
    """Starts a training in a folder."""
    return subprocess.Popen(
        command(folder, **flags),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder: pathlib.Path, **flags) -> list[subprocess.Popen]:
    """Starts two processes of one training, which meet at a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{listener.getsockname()[1]}"
    return [start(folder, coordinator=coordinator, process_id=each, **flags) for each in range(2)]


def read_until_waiting(process: subprocess.Popen) -> list[str]:
    """Reads what a training prints until it waits, see `--wait_at`.

    Raises:
      AssertionError: it ends before, with what it printed as errors.
    """
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "waiting\n":
            return lines
    raise AssertionError(process.communicate()[1])
