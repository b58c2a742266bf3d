"""A process in which cases run one after the other, and which the soak outlives."""

import contextlib
import multiprocessing
import os
import pathlib
import select
import signal
import sys
import threading
import time
import warnings

from tests.robustness import case
from tests.robustness.case import Outcome, Target, Verdict

# A worker that is forked from a process with all of this in it starts at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.robustness.case", "stvh_jax.inference.encoder"])
_SECONDS_BETWEEN_LOOKS = 0.05


class Worker:
    """The process of a target: started when it is first needed, and again after it has ended."""

    def __init__(self, target: Target, folder: pathlib.Path):
        """Takes a folder for the files of each case; what a case prints goes beside it."""
        self._target, self._folder = target, folder
        self._output = folder.with_name(f"{folder.name}.output")
        self._process = None

    def attempt(self, seed: str | None) -> Outcome:
        """Makes the case of a seed and runs it; without a seed, runs the one in the folder."""
        patience = self._target.seconds
        if self._process is None:
            self._start()
            patience += self._target.seconds_to_start
        try:
            self._connection.send(seed)
            outcome = self._answer(time.monotonic() + patience)
        except (EOFError, OSError):
            outcome = self._crashed()
        if outcome.verdict in (Verdict.CRASH, Verdict.HANG):
            self.close()
        return outcome

    def close(self) -> None:
        """Ends the process, and those that it has started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._process = None

    def _start(self) -> None:
        self._connection, other = _CONTEXT.Pipe()
        arguments = other, self._target, self._folder, self._output
        self._process = _CONTEXT.Process(target=_serve, args=arguments)
        self._process.start()
        other.close()
        self._connection.recv()  # it has a group of its own, which can be killed

    def _answer(self, deadline: float) -> Outcome:
        while not self._connection.poll(_SECONDS_BETWEEN_LOOKS):
            if time.monotonic() > deadline:
                return Outcome(Verdict.HANG, f"not done in {self._target.seconds} s")
            if (megabytes := _megabytes_of(self._process.pid)) > self._target.megabytes:
                return Outcome(Verdict.CRASH, f"took {megabytes} MB of memory, and went on")
        return self._connection.recv()

    def _crashed(self) -> Outcome:
        self._process.join()
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        end = self._output.read_text(errors="replace")[-3000:]
        return Outcome(Verdict.CRASH, f"the process ended by {how}\n{end}")


def _megabytes_of(process: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") >> 20
    return 0


def _end_with(connection) -> None:
    """Ends this process, and those that it has started, when the soak is no more."""
    hung_up = select.poll()
    hung_up.register(connection, 0)
    hung_up.poll()
    os.killpg(0, signal.SIGKILL)


def _serve(connection, target: Target, folder: pathlib.Path, output: pathlib.Path) -> None:
    """Answers each seed with an outcome, until it is killed."""
    os.setsid()
    warnings.filterwarnings("ignore", message=".*fork")
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    connection.send(None)
    while True:
        seed = connection.recv()
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
        if seed is not None:
            case.make(target, seed, folder)
        outcome = case.attempt(target, folder)
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(outcome)
