"""The records of a snapshot's clips: columns in memory, each read when first used.

Of 10^7 clips, each fraction takes 76 MiB, and each text of which there are few 10 MiB. Columns of
more than `_MOST_BYTES` together stay on disk: Lance then takes records and evaluates conditions,
which takes longer.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from stvh_jax.retrieval.lance.columns import (
    Column,
    Insertion,
    OnDisk,
    column_of,
    compact,
    in_order,
)
from stvh_jax.retrieval.lance.row_ids import RowIds
from stvh_jax.retrieval.lance.storage import ROW_ID, column_batches, storage_errors

# The most that the columns of one snapshot take in memory. Those of 10^7 clips take less, with a
# file of its own for each clip too.
_MOST_BYTES = 1 << 30

# So many rows are read at once. To take a few rows takes Lance as long as to read `_TAKING` rows,
# and to take many at least as long as to read as many; larger tables are read once what was taken
# from them has taken as long as that.
_AT_ONCE, _TAKING = 1 << 17, 1 << 16

# A column that was not used for so many writes is dropped.
_WRITES = 8


class Records:
    """What a store at one version tells of its clips, beside their codes.

    Attributes:
      row_ids: Lance's own numbers of the rows.
    """

    def __init__(self, row_ids: RowIds, fields: pa.Schema, stored: pa.Table | None = None):
        """Reads nothing yet.

        Args:
          row_ids: see there.
          fields: the columns.
          stored: what Lance would read, where it was read before.
        """
        self.row_ids, self._fields, self._stored = row_ids, fields, stored
        self._columns: dict[str, Column] = {}
        # Of columns as they were some writes ago, what was written since.
        self._earlier: dict[str, tuple[Column, list[tuple[Insertion, pa.Table]]]] = {}
        self._on_disk, self._takings = False, 0

    def column(self, name: str) -> Column:
        """Gives a column, read if it is not in memory.

        Raises:
          OnDisk: it has to stay on disk.
        """
        self._read([name])
        return self._columns[name]

    def taken(self, rows: Int64[np.ndarray, "k"], names: Sequence[str]) -> dict[str, pa.Array]:
        """Gives some columns of some rows."""
        if any(name not in self._columns and name not in self._earlier for name in names):
            worth = _AT_ONCE + _TAKING * self._takings + len(rows)
            self._takings += 1
            if self._on_disk or worth < len(self.row_ids.known):
                return self._taken_by_lance(rows, names)
        try:
            self._read(names)
        except OnDisk:
            return self._taken_by_lance(rows, names)
        return {name: self._columns[name].taken(rows) for name in names}

    def with_rows(self, row_ids: RowIds, insertion: Insertion, clips: pa.Table) -> "Records":
        """Gives the records with those of new rows; they are put into columns when these are used.

        Args:
          row_ids: of all rows.
          insertion: where the new ones go.
          clips: their records, in any order.
        """
        records = Records(row_ids, self._fields)
        records._on_disk, records._takings = self._on_disk, self._takings
        written = (insertion, clips.select(self._fields.names))
        for name, column in self._columns.items():
            records._earlier[name] = (column, [written])
        for name, (column, since) in self._earlier.items():
            if len(since) < _WRITES:
                records._earlier[name] = (column, [*since, written])
        return records

    def _catch_up(self, name: str) -> None:
        """Puts what was written since into a column that is in memory as it was earlier.

        Raises:
          OnDisk: it cannot stay in memory.
        """
        column, since = self._earlier[name]
        for insertion, clips in since:
            column = column.with_rows(insertion, clips[name])
        if self._size + column.nbytes > _MOST_BYTES:
            self._on_disk = True
            raise OnDisk
        self._columns[name] = column
        self._earlier.pop(name, None)

    @property
    def _size(self) -> int:
        return sum(column.nbytes for column in self._columns.values())

    def _read(self, names: Sequence[str]) -> None:
        """Reads columns that are not in memory.

        Raises:
          OnDisk: they have to stay on disk.
        """
        for name in set(names) & self._earlier.keys() - self._columns.keys():
            self._catch_up(name)
        names = [name for name in names if name not in self._columns]
        if not names:
            return
        if self._on_disk:
            raise OnDisk
        room = _MOST_BYTES - self._size
        chunks, ids = {name: [] for name in names}, []
        for batch in self._batches(names):
            ids.append(batch.column(ROW_ID).to_numpy().astype(np.int64))
            for name in names:
                chunks[name].append(compact(batch.column(name)))
                room -= chunks[name][-1].nbytes
            if room < 0:
                self._on_disk = True
                raise OnDisk
        rows = self.row_ids.rows_of(np.concatenate([np.empty(0, np.int64), *ids]))
        sorted_ = bool((rows == np.arange(len(rows))).all())
        for name in names:
            column = column_of(chunks[name], self._fields.field(name).type)
            self._columns[name] = column if sorted_ else in_order(column, rows)

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self._stored is not None:
            yield from self._stored.select([*names, ROW_ID]).to_batches()
            return
        with storage_errors(self.row_ids.uri):
            yield from column_batches(self.row_ids.open_table(), names)

    def _taken_by_lance(
        self, rows: Int64[np.ndarray, "k"], names: Sequence[str]
    ) -> dict[str, pa.Array]:
        """Asks Lance for some columns of some rows, by its own numbers of them."""
        ids = self.row_ids.all[rows].tolist()
        if not ids:
            return {name: pa.array([], self._fields.field(name).type) for name in names}
        with storage_errors(self.row_ids.uri):
            query = self.row_ids.open_table().take_row_ids(ids)
            taken = query.select([*names, ROW_ID]).to_arrow()
        place = {row_id: row for row, row_id in enumerate(taken[ROW_ID].to_pylist())}
        taken = taken.take(pa.array([place[row_id] for row_id in ids], pa.int64()))
        return {name: taken[name].combine_chunks() for name in names}
