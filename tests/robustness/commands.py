"""Whole commands and faults, each in a fork of the worker: what it prints, and how it ends."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from stvh_jax.console import error_line
from stvh_jax.errors import UserError
from tests.robustness.case import LONGEST_MESSAGE, Fault, Verdict


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a fork ended.

    Attributes:
      status: the exit status, or minus the number of the signal.
      out: what it printed.
      errors: what it printed to stderr.
    """

    status: int
    out: str
    errors: str


class Fork:
    """A call in a process of its own, which runs from the beginning of the object's life."""

    def __init__(self, call: Callable[[], Any], folder: pathlib.Path):
        """Starts the call in a folder, which also takes the files of what it prints."""
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        name = f"printed-{len(list(folder.glob('printed-*')))}"
        self._out, self._errors = folder / f"{name}-out", folder / f"{name}-errors"
        for path in (self._out, self._errors):  # a kill may come before the process makes them
            path.touch()
        self.process = os.fork()
        if not self.process:
            self._live(call, folder)

    def _live(self, call: Callable[[], Any], folder: pathlib.Path) -> None:
        status = 70
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor, path in (1, self._out), (2, self._errors):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            os.chdir(folder)
            status = _exit_status(call)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 255)

    def kill(self) -> None:
        """Kills it now, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def end(self) -> Ended:
        """Waits for its end."""
        _, code = os.waitpid(self.process, 0)
        out, errors = (path.read_text(errors="replace") for path in (self._out, self._errors))
        return Ended(os.waitstatus_to_exitcode(code), out, errors)


def _exit_status(call: Callable[[], Any]) -> int:
    """Calls, and ends as the interpreter would."""
    try:
        result = call()
    except SystemExit as stopped:
        result = stopped.code
    except BaseException:
        traceback.print_exc()
        return 1
    if result is None or isinstance(result, int):
        return int(result or 0)
    print(result, file=sys.stderr)
    return 1


def as_command(call: Callable[..., None]) -> Callable[..., int]:
    """Makes a call end as the command lines do: a UserError is one line and status 2."""

    @functools.wraps(call)
    def command(*arguments) -> int:
        try:
            call(*arguments)
        except UserError as error:
            print(error_line(error), file=sys.stderr)
            return 2
        return 0

    return command


def run(call: Callable[[], Any], folder: pathlib.Path, *, kill_after: float | None = None) -> Ended:
    """Runs a call in a fork to its end, or kills it after some seconds."""
    fork = Fork(call, folder)
    timer = threading.Timer(kill_after, fork.kill) if kill_after is not None else None
    if timer:
        timer.start()
    ended = fork.end()
    if timer:
        timer.cancel()
    return ended


def result(call: Callable[[], Any], folder: pathlib.Path) -> Any:
    """Gives what a call returns in a fork.

    Raises:
      Fault: it does not return, or was judged there; a UserError is one too, for it should return.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result"

    def answer():
        try:
            content: Any = call()
        except Fault as fault:
            content = fault
        except UserError as error:
            content = Fault(Verdict.WRONG, f"it should succeed: {error}")
        with path.open("wb") as file:
            pickle.dump(content, file)

    path.unlink(missing_ok=True)
    ended = run(answer, folder)
    if ended.status:
        judge(ended)
    content = pickle.loads(path.read_bytes())
    if isinstance(content, Fault):
        raise content
    return content


def judge(ended: Ended, *, good: tuple[int, ...] = (0,)) -> None:
    """Judges a command: it does its work, or says what is wrong in one line with status 2.

    Raises:
      UserError: what it said was wrong.
      Fault: it ended in any other way.
    """
    printed = f"status {ended.status}\n{ended.out[-1000:]}\n{ended.errors[-4000:]}"
    if ended.status < 0:
        raise Fault(Verdict.CRASH, f"{printed}\nended by {signal.Signals(-ended.status).name}")
    if "Traceback (most recent call last)" in ended.errors:
        raise Fault(Verdict.TRACE, printed)
    if ended.status in good:
        return
    lines = ended.errors.splitlines()
    clear = len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) < LONGEST_MESSAGE
    if ended.status == 2 and clear:
        raise UserError(lines[0])
    raise Fault(Verdict.TRACE, printed)
