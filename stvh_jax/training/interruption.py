"""Stopping a run between two steps, in all its processes at once."""

import signal

import jax
import numpy as np
from jax.experimental import multihost_utils


class Interruption:
    """Turns the first SIGINT or SIGTERM into a flag; a second one ends the program at once."""

    def __init__(self):
        self.signal = 0
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        del frame
        self.signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """Returns the signal that any process has noted, or 0: all processes have to stop at the same step."""
        if jax.process_count() > 1:
            self.signal = int(multihost_utils.process_allgather(np.int32(self.signal)).max())
        return self.signal

    def __exit__(self, *exception):
        self._restore()
