"""Makes what is needed next in a thread of its own, while the last is used."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# How many are made ahead.
_MADE = 2


class Ahead(Generic[T]):
    """Makes what an iterator gives in a thread of its own, a little ahead.

    Attributes:
      waited: the seconds spent in waiting for it.
    """

    def __init__(self, iterator: Iterator[T]):
        """Wraps an iterator; use it as a context."""
        self._iterator, self.waited = iterator, 0.0
        self._made: queue.Queue = queue.Queue(_MADE)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, daemon=True)

    def __enter__(self) -> "Ahead[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._unwanted.set()
        while self._thread.is_alive():  # it may wait for room
            with contextlib.suppress(queue.Empty):
                self._made.get_nowait()
            self._thread.join(0.05)

    def __iter__(self) -> Iterator[T]:
        """Gives what is made; an error of the thread is raised here."""
        while True:
            begun = time.perf_counter()
            made = self._made.get()
            self.waited += time.perf_counter() - begun
            if made is None:
                return
            if isinstance(made, BaseException):
                raise made
            yield made

    def _make(self) -> None:
        try:
            for each in self._iterator:
                if self._unwanted.is_set():
                    return
                self._made.put(each)
            self._made.put(None)
        except BaseException as error:  # it is raised where the clips are taken
            self._made.put(error)
