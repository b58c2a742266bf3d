"""How files are read and written, locks between processes, and the cache's folder.

Whatever is wrong with a file ends in one line that names it, through `reading` and `writing`; what
is written is there whole or not at all.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from etils import epath

from stvh_jax.errors import Damaged, NotFound, UserError

# Far more than any file of text that this library reads, and little enough to hold in memory.
MOST_BYTES = 256 << 20


def cache_folder() -> pathlib.Path:
    """Names the folder of this library among other programs' caches; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "stvh_jax"


@contextlib.contextmanager
def reading(path: epath.PathLike, what: str, cure: str = "") -> Iterator[None]:
    """Turns whatever a parser raises about a file into one line that names the file.

    Every reader of a file of the user's is wrapped in it, for a damaged file makes a parser fail in
    ways that nobody can list: nesting that is too deep, sizes beyond the memory, keys of a wrong
    type. The errors of this library pass as they are, and so does that of a missing package.

    Args:
      path: the file or folder that is read, for the message.
      what: what it should be, as in "a readable image".
      cure: what to do about it, if there is more to say than the reason.

    Raises:
      NotFound: there is no such file.
      UserError: the system does not let it be read.
      Damaged: of any other exception.
    """
    end = f"; {cure}" if cure else ""
    try:
        yield
    except (UserError, ModuleNotFoundError):
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path}: no such file{end}") from error
    except Exception as error:
        # A parser that is sent to an impossible place in a file makes the system say EINVAL.
        system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if system:
            raise UserError(f"cannot read {path} ({reason(error)}){end}") from error
        raise Damaged(f"{path} is not {what} ({reason(error)}){end}") from error


def reason(error: BaseException) -> str:
    """Gives the reason of an error in one short line, for a message in brackets."""
    text = getattr(error, "strerror", None) or str(error)
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:1000]).split())
    if isinstance(error, KeyError):
        return f"no {line}"
    return line[:200] or type(error).__name__


def is_hidden(name: str) -> bool:
    """Says whether a file is one that systems leave in folders by themselves, as `._1.jpg`."""
    return name.startswith(".") or name.lower() == "thumbs.db"


def read_bytes(path: epath.PathLike, what: str, *, most: int = MOST_BYTES, cure: str = "") -> bytes:
    """Reads a file of no more than `most` bytes; see `reading` for the rest.

    Raises:
      NotFound: there is no such file.
      UserError: the system does not let it be read.
      Damaged: it is larger.
    """
    with reading(path, what, cure), epath.Path(path).open("rb") as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"more than {most >> 20} MiB")
    return content


def read_json(
    path: epath.PathLike, what: str, *, most: int = MOST_BYTES, cure: str = ""
) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Raises:
      NotFound: there is no such file.
      UserError: the system does not let it be read.
      Damaged: it is too large, malformed, nested too deeply, or holds something else.
    """
    content = read_bytes(path, what, most=most, cure=cure)
    with reading(path, what, cure):
        values = json.loads(content.decode("utf-8-sig"))
        if not isinstance(values, dict):
            raise TypeError("not a JSON object")
    return values


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


def output(path: epath.PathLike) -> epath.Path:
    """Names a file to write, on a disk or in a bucket.

    Raises:
      UserError: it is the URL of a storage that cannot be written.
    """
    try:
        return epath.Path(path)
    except KeyError as error:
        raise UserError(f"{path} is in a storage that cannot be written; use a folder") from error


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
