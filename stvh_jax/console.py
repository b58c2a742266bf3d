"""Progress and messages on the console."""

import sys
import time

from stvh_jax.errors import one_line


def show(what: str, total: int, done: int, loss: float | None = None) -> None:
    """Shows how far something is, on one line of a terminal that is written over each time."""
    if sys.stderr.isatty():
        also = "" if loss is None else f", loss {loss:.4f}"
        end = "\n" if done == total else ""
        print(f"\r{what}: {done}/{total}{also}", end=end, file=sys.stderr, flush=True)


class Progress:
    """Measures the throughput of steps; the first interval includes compiling."""

    def __init__(self, step: int, total_steps: int, batch_size: int):
        """Starts the clock at `step`."""
        self.total_steps, self.batch_size = total_steps, batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Starts the clock again, after a pause in which nothing was trained."""
        self._step, self._time = step, time.monotonic()

    def measure(self, step: int) -> tuple[float, float]:
        """Returns the clips per second since the clock started, and the seconds that are left."""
        seconds = (time.monotonic() - self._time) / (step - self._step)
        self.restart(step)
        return self.batch_size / seconds, seconds * (self.total_steps - step)


def say(line: str) -> None:
    """Prints a line of progress; only process 0 does."""
    import jax  # slow to import, and the other functions do not need it

    if jax.process_index() == 0:
        print(line, flush=True)


def error_line(error: object) -> str:
    """Makes the line by which a program ends; see `errors.one_line`."""
    return f"error: {one_line(str(error))}"
