"""Trains and evaluates what an experiment needs and does not find: several runs at a time."""

import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import queue
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from experiments.trained_run import TrainedRun
from stvh_jax.errors import UserError

# Large buffers are kept and used again, not returned to the system after every step.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
# Of several runs, each is computed by one thread.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class Sweep:
    """Runs of one experiment, each a process of its own, `jobs` at a time."""

    def __init__(self, runs: Sequence[TrainedRun], *, jobs: int):
        """Names what is to be done; `execute` does it."""
        # Two rows of a table may be one run; nested codes are one run and several evaluations.
        self.runs = list({(run.folder, run.length): run for run in runs}.values())
        self.jobs = jobs
        self._slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(jobs):
            self._slots.put(slot)
        self._processes: set[subprocess.Popen] = set()
        self._folders: set[pathlib.Path] = set()
        self._stopped = threading.Event()
        self._done = 0

    def plan(self) -> str:
        """Says of every run what is there and what would be done, by which command and how long."""
        lines, left, trained = [], [], set()
        for run in self.runs:
            if run.results() is not None:
                lines.append(f"{run.folder}, {run.length} bits: is there")
                continue
            is_trained = run.is_trained or run.folder in trained
            trained.add(run.folder)
            seconds = run.seconds_left(is_trained=is_trained)
            left.append(seconds)
            how_long = "never measured" if seconds is None else f"about {_minutes(seconds)}"
            state = "is begun" if run.is_begun else "is missing"
            state = "is to be evaluated" if is_trained else state
            lines.append(f"{run.folder}, {run.length} bits: {state}; {how_long} on one core")
            commands = [] if is_trained else [run.train_command()]
            for command in (*commands, run.evaluate_command()):
                lines.append(f"  {shlex.join(['python', *command[1:]])}")
        total = "how long that takes was never measured"
        if None not in left:
            total = f"about {_minutes(sum(left) / self.jobs)} at {self.jobs} a time"
        lines.append(f"{len(left)} of {len(self.runs)} would be made; {total}")
        return "\n".join(lines)

    def check_data(self) -> None:
        """Opens the data, before the first of many runs fails for want of them.

        Raises:
          UserError: they are not prepared; says how.
        """
        missing = [run for run in self.runs if run.results() is None]
        if missing:
            from data.prepared.pipeline import open_dataset

            try:
                open_dataset(missing[0].config.data)
            except UserError as error:
                raise UserError(
                    f"{missing[0].setting.title}: {error}; nothing is filled in"
                ) from error

    def execute(self) -> None:
        """Trains and evaluates what is missing.

        Raises:
          UserError: some failed; the others were done all the same.
          KeyboardInterrupt: interrupted, or asked to end; every run was saved and goes on later.
        """
        missing = [run for run in self.runs if run.results() is None]
        failed = []
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        pool = concurrent.futures.ThreadPoolExecutor(self.jobs)
        try:
            makings = [pool.submit(self._make, run, len(missing)) for run in missing]
            for making in concurrent.futures.as_completed(makings):
                if said := making.result():
                    failed.append(said)
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            signal.signal(signal.SIGTERM, previous)
        if failed:
            raise UserError(f"{len(failed)} of {len(missing)} runs failed; {failed[0]}")

    def _stop(self) -> None:
        """Asks every process to save and end."""
        self._stopped.set()
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def _make(self, run: TrainedRun, count: int) -> str:
        """Trains and evaluates one run; returns what went wrong, "" if nothing."""
        try:
            said = self._train_and_evaluate(run)
        except OSError as error:
            said = str(error)
        if self._stopped.is_set():
            return ""
        if said:
            print(f"{run.folder} failed: {said}", flush=True)
            return said
        self._done += 1
        print(f"{self._done} of {count} are done", flush=True)
        return ""

    def _train_and_evaluate(self, run: TrainedRun) -> str:
        with self._locked(run.folder) as lock:
            for command, is_done in (
                (run.train_command(), lambda: run.is_trained),
                (run.evaluate_command(), lambda: run.results() is not None),
            ):
                if self._stopped.is_set() or is_done():
                    continue
                started = time.monotonic()
                said = self._call(command, _log(run.folder), lock)
                if said or self._stopped.is_set():
                    return said
                if not is_done():
                    said = f"{shlex.join(command[1:])} ended without its result"
                    return f"{said}, of the {run.setting.checkpoint} checkpoint"
                seconds = time.monotonic() - started
                verb = "trained" if command[1] == "train.py" else f"{run.length} bits evaluated"
                print(f"{run.folder}: {verb} in {_minutes(seconds)}", flush=True)
        return ""

    def _call(self, command: Sequence[str], log: pathlib.Path, lock: int) -> str:
        """Runs a command into a log; returns the last thing that it says if it fails.

        The command holds the lock of its run as well, should this process be killed before it.
        """
        slot = self._slots.get()
        try:
            with log.open("a") as file:
                begun_at = file.tell()
                status = self._wait_for(command, file, lock, slot)
        finally:
            self._slots.put(slot)
        if status == 0:
            return ""
        with log.open(errors="replace") as file:
            file.seek(begun_at)
            lines = file.read().strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        last = (errors or lines or ["nothing was said"])[-1].removeprefix("error: ")
        if status < 0:
            last = f"killed by signal {-status}, perhaps for want of memory"
        return f"{shlex.join(command[1:])}: {last} (see {log})"

    def _wait_for(self, command: Sequence[str], file, lock: int, slot: int) -> int:
        """Runs a command, on cores of its own if there are several; returns its status."""
        environment = os.environ | _ENVIRONMENT
        if self.jobs > 1:
            own_flags = os.environ.get("XLA_FLAGS", "")
            environment |= {**_ONE_THREAD, "XLA_FLAGS": f"{_ONE_THREAD['XLA_FLAGS']} {own_flags}"}
        # In a group of its own: Ctrl-C reaches it through `_stop`, once.
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
            pass_fds=(lock,),
        )
        self._processes.add(process)
        if self.jobs > 1 and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[slot :: self.jobs]
            with contextlib.suppress(OSError):  # it has ended already
                os.sched_setaffinity(process.pid, cores or os.sched_getaffinity(0))
        if self._stopped.is_set():
            process.terminate()
        status = process.wait()
        self._processes.discard(process)
        return status

    @contextlib.contextmanager
    def _locked(self, folder: pathlib.Path) -> Iterator[int]:
        """Keeps other sweeps from a run, waiting for one that has it; gives the lock's file."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as file:
            waits = False
            while not self._stopped.is_set():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    # Another length of the same code waits in silence for this sweep's own run.
                    if not waits and folder not in self._folders:
                        print(f"waiting for {folder}, which another sweep makes", flush=True)
                    waits = True
                    self._stopped.wait(0.5)
            self._folders.add(folder)
            try:
                yield file.fileno()
            finally:
                self._folders.discard(folder)


def _log(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.log")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
