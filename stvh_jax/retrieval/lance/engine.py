"""An index on disk or in a bucket: LanceDB stores the clips, memory holds their codes to search.

Every write is one new version of the store, there as a whole or not at all.
"""

import contextlib
import datetime
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from stvh_jax import files
from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.errors import Exists, UserError
from stvh_jax.retrieval.clip_table import as_stored
from stvh_jax.retrieval.engine import check_adaptable, clip_exists, no_index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.lance import adaptations, copies, naming
from stvh_jax.retrieval.lance.appending import Added, with_added
from stvh_jax.retrieval.lance.copies import Copy
from stvh_jax.retrieval.lance.row_ids import OpenTable
from stvh_jax.retrieval.lance.seals import check_version, seals_of
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot
from stvh_jax.retrieval.lance.storage import (
    INFO,
    TABLE,
    connect,
    exists,
    info_of,
    list_versions,
    local_folder,
    only_writer,
    open_table,
    read_behind,
    storage_errors,
)
from stvh_jax.retrieval.record import ADAPTATION, GIVEN_NAME, NAMES
from stvh_jax.retrieval.where import as_sql

if TYPE_CHECKING:
    from lancedb.table import LanceTable


class LanceEngine:
    """A store of clips; see `Engine`.

    Attributes:
      uri: where it is.
      info: what the index is.
      version: the version that is searched.
      adapts: True; its visual bits can be adapted.
    """

    adapts: ClassVar[bool] = True

    def __init__(
        self,
        uri: str,
        info: IndexInfo,
        *,
        storage_options: Mapping[str, str] | None,
        version: int | None = None,
        copy: Copy | None = None,
    ):
        """Opens the table of a store, at its newest version unless another is given.

        With a copy of the version, the table is opened when something else is needed.
        """
        self.info = info
        self.uri, self._storage_options, self._pinned = uri, storage_options, version is not None
        self._seals = seals_of(uri, TABLE)
        self._copy = copy
        with self._checked(newest=version is None), storage_errors(uri):
            if copy is None:
                self._table = open_table(uri, storage_options, version)
            # Asking the table each time would cost as much as a search of 10^5 clips.
            self.version: int = self._table.version if copy is None else copy.version
        self._adaptation = self._number_of_adaptation() or 0
        self._snapshot: ClipSnapshot | None = None
        self._added: Added | None = None

    @classmethod
    def exists(cls, uri: str, *, storage_options: Mapping[str, str] | None) -> bool:
        """Says whether there is a store; one whose making was cut short does not count."""
        return exists(uri, storage_options)

    @classmethod
    def create(
        cls, uri: str, info: IndexInfo, *, storage_options: Mapping[str, str] | None
    ) -> "LanceEngine":
        """Makes an empty store.

        Raises:
          Exists: there is one already.
          UserError: it cannot be made.
        """
        folder = local_folder(uri)
        if folder is not None:
            with files.writing(uri):
                folder.mkdir(parents=True, exist_ok=True)
        with only_writer(uri):
            seals = seals_of(uri, TABLE)
            if seals is not None:
                seals.check_newest(seals.newest_sealed(), seals.newest())
            if cls.exists(uri, storage_options=storage_options):
                raise Exists(f"{uri} holds an index already; give another place, or delete it")
            schema = info.schema.with_metadata({INFO: info.to_json()})
            with storage_errors(uri, writing=True):
                connect(uri, storage_options).create_table(TABLE, schema=schema)
            engine = cls(uri, info, storage_options=storage_options)
            engine._seal()
            return engine

    @classmethod
    def open(
        cls, uri: str, *, version: int | None, storage_options: Mapping[str, str] | None
    ) -> "LanceEngine":
        """Opens a store, as it is now or was at a version.

        Raises:
          NotFound: there is no store, or no such version.
          Damaged: it cannot be read, or is of something else.
        """
        seals = seals_of(uri, TABLE)
        if seals is not None:
            # Before Lance reads the files, whose errors do not name them.
            if version is None:
                seals.check_newest(seals.newest_sealed(), seals.newest())
            number = version or seals.newest()
            seals.check(number)
            if (copy := copies.read(uri, seals, number)) is not None:
                options = storage_options
                return cls(uri, copy.info, storage_options=options, version=version, copy=copy)
        if not cls.exists(uri, storage_options=storage_options):
            raise no_index(uri)
        with storage_errors(uri):
            table = open_table(uri, storage_options)
            if version is not None:
                check_version(uri, table, version)
                table.checkout(version)
        return cls(uri, info_of(uri, table), storage_options=storage_options, version=version)

    @functools.cached_property
    def _table(self) -> "LanceTable":
        """A handle of the store, at the version searched until a write or `refresh` moves it."""
        with storage_errors(self.uri):
            return open_table(self.uri, self._storage_options, self.version)

    def snapshot(self) -> ClipSnapshot:
        """Gives the version in memory, brought up to date where the store has moved on."""
        if self._snapshot is None or self._snapshot.version != self.version:
            before, opener, snapshot = self._snapshot, self._opener(), None
            clips = None if before is None else self._added_to(before, opener)
            if before is not None and clips is not None:
                snapshot = with_added(before, clips, self.version, opener)
            if snapshot is None:
                copy = self._copied(opener)
                snapshot = ClipSnapshot.read(self.uri, opener, self.info, copy)
            self._snapshot, self._added = snapshot, None
        return self._snapshot

    def _added_to(self, before: ClipSnapshot, opener: OpenTable) -> pa.Table | None:
        """Gives the clips added since a snapshot; None if something else was written, or may be."""
        if self._added is not None and self._added.follows(before.version, self.version):
            return self._added.clips
        if self._seals is None or not self._seals.only_added(before.version, self.version):
            return None
        with storage_errors(self.uri):
            return read_behind(opener(), self.info.schema.names, len(before))

    def _copied(self, opener: OpenTable) -> Copy | None:
        """Gives a copy of the version searched, of a small store in a folder."""
        if self._copy is None or self._copy.version != self.version:
            self._copy = None
            if self._seals is not None:
                self._copy = copies.make(self.uri, opener, self.info, self._seals, self.version)
        return self._copy

    def _opener(self) -> OpenTable:
        """Gives what opens the version searched, when it is first needed.

        A handle of its own: what is written does not move it.
        """
        options = self._storage_options
        return functools.cache(functools.partial(open_table, self.uri, options, self.version))

    def versions(self) -> list[dict[str, Any]]:
        """Lists the versions there are, oldest first: number, time and clips."""
        if self._seals is not None:
            self._seals.check_manifests()
        return list_versions(self.uri, self._table)

    def refresh(self) -> None:
        """Goes on to the newest version, which another process may have written."""
        with self._checked(newest=True), storage_errors(self.uri):
            if self._seals is None or self._seals.newest() != self.version:
                self._go_to_newest()
            self._pinned = False
        self._adaptation = self._number_of_adaptation() or 0

    def _go_to_newest(self) -> None:
        """Has the handle, the version and what the index is be those of the newest version."""
        self._table.checkout_latest()
        if self._table.schema.names != self.info.schema.names:
            # Clips have names since, or again none. First: a version is read by what it is.
            self.info = info_of(self.uri, self._table)
        self.version = self._table.version

    def adaptation(self) -> Adaptation | None:
        """Reads what made the visual bits of the version that is searched; None if as trained."""
        number = self._adaptation
        return adaptations.read(self.uri, self._storage_options, number) if number else None

    def adapt(self, adaptation: Adaptation, names: pa.Table, bits: Bool[np.ndarray, "M V"]) -> None:
        """Replaces the visual bits of all clips, in one write.

        Raises:
          UserError: a clip of the index is missing, given twice, or not in it.
        """
        check_adaptable(self.uri, self.info.bit_weights, adapts=self.adapts)
        with self._writing():
            clips = adaptations.with_bits(self.uri, self.snapshot(), names, bits)
            adaptations.keep(self.uri, self._storage_options, adaptation)
            self._put(as_stored(self.info, clips, adaptation.number))
        self._adaptation = adaptation.number

    def count(self, where: str | None = None) -> int:
        """Counts the clips that meet a condition."""
        if where is None and self._copy is not None and self._copy.version == self.version:
            return len(self._copy.clips)
        fields = self.info.record.names
        condition = None if where is None else as_sql(where, fields)
        with storage_errors(self.uri, where, fields=fields):
            return self._table.count_rows(condition)

    def add(self, clips: pa.Table) -> None:
        """Adds clips that are not there yet.

        Raises:
          Exists: one is; nothing is added then.
        """
        with self._writing():
            self._check_adaptation()
            stored = self._as_stored(clips)
            snapshot = self.snapshot()
            if (name := snapshot.first_of(clips)) is not None:
                raise clip_exists(self.uri, name)
            with storage_errors(self.uri, writing=True):
                self._table.add(stored)
        self._added = Added(snapshot.version, stored)

    def upsert(self, clips: pa.Table) -> None:
        """Adds clips, in place of those of the same name."""
        with self._writing():
            self._check_adaptation()
            if GIVEN_NAME in self.info.columns and GIVEN_NAME not in clips.column_names:
                clips = naming.with_kept_names(self.snapshot(), clips)
            self._put(self._as_stored(clips))

    def name(self, names: pa.Table) -> int:
        """Gives clips names, in one write, and counts those that had another.

        Raises:
          NotFound: a clip is not there; nothing is written then.
        """
        with self._writing():
            self._hold_names()
            clips, replaced = naming.with_names(self.snapshot(), names)
            if len(clips):
                self._put(as_stored(self.info, clips, self._number_of_adaptation() or 0))
        return replaced

    def _as_stored(self, clips: pa.Table) -> pa.Table:
        """Gives clips as they are stored, in a store that holds their names if they have some."""
        if GIVEN_NAME in clips.column_names and GIVEN_NAME not in self.info.columns:
            self._hold_names()
        return as_stored(self.info, clips, self._adaptation)

    def _hold_names(self) -> None:
        """Gives the store a column of names, if it has none."""
        if self.info.with_names() is not self.info:
            with storage_errors(self.uri, writing=True):
                naming.add_column(self.uri, self._storage_options, self._table, self.info)
                self._go_to_newest()

    def _put(self, stored: pa.Table) -> None:
        with storage_errors(self.uri, writing=True):
            merge = self._table.merge_insert(NAMES)
            merge.when_matched_update_all().when_not_matched_insert_all().execute(stored)

    def delete(self, where: str) -> int:
        """Deletes the clips that meet a condition and counts them."""
        with self._writing():
            deleted = self.count(where)
            with storage_errors(self.uri, where, writing=True):
                self._table.delete(as_sql(where, self.info.record.names))
            return deleted

    def restore(self, version: int) -> None:
        """Makes an older version the newest again, whatever has become of the newest."""
        with self._writing(over_damage=True):
            check_version(self.uri, self._table, version)
            if self._seals is not None:
                self._seals.check(version)
                self._seals.forget_after(self.version)
            with storage_errors(self.uri, writing=True):
                self._table.restore(version)
        self._adaptation = self._number_of_adaptation() or 0

    def compact(self) -> None:
        """Joins the files of many small writes, so that opening is quick; keeps the versions."""
        with self._writing(), storage_errors(self.uri, writing=True):
            self._table.optimize(cleanup_older_than=datetime.timedelta(days=36500))

    def _number_of_adaptation(self) -> int | None:
        """Reads what made the visual bits, 0 if they are as trained; None if there are none.

        A snapshot checks that it is the same of all clips.
        """
        if self.info.bit_weights is None:
            return None
        if self._copy is not None and self._copy.version == self.version:
            return adaptations.number_of(self._copy.clips)
        with storage_errors(self.uri):
            first = self._table.search().select([ADAPTATION.name]).limit(1).to_arrow()
        return adaptations.number_of(first)

    def _check_adaptation(self) -> None:
        """Checks that the newest version, to which is written, has the adaptation searched.

        Raises:
          UserError: it was adapted anew: the codes to be written cannot be compared with its own.
        """
        if self._number_of_adaptation() not in (self._adaptation, None):
            raise UserError(
                f"{self.uri} was adapted to its clips since it was opened; encode those to be "
                "written with its new adaptation"
            )

    @contextlib.contextmanager
    def _checked(self, *, newest: bool) -> Iterator[None]:
        """Checks the files of the version that is gone to within.

        Raises:
          Damaged: one is not what was written; or, if the newest is gone to, there was a newer.
        """
        sealed = self._seals.newest_sealed() if self._seals is not None and newest else 0
        yield
        if self._seals is not None:
            self._seals.check_newest(sealed, self.version)
            self._seals.check(self.version)

    def _seal(self) -> None:
        """Writes down the digests of the files that were written.

        The clips are written already: where this fails, on a full disk, the next write does it.
        """
        if self._seals is not None:
            with contextlib.suppress(OSError, UserError):
                self._seals.seal(self.version)

    @contextlib.contextmanager
    def _writing(self, *, over_damage: bool = False) -> Iterator[None]:
        """Lets one process write at a time, to the newest version.

        Args:
          over_damage: the newest version, and the one that was opened, do not matter.

        Raises:
          UserError: another process writes, or the index was opened at a version.
          Damaged: the newest version is, and it matters.
        """
        if self._pinned and not over_damage:
            raise UserError(
                f"{self.uri} was opened at version {self.version}; to write, open it without a "
                "version"
            )
        with only_writer(self.uri):
            checked = contextlib.nullcontext() if over_damage else self._checked(newest=True)
            with checked, storage_errors(self.uri):
                self._go_to_newest()  # an add looks for its clips there
            self._pinned = False
            if not (over_damage or self._seals is None or self._seals.is_sealed(self.version)):
                self._seal()  # what a writer left that was killed before it could
            before = self.version
            try:
                yield
            finally:
                with storage_errors(self.uri):
                    # A restoring that fails leaves the table at the older version.
                    self._go_to_newest()
                if self.version != before:
                    self._seal()
