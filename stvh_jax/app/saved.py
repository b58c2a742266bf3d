"""Queries that are kept under a name, as files in a folder that `search.py watch` reads, too."""

import contextlib
import hashlib
import pathlib
import re
import threading

from etils import epath

from stvh_jax import files
from stvh_jax.errors import Exists, NotFound, UserError, shown
from stvh_jax.names import natural_key, printable
from stvh_jax.retrieval import saved_query
from stvh_jax.retrieval.saved_query import SavedQuery

_ENDING = ".json"
# The most characters of a name, and bytes, for a file's name may have 255; and the most queries.
_LONGEST, _MOST_BYTES, _MOST = 80, 200, 1000
# What leads out of a folder, or is no part of a file's name on some system.
_NO_NAME = re.compile(r'[/\\:*?"<>|]')


def folder_of(index_uri: epath.PathLike) -> pathlib.Path:
    """Says where the queries of an index are kept: in its folder, or, of a server's, in the cache.

    Args:
      index_uri: where the index is.
    """
    uri = str(index_uri)
    if "://" not in uri:
        return pathlib.Path(uri) / "queries"
    number = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return files.cache_folder() / "queries" / number


class SavedQueries:
    """The queries of a folder, for all threads of a server."""

    def __init__(self, folder: pathlib.Path):
        """Takes the queries of a folder, which is made with the first."""
        self._folder, self._lock = folder, threading.Lock()

    def names(self) -> list[str]:
        """Lists the queries, in natural order; at most 1000."""
        if not self._folder.is_dir():
            return []
        with files.reading(self._folder, "a readable folder"):
            names = [
                path.name.removesuffix(_ENDING)
                for path in self._folder.iterdir()
                if path.name.endswith(_ENDING) and path.is_file()
            ]
        return sorted(filter(_is_name, names), key=natural_key)[:_MOST]

    def save(self, name: str, query: SavedQuery, *, replace: bool = False) -> None:
        """Keeps a query under a name.

        Args:
          name: at most 80 characters, all of which can be part of a file's name.
          query: what is kept.
          replace: take the place of the one of this name.

        Raises:
          Exists: there is one of this name.
          UserError: it is no such name, there are too many, or it cannot be written.
        """
        if not _is_name(name):
            raise UserError(
                f"{shown(name)} is not a name for a query; give up to {_LONGEST} characters "
                'without / \\ : * ? " < > | or a dot at the beginning'
            )
        with self._lock:
            names = self.names()
            if name in names and not replace:
                raise Exists(f"there is a query {printable(name)} already; give another name")
            if name not in names and len(names) >= _MOST:
                raise UserError(f"{_MOST} queries are kept; delete one that you do not need")
            with files.writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
            query.save(self._folder / f"{name}{_ENDING}")

    def load(self, name: str) -> SavedQuery:
        """Reads the query of a name.

        Raises:
          NotFound: there is none.
          Damaged: its file is something else.
        """
        return saved_query.load(self._path(name))

    def delete(self, name: str) -> None:
        """Deletes the query of a name.

        Raises:
          NotFound: there is none.
          UserError: it cannot be deleted.
        """
        path = self._path(name)
        with files.writing(path), contextlib.suppress(FileNotFoundError):
            path.unlink()

    def _path(self, name: str) -> pathlib.Path:
        """Names the file of a query that is there."""
        if name not in self.names():
            raise NotFound(f"there is no query {shown(name)}; choose one of the list")
        return self._folder / f"{name}{_ENDING}"


def _is_name(name: str) -> bool:
    """Says whether a query can have a name."""
    return (
        0 < len(name) <= _LONGEST
        and len(name.encode(errors="replace")) <= _MOST_BYTES
        and name == name.strip() == printable(name)
        and not name.startswith(".")
        and _NO_NAME.search(name) is None
    )
