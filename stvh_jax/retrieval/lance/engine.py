"""An index on disk or in a bucket: LanceDB stores the clips, memory holds their codes to search.

Every write is one new version of the store, there as a whole or not at all.
"""

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import lancedb
import pyarrow as pa

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot, local_folder, told
from stvh_jax.retrieval.record import IndexInfo

_TABLE = "clips"


_INFO = b"stvh_jax"


class LanceEngine:
    """A store of clips.

    Attributes:
      info: what the index is.
      version: the version that is searched.
    """

    def __init__(
        self,
        uri: str,
        info: IndexInfo,
        *,
        storage_options: Mapping[str, str] | None,
        version: int | None = None,
    ):
        """Opens the table of a store, at its newest version unless another is given."""
        self.info = info
        self._uri, self._storage_options, self._pinned = uri, storage_options, version is not None
        self._table = self._open(version)
        # Asking the table each time would cost as much as a search of 10^5 clips.
        self.version: int = self._table.version
        self._snapshot: ClipSnapshot | None = None

    @classmethod
    def exists(cls, uri: str, *, storage_options: Mapping[str, str] | None) -> bool:
        """Says whether there is a store; what was killed while it was made is none."""
        folder = local_folder(uri)
        if folder is not None and not folder.is_dir():
            return False  # to connect would make it
        with told(uri):
            connection = lancedb.connect(uri, storage_options=storage_options)
            if _TABLE not in connection.list_tables().tables:
                return False
            try:
                connection.open_table(_TABLE)
            except ValueError as error:
                if "was not found" in str(error):  # a folder without a version in it
                    return False
                raise
        return True

    @classmethod
    def create(
        cls, uri: str, info: IndexInfo, *, storage_options: Mapping[str, str] | None
    ) -> "LanceEngine":
        """Makes an empty store.

        Raises:
          UserError: there is one already, or it cannot be made.
        """
        folder = local_folder(uri)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with told(uri), _only_writer(uri):
            if cls.exists(uri, storage_options=storage_options):
                raise UserError(f"{uri} holds an index already; give another place, or delete it")
            lancedb.connect(uri, storage_options=storage_options).create_table(
                _TABLE, schema=info.schema.with_metadata({_INFO: info.to_json()})
            )
            return cls(uri, info, storage_options=storage_options)

    @classmethod
    def open(
        cls, uri: str, *, version: int | None, storage_options: Mapping[str, str] | None
    ) -> "LanceEngine":
        """Opens a store, as it is now or was at a version.

        Raises:
          UserError: there is none, or it cannot be read.
        """
        if not cls.exists(uri, storage_options=storage_options):
            raise UserError(
                f"{uri} holds no index; make one with: python search.py index --run RUN --out {uri}"
            )
        with told(uri):
            table = lancedb.connect(uri, storage_options=storage_options).open_table(_TABLE)
            described = (table.schema.metadata or {}).get(_INFO)
        if described is None:
            raise UserError(f"{uri} is a store of something else, or damaged; give another place")
        info = IndexInfo.from_json(described.decode(), where=uri)
        with told(uri):
            return cls(uri, info, storage_options=storage_options, version=version)

    def snapshot(self) -> ClipSnapshot:
        """Gives the version in memory, read anew where the store has moved on."""
        if self._snapshot is None or self._snapshot.version != self.version:
            with told(self._uri):
                # A handle of its own: what is written does not move it.
                table = self._open(self.version)
                self._snapshot = ClipSnapshot.read(self._uri, table, self.info)
        return self._snapshot

    def versions(self) -> list[dict[str, Any]]:
        """Lists the versions there are, oldest first: number, time and clips."""
        with told(self._uri):
            return [
                {
                    "version": entry["version"],
                    "time": entry["timestamp"],
                    "clips": int(entry["metadata"]["total_rows"]),
                }
                for entry in self._table.list_versions()
            ]

    def refresh(self) -> None:
        """Goes on to the newest version, which another process may have written."""
        with told(self._uri):
            self._table.checkout_latest()
            self.version, self._pinned = self._table.version, False

    def count(self, where: str | None = None) -> int:
        """Counts the clips that a filter lets through."""
        with told(self._uri, where):
            return self._table.count_rows(where)

    def add(self, clips: pa.Table) -> None:
        """Adds clips that are not there yet.

        Raises:
          UserError: one is; nothing is added then.
        """
        with self._writing():
            if (there := self.snapshot().first_of(clips)) is not None:
                raise UserError(
                    f"clip {there} is in {self._uri} already; upsert replaces clips, delete "
                    "removes them"
                )
            self._table.add(clips)

    def upsert(self, clips: pa.Table) -> None:
        """Adds clips, in place of those of the same name."""
        with self._writing():
            merge = self._table.merge_insert(["match", "clip"])
            merge.when_matched_update_all().when_not_matched_insert_all().execute(clips)

    def delete(self, where: str) -> int:
        """Deletes the clips that a filter lets through and counts them."""
        with self._writing(where):
            return self._table.delete(where).num_deleted_rows

    def restore(self, version: int) -> None:
        """Makes an older version the newest again."""
        with self._writing():
            self._table.restore(version)

    def compact(self) -> None:
        """Joins the files of many small writes, so that opening is quick; keeps the versions."""
        with self._writing():
            self._table.optimize(cleanup_older_than=datetime.timedelta(days=36500))

    def _open(self, version: int | None):
        """Opens the table, a handle that stays at the version given."""
        connection = lancedb.connect(self._uri, storage_options=self._storage_options)
        table = connection.open_table(_TABLE)
        if version is not None:
            table.checkout(version)
        return table

    @contextlib.contextmanager
    def _writing(self, where: str | None = None) -> Iterator[None]:
        """Lets one process write at a time, to the newest version.

        Raises:
          UserError: another process writes, or the index was opened at a version.
        """
        if self._pinned:
            raise UserError(
                f"{self._uri} was opened at version {self.version}; open it without one to write"
            )
        with told(self._uri, where), _only_writer(self._uri):
            self._table.checkout_latest()
            try:
                yield
            finally:
                self.version = self._table.version


@contextlib.contextmanager
def _only_writer(uri: str) -> Iterator[None]:
    """Keeps other processes from writing; a bucket knows no locks."""
    folder = local_folder(uri)
    if folder is None:
        yield
        return
    with files.lock(folder / "writer.lock", busy=f"another process writes to {uri}"):
        yield
