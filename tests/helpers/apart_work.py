"""What a process of its own may do, well or badly: `python -m tests.helpers.apart_work`."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from stvh_jax.app import apart
from stvh_jax.errors import Damaged, NotFound, UserError


def environment(job):
    print("not the result")
    return {"environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path}


def fail(job):
    kinds = {kind.__name__: kind for kind in (UserError, NotFound, Damaged)}
    raise kinds[job["kind"]]("what is wrong")


def mistake(job):
    raise ZeroDivisionError("a mistake\x1b[31m of the program")


def missing(job):
    import nonsense_that_lies_here

    return {"imported": nonsense_that_lies_here.__file__}


def hang(job):
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path("child").write_text(str(child.pid))
    time.sleep(600)


def fill(job):
    return {"length": len(bytearray(1 << 30))}


def write(job):
    pathlib.Path("large").write_bytes(bytes(4 << 20))
    return {}


def crash(job):
    os.kill(os.getpid(), signal.SIGSEGV)


def core(job):
    import resource

    kinds = ("RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE")
    return {kind: resource.getrlimit(getattr(resource, kind)) for kind in kinds}


def leave(job):
    os._exit(0)


def flood(job):
    return {"text": "0" * (17 << 20)}


if __name__ == "__main__":
    apart.answer(lambda job: globals()[job["do"]](job))
