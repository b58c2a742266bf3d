"""Files that are written whole or not at all, locks between processes, and the cache's folder."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO

from etils import epath

from stvh_jax.errors import UserError


def cache_folder() -> pathlib.Path:
    """Names the folder of this library among other programs' caches; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "stvh_jax"


@contextlib.contextmanager
def writing(path: epath.PathLike, cure: str = "") -> Iterator[None]:
    """Turns what the storage raises while something is written into one line.

    Args:
      path: the file or folder that is written, for the message.
      cure: what to do about it, if there is more to say than the reason.

    Raises:
      UserError: of an `OSError`; any other error passes.
    """
    try:
        yield
    except OSError as error:
        end = f"; {cure}" if cure else ""
        raise UserError(f"cannot write {path} ({error.strerror or error}){end}") from error


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[epath.Path]:
    """Gives a path to write to; the file takes its name once it is whole.

    Whoever reads `path` finds the old file or the new one, never a part, and an error leaves the
    old one.
    """
    path = epath.Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a file whole or not at all, in the place of one that is there.

    Raises:
      OSError: it cannot be written; see `writing`.
    """
    with replacing(path) as temporary:
        if isinstance(content, str):
            temporary.write_text(content, encoding="utf-8")
        else:
            temporary.write_bytes(content)


class Locked(UserError):
    """Another process holds a lock."""


@contextlib.contextmanager
def lock(
    path: os.PathLike, *, wait: Callable[[], None] | None = None, busy: str = ""
) -> Iterator[IO[str]]:
    """Holds a lock between processes for as long as the context; the system frees it at their end.

    Args:
      path: the lock's file, which is made and stays.
      wait: called once where another process holds the lock, before waiting for it; None to raise.
      busy: what the error says.

    Raises:
      Locked: another process holds the lock and `wait` is None.
    """
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if wait is None:
                busy = busy or f"another process holds {path}"
                raise Locked(f"{busy}; try again when it is done") from error
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
