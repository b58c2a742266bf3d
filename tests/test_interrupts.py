"""Ctrl-C ends a program within two seconds, whatever it is doing."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = """
from stvh_jax import interrupts
interrupts.obey()
import argparse, ctypes, sys, time
from stvh_jax.cli import parsing
libc = ctypes.CDLL(None)  # its sleep is a call that Python's own handling of signals waits for
def sleep_on():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        libc.usleep(1000)
def run(_):
    print("ready", flush=True)
    BODY
parser = argparse.ArgumentParser()
parser.set_defaults(run=run)
sys.exit(parsing.run_command(parser, None))
"""
BODIES = {
    "python": "sleep_on()",
    "library": "libc.nanosleep((ctypes.c_long * 2)(60, 0), None); libc.sleep(60); libc.sleep(60)",
    "thread": "import threading; threading.Thread(target=sleep_on).start()",
    "swallowed": """
    while True:
        try: time.sleep(60)
        except KeyboardInterrupt: pass""",
    "other error": """
    try: time.sleep(60)
    except KeyboardInterrupt: raise ImportError('cannot import what was interrupted')""",
}


# A program whose main thread is done waits for the others in the end.
@pytest.mark.parametrize(("body", "wait"), [*((body, 0) for body in BODIES), ("thread", 0.5)])
def test_ctrl_c_is_obeyed_within_two_seconds(body, wait):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("BODY", BODIES[body])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(wait)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < 2.5  # two, and a busy machine
    assert (process.returncode, errors) == (130, "interrupted\n")
