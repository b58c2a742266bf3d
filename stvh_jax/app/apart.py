"""Work in a process of its own, with limits: what is made of files of strangers, or takes long.

The server's side is `Apart.run`, which starts `python -m MODULE`, and the module's is `answer`. A
job and its result are JSON, by way of files that have no name, so that nothing a process leaves in
its folder is read by the server.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from stvh_jax.errors import Damaged, Exists, NotFound, UserError, not_installed, one_line

# The most bytes of a result, and of what is kept of a process's last words.
_MOST_RESULT, _MOST_WORDS = 16 << 20, 2000
# A process may have so many open files, and use so many cores: each core more means more threads,
# whose stacks count as memory.
_MOST_FILES, _MOST_CORES = 256, 8
_NICER = 5
# Seconds between two looks at whether a process has ended.
_LOOK = 0.02
# Variables of the environment that a process gets, with those that begin with JAX_: no keys.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "XLA_FLAGS")
_ERRORS = {kind.__name__: kind for kind in (Damaged, Exists, NotFound)}
_MEMORY = "MemoryError"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a process may use.

    Attributes:
      patience: seconds until it is killed.
      memory: bytes of data, without the code of libraries.
      most_file: bytes of each file that it writes.
    """

    patience: float | int
    memory: int
    most_file: int


class Apart:
    """Starts processes, a few at once."""

    def __init__(self, most: int, busy: str):
        """Starts nothing yet.

        Args:
          most: how many may run at once.
          busy: the error where none of these ends in time.
        """
        self._free, self._busy = threading.BoundedSemaphore(most), busy
        self._running: set[subprocess.Popen] = set()
        self._lock, self._closed = threading.Lock(), False

    def run(
        self,
        module: str,
        folder: pathlib.Path,
        job: dict[str, Any],
        bounds: Bounds,
        *,
        wait: float | int = 0.0,
    ) -> dict[str, Any]:
        """Does a job in a process of its own, and gives its result.

        Args:
          module: what is run; it calls `answer`.
          folder: where it runs, and may write.
          job: plain values for JSON.
          bounds: what it may use.
          wait: seconds to wait for others to end.

        Raises:
          UserError: the work raised it, or took too long or too much memory, or others were busy.
        """
        if not self._free.acquire(timeout=float(wait)):
            raise UserError(self._busy)
        with contextlib.ExitStack() as stack:
            stack.callback(self._free.release)
            given, result, words = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(json.dumps({"bounds": dataclasses.asdict(bounds), "job": job}).encode())
            given.seek(0)
            process, late = self._start(module, folder, (given, result, words)), False
            try:
                late = not _ended(process, bounds.patience)
            finally:
                self._stop(process)
            if self._closed:
                raise UserError("the page is being closed")
            return _result(process.returncode, result, words, bounds, late=late)

    def close(self) -> None:
        """Kills what runs, and starts nothing more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def _start(
        self, module: str, folder: pathlib.Path, streams: tuple[IO[bytes], ...]
    ) -> subprocess.Popen:
        given, result, words = streams
        path = [each for each in sys.path if os.path.isabs(each)]
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith("JAX_")
        } | {
            "PYTHONPATH": os.pathsep.join(path),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "JAX_PLATFORMS": "cpu",
        }
        with self._lock:
            if self._closed:
                raise UserError("the page is being closed")
            process = subprocess.Popen(
                # Without -P Python would import what lies in the folder.
                [sys.executable, "-P", "-m", module],
                stdin=given,
                stdout=result,
                stderr=words,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def _stop(self, process: subprocess.Popen) -> None:
        """Ends a process with all that it started."""
        with self._lock:
            self._running.discard(process)
            _kill(process)
        process.wait()


def _kill(process: subprocess.Popen) -> None:
    # It has not been waited for, so that its number is still its own, also where it has ended.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(process: subprocess.Popen, seconds: float | int) -> bool:
    """Waits until a process has ended, and says whether it did within so many seconds."""
    end = time.monotonic() + seconds
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, process.pid, options) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK)
    return True


def _result(
    status: int, result: IO[bytes], words: IO[bytes], bounds: Bounds, *, late: bool
) -> dict[str, Any]:
    """Reads the result of a process that has ended.

    Raises:
      UserError: there is none, because something went wrong.
    """
    if late or -status in (signal.SIGALRM, signal.SIGXCPU):
        raise UserError(
            f"it took longer than {bounds.patience:.4g} seconds; give something shorter or smaller"
        )
    result.seek(0)
    content = result.read(_MOST_RESULT + 1)
    try:
        if status or len(content) > _MOST_RESULT:
            raise ValueError
        values = json.loads(content)
        if not isinstance(values, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(_why(status, words, bounds)) from error
    if values.get("error") == _MEMORY:
        raise UserError(_too_much(bounds))
    if "error" in values:
        raise _ERRORS.get(str(values["error"]), UserError)(str(values.get("message")))
    return values


def _too_much(bounds: Bounds) -> str:
    return (
        f"it needed more memory than {bounds.memory / 2**30:.3g} GiB; give something shorter or "
        "smaller"
    )


def _why(status: int, words: IO[bytes], bounds: Bounds) -> str:
    """Says why a process has ended without a result."""
    if status < 0:
        name = signal.Signals(-status).name
        return (
            f"the process that read it was ended by {name}: the file is damaged, or needs more "
            f"memory than {bounds.memory / 2**30:.3g} GiB; give another"
        )
    words.seek(max(0, words.seek(0, os.SEEK_END) - _MOST_WORDS))
    lines = words.read().decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), f"status {status}")
    return f"the process that read it failed ({one_line(last.strip())}); give another file"


def answer(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Does the job that this process was started for; the main program of its module.

    Args:
      work: takes the job and gives the result, plain values for JSON.
    """
    # Libraries may print, too: that must not get into the result.
    result = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    given = json.load(sys.stdin)
    _bound(Bounds(**given["bounds"]))
    with result:
        json.dump(_answered(work, given["job"]), result)


def _answered(work: Callable[[dict], dict], job: dict[str, Any]) -> dict[str, Any]:
    try:
        return work(job)
    except ModuleNotFoundError as error:
        return {"error": "UserError", "message": not_installed(error)}
    except Exception as error:
        # A library that does not fit is an ImportError.
        if any(isinstance(each, MemoryError | ImportError) for each in _causes(error)):
            return {"error": _MEMORY}
        if not isinstance(error, UserError):
            raise
        return {"error": type(error).__name__, "message": str(error)}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Gives an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _bound(bounds: Bounds) -> None:
    """Limits this process and all that it starts."""
    os.nice(_NICER)
    cores = sorted(os.sched_getaffinity(0))[:_MOST_CORES]
    os.sched_setaffinity(0, cores)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: bounds.memory,
        resource.RLIMIT_FSIZE: bounds.most_file,
        resource.RLIMIT_NOFILE: _MOST_FILES,
        resource.RLIMIT_CPU: math.ceil(bounds.patience) * len(cores),
    }
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    # Where the server is killed, nobody else ends this process.
    signal.setitimer(signal.ITIMER_REAL, bounds.patience + 1)
