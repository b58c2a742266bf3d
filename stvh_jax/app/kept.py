"""What is made once and kept, for several threads: files in a bounded folder, values in memory."""

import collections
import contextlib
import os
import pathlib
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from stvh_jax import files

T = TypeVar("T")

# Seconds for which a file that was given out is in use.
_IN_USE = 60.0
# A folder that has grown too large is emptied to this share, so that it is not listed each time.
_EMPTIED_TO = 0.9
# The files of a folder, and those that are being written or were left half written by a process
# that was killed; nothing else is deleted.
_OWN = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{1,8}(\.\d+\.new)?")


class KeyedLocks:
    """A lock for each key, for as long as somebody holds it or waits for it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._users: dict[Hashable, tuple[Any, int]] = {}

    @contextlib.contextmanager
    def held(self, key: Hashable) -> Iterator[None]:
        """Holds the lock of a key for as long as the context."""
        with self._lock:
            own, users = self._users.get(key, (threading.Lock(), 0))
            self._users[key] = own, users + 1
        try:
            with own:
                yield
        finally:
            with self._lock:
                own, users = self._users.pop(key)
                if users > 1:
                    self._users[key] = own, users - 1


class Once(Generic[T]):
    """A value that is made when it is first asked for, once for all who ask."""

    def __init__(self, make: Callable[[], T]):
        """Makes nothing yet."""
        self._make, self._lock = make, threading.Lock()
        self._value: T | None = None

    @property
    def ready(self) -> T | None:
        """The value if it was made; None before."""
        return self._value

    def get(self) -> T:
        """Gives the value, made now if it is not there."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value


class Latest:
    """Values in memory, each made once; those not asked for the longest are forgotten."""

    def __init__(self, most: int):
        """Keeps so many values at most."""
        self._most, self._locks, self._lock = most, KeyedLocks(), threading.Lock()
        self._values: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Gives the value of a key, made now if it is not kept; an error is not kept."""
        with self._locks.held(key):
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
                while len(self._values) > self._most:
                    self._values.popitem(last=False)
            return value


class KeptFiles:
    """Files in a folder, each made once, also where several threads ask for it.

    Where they take more than `most_bytes`, those not asked for the longest are deleted, but none
    that was given out within a minute.
    """

    def __init__(self, folder: os.PathLike | str, most_bytes: int):
        """Keeps files in a folder, which is made with the first; several processes may share it."""
        self._folder, self._most = pathlib.Path(folder), most_bytes
        self._locks, self._emptying = KeyedLocks(), threading.Lock()
        self._lock, self._bytes = threading.Lock(), None

    def get(self, name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
        """Gives a file, made now if it is not there.

        Args:
          name: of the file: 32 hexadecimal digits and an ending.
          make: writes it to a path, whole or not at all.

        Raises:
          UserError: it cannot be written.
        """
        if not _OWN.fullmatch(name):
            raise ValueError(f"{name} is no name of a kept file")
        path = self._folder / name
        with self._locks.held(name):
            if _touched(path):
                return path
            with files.writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
            make(path)
            size = path.stat().st_size
        self._grow(size)
        return path

    def _grow(self, size: int) -> None:
        """Counts a new file, and deletes old ones where there are too many."""
        with self._lock:
            if self._bytes is not None:
                self._bytes += size
            full = self._bytes is None or self._bytes > self._most
        # While one thread empties the folder, the others go on.
        if full and self._emptying.acquire(blocking=False):
            try:
                left = self._empty()
                with self._lock:
                    self._bytes = left
            finally:
                self._emptying.release()

    def _empty(self) -> int:
        """Deletes what was not asked for the longest, and gives the bytes that are left."""
        kept = sorted(_listed(self._folder))
        left = sum(size for _, size, _ in kept)
        if left <= self._most:
            return left
        for _, size, path in kept:
            if left <= _EMPTIED_TO * self._most:
                break
            # Whoever holds the lock is about to give the file out.
            with self._locks.held(path.name), contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _IN_USE:
                    path.unlink()
                    left -= size
        return left


def _touched(path: pathlib.Path) -> bool:
    """Notes that a file is asked for now; false if it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # in a folder that may only be read
        return path.is_file()
    return True


def _listed(folder: pathlib.Path) -> Iterator[tuple[float, int, pathlib.Path]]:
    """Gives when each file of a folder was last asked for, its size and its path."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OWN.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # another process has deleted it
                    stat = entry.stat()
                    yield stat.st_mtime, stat.st_size, folder / entry.name
