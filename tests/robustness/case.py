"""What a soak is made of: targets, their cases, and what becomes of a case."""

import dataclasses
import enum
import importlib.util
import json
import pathlib
import random
import resource
import shutil
import traceback
from collections.abc import Callable
from typing import Any

from stvh_jax.errors import UserError

# The file of a case's folder that holds what is not a file of its own.
CASE = "case.json"
# No message is longer, whatever is wrong with an input of any size.
LONGEST_MESSAGE = 2000


class Verdict(enum.Enum):
    """What a case came to; only the first two are as they should be."""

    RIGHT = "right"
    CLEAR_ERROR = "clear error"
    TRACE = "trace"
    CRASH = "crash"
    HANG = "hang"
    WRONG = "silently wrong"

    @property
    def good(self) -> bool:
        return self in (Verdict.RIGHT, Verdict.CLEAR_ERROR)


class Fault(Exception):
    """A target's own judgement of a case."""

    def __init__(self, verdict: Verdict, text: str):
        super().__init__(verdict, text)
        self.verdict, self.text = verdict, text


class Skipped(Exception):
    """This machine cannot run the target."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The verdict on a case, and what there is to see of it; no verdict where it was skipped."""

    verdict: Verdict | None
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing that is handed to the library: a kind of file, of argument, of flag or of fault.

    Attributes:
      name: of the row in the table.
      make: `make(random, folder)` writes the files of a case into an empty folder and gives
        whatever else there is of it as JSON.
      run: `run(folder, case)` hands it to the library and judges: it returns where all is right, a
        UserError is a clear error, a `Fault` what it says, and any other exception a trace.
      seconds: after which a case hangs.
      seconds_to_start: as many more for the first case of a process, which imports.
      megabytes: of memory, more than which count as a crash.
      kills: whether KILLS says how many cases there are at least.
      files: whether a case has files, or its arguments alone.
      needs: packages without which it is skipped.
    """

    name: str
    make: Callable[[random.Random, pathlib.Path], Any]
    run: Callable[[pathlib.Path, Any], None]
    seconds: float = 30
    seconds_to_start: float = 60
    megabytes: int = 4096
    kills: bool = False
    files: bool = True
    needs: tuple[str, ...] = ()


def expect(right: bool, text: str) -> None:
    """Judges a case as silently wrong unless it is right."""
    if not right:
        raise Fault(Verdict.WRONG, text)


def make(target: Target, seed: str, folder: pathlib.Path) -> None:
    """Makes the case of a seed in a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case = target.make(random.Random(seed), folder)
    content = {"target": target.name, "seed": seed, "case": case}
    (folder / CASE).write_text(json.dumps(content))


def attempt(target: Target, folder: pathlib.Path) -> Outcome:
    """Runs the case in a folder."""
    if missing := [name for name in target.needs if importlib.util.find_spec(name) is None]:
        return Outcome(None, f"{missing[0]} is not installed")
    case = json.loads((folder / CASE).read_text())["case"]
    outcome = _judged(target, folder, case)
    if most_megabytes() > target.megabytes:
        return Outcome(Verdict.CRASH, f"took {most_megabytes()} MB of memory")
    return outcome


def _judged(target: Target, folder: pathlib.Path, case: Any) -> Outcome:
    try:
        target.run(folder, case)
    except Skipped as reason:
        return Outcome(None, str(reason))
    except Fault as fault:
        return Outcome(fault.verdict, fault.text)
    except UserError as error:
        message = str(error)
        if len(message) > LONGEST_MESSAGE or len(message.splitlines()) != 1:
            return Outcome(Verdict.TRACE, f"not one line: {message[:LONGEST_MESSAGE]}")
        return Outcome(Verdict.CLEAR_ERROR, message)
    except BaseException:  # a SystemExit of the library, too, is no answer
        return Outcome(Verdict.TRACE, traceback.format_exc())
    return Outcome(Verdict.RIGHT)


def most_megabytes() -> int:
    """Gives the most memory that this process or one that it has waited for ever took."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) >> 10
