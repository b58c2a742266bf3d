"""Trains and evaluates the runs that experiments need and that do not exist, several at a time."""

import concurrent.futures
import contextlib
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
from stvh_jax import files
from stvh_jax.errors import UserError

# Large buffers are kept and reused instead of going back to the system after every step.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
# If several runs share the machine, each gets one thread.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class Sweep:
    """The runs of some experiments, `jobs` of them at a time, each in a process of its own."""

    def __init__(self, runs: Sequence[TrainedRun], *, jobs: int):
        """Prepares the sweep; `execute` starts it."""
        # Two rows of a table may be the same run; a run of nested codes has several evaluations.
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
        """Lists what exists of each run, the commands that would be run, and how long they take."""
        lines, left, trained = [], [], set()
        for run in self.runs:
            if run.results() is not None:
                lines.append(f"{run.folder}, {run.length} bits: exists")
                continue
            is_trained = run.is_trained or run.folder in trained
            trained.add(run.folder)
            seconds = run.seconds_left(is_trained=is_trained)
            left.append(seconds)
            how_long = "never measured" if seconds is None else f"about {_minutes(seconds)}"
            state = "was begun" if run.is_begun else "is missing"
            state = "has to be evaluated" if is_trained else state
            lines.append(f"{run.folder}, {run.length} bits: {state}; {how_long} on one core")
            commands = [] if is_trained else [run.train_command()]
            for command in (*commands, run.evaluate_command()):
                lines.append(f"  {shlex.join(['python', *command[1:]])}")
        total = "how long this takes was never measured"
        if None not in left:
            total = f"about {_minutes(sum(left) / self.jobs)} with {self.jobs} at a time"
        lines.append(f"{len(left)} of {len(self.runs)} runs would be made; {total}")
        return "\n".join(lines)

    def check_data(self) -> None:
        """Opens the data, so that missing data are reported before the first run.

        Raises:
          UserError: the data are not prepared; the message says how to do that.
        """
        missing = [run for run in self.runs if run.results() is None]
        if not missing:
            return
        from data.prepared.pipeline import open_dataset

        for run in {run.config.data.variant: run for run in missing}.values():
            try:
                open_dataset(run.config.data)
            except UserError as error:
                raise UserError(f"{run.setting.title}: {error}; nothing is filled in") from error

    def execute(self) -> None:
        """Trains and evaluates what is missing.

        Raises:
          UserError: some runs failed; all others were made.
          KeyboardInterrupt: Ctrl-C or SIGTERM; every run was saved and can be continued.
        """
        missing = [run for run in self.runs if run.results() is None]
        failed = []
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        pool = concurrent.futures.ThreadPoolExecutor(self.jobs)
        try:
            makings = [pool.submit(self._make, run, len(missing)) for run in missing]
            for making in concurrent.futures.as_completed(makings):
                if problem := making.result():
                    failed.append(problem)
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            signal.signal(signal.SIGTERM, previous)
        if failed:
            raise UserError(f"{len(failed)} of {len(missing)} runs failed; {failed[0]}")

    def _stop(self) -> None:
        """Asks every process to save its run and exit."""
        self._stopped.set()
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def _make(self, run: TrainedRun, count: int) -> str:
        """Trains and evaluates one run; returns the error, "" if there was none."""
        try:
            problem = self._train_and_evaluate(run)
        except OSError as error:
            problem = str(error)
        if self._stopped.is_set():
            return ""
        if problem:
            print(f"{run.folder} failed: {problem}", flush=True)
            return problem
        self._done += 1
        print(f"{self._done} of {count} runs are done", flush=True)
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
                problem = self._call(command, _log(run.folder), lock)
                if problem or self._stopped.is_set():
                    return problem
                if not is_done():
                    problem = f"{shlex.join(command[1:])} ended without its result"
                    return f"{problem}, of the {run.setting.checkpoint} checkpoint"
                seconds = time.monotonic() - started
                verb = "trained" if command[1] == "train.py" else f"{run.length} bits evaluated"
                print(f"{run.folder}: {verb} in {_minutes(seconds)}", flush=True)
        return ""

    def _call(self, command: Sequence[str], log: pathlib.Path, lock: int) -> str:
        """Runs a command, with its output in a log; returns its last message if it fails.

        The command also holds the lock of its run, in case this process is killed before it ends.
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
        last = (errors or lines or ["no output"])[-1].removeprefix("error: ")
        if status < 0:
            last = f"killed by signal {-status}, perhaps because memory ran out"
        return f"{shlex.join(command[1:])}: {last} (see {log})"

    def _wait_for(self, command: Sequence[str], file, lock: int, slot: int) -> int:
        """Runs a command, on its own cores if several run at a time; returns its status."""
        environment = os.environ | _ENVIRONMENT
        if self.jobs > 1:
            own_flags = os.environ.get("XLA_FLAGS", "")
            environment |= {**_ONE_THREAD, "XLA_FLAGS": f"{_ONE_THREAD['XLA_FLAGS']} {own_flags}"}
        # In its own process group, so that Ctrl-C reaches it only once, through `_stop`.
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
            with contextlib.suppress(OSError):  # the process has already ended
                os.sched_setaffinity(process.pid, cores or os.sched_getaffinity(0))
        if self._stopped.is_set():
            process.terminate()
        status = process.wait()
        self._processes.discard(process)
        return status

    @contextlib.contextmanager
    def _locked(self, folder: pathlib.Path) -> Iterator[int]:
        """Locks a run against other sweeps, after waiting for one that is making it.

        Gives the lock's file descriptor, or -1 without a lock if the sweep is stopped meanwhile.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            descriptor, waits = -1, False
            while not self._stopped.is_set():
                try:
                    lock = files.lock(folder.with_name(f"{folder.name}.lock"))
                    descriptor = stack.enter_context(lock).fileno()
                    break
                except files.Locked:
                    # The lengths of a nested code wait in silence for this sweep's own run.
                    if not waits and folder not in self._folders:
                        print(f"waiting for {folder}, which another sweep makes", flush=True)
                    waits = True
                    self._stopped.wait(0.5)
            self._folders.add(folder)
            try:
                yield descriptor
            finally:
                self._folders.discard(folder)


def _log(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.log")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
