"""Stopping a run between two steps, in all its processes at once."""

import signal

import jax
import numpy as np
from jax.experimental import multihost_utils

from stvh_jax import interrupts

_ANSWER = "interrupted; it saves after this step and ends, or at once at another Ctrl-C"


class Interruption:
    """Turns the first SIGINT or SIGTERM into a flag; a second one ends the program at once.

    Before the first step is done, which is compiled for as long as minutes, SIGINT ends the program
    as it does elsewhere: there is nothing to save.
    """

    def __init__(self):
        self.signal = 0
        self._previous = {}

    def __enter__(self):
        self._take(signal.SIGTERM)
        return self

    def step_done(self) -> None:
        """Has SIGINT saved from now on; call it after a step."""
        if signal.SIGINT not in self._previous:
            interrupts.answer_first(_ANSWER)
            self._take(signal.SIGINT)

    def _take(self, number):
        self._previous[number] = signal.signal(number, self._note)

    def _note(self, number, frame):
        del frame
        self.signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """Returns the signal that any process has noted, or 0: all stop at one step."""
        if jax.process_count() > 1:
            self.signal = int(multihost_utils.process_allgather(np.int32(self.signal)).max())
        return self.signal

    def __exit__(self, *exception):
        interrupts.answer_first("")
        self._restore()
