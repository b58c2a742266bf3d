"""An index on a Milvus server, for more clips than one machine holds.

Milvus derives no codes and weighs no bits, so what its rows hold is made here. All rows of a clip
are in one request, which the server carries out as a whole: wherever a write is cut short, no clip
is there in part, and none that was kept before is lost.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from stvh_jax.errors import UserError
from stvh_jax.retrieval.clip_table import as_stored, codes_of_table
from stvh_jax.retrieval.engine import Name, check_adaptable, clip_exists, no_index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.milvus.collection import (
    CODE,
    FOCUS,
    ID,
    LONGEST_TEXT,
    PART,
    WHOLE,
    Collection,
    Row,
    part_of,
)
from stvh_jax.retrieval.milvus.row_codes import row_codes
from stvh_jax.retrieval.milvus.snapshot import CollectionSnapshot
from stvh_jax.retrieval.milvus.where import joined, null_of, translate
from stvh_jax.retrieval.record import GIVEN_NAME


class MilvusEngine:
    """A collection of clips on a server; see `Engine`.

    Attributes:
      uri: where it is.
      info: what the index is.
      version: None; Milvus keeps none.
      adapts: False; what adapts the visual bits is not kept there.
    """

    version = None
    adapts: ClassVar[bool] = False

    def __init__(self, collection: Collection):
        """Wraps an open collection."""
        self.uri, self.info = collection.uri, collection.info
        self._collection, self._snapshot = collection, CollectionSnapshot(collection)

    @classmethod
    def exists(cls, uri: str, *, storage_options: Mapping[str, str] | None) -> bool:
        """Says whether there is a collection of this name, readable or not.

        Raises:
          UserError: no server answers.
        """
        return Collection.exists(uri, storage_options)

    @classmethod
    def create(
        cls, uri: str, info: IndexInfo, *, storage_options: Mapping[str, str] | None
    ) -> "MilvusEngine":
        """Makes an empty collection.

        Args:
          uri: `http://HOST:PORT/COLLECTION`.
          info: what the index is.
          storage_options: what `pymilvus.MilvusClient` takes: user, password, token, db_name.

        Raises:
          Exists: there is one already.
          UserError: it cannot be made, has columns of the user's own, or has bit weights of which
            the server's codes would be too long.
        """
        if info.columns:
            raise UserError(
                f"{uri}: columns of your own are not supported on a Milvus server; make the index "
                "in a folder, or leave out columns="
            )
        return cls(Collection.create(uri, info, storage_options))

    @classmethod
    def open(
        cls, uri: str, *, version: int | None, storage_options: Mapping[str, str] | None
    ) -> "MilvusEngine":
        """Opens a collection.

        Raises:
          NotFound: there is none.
          Damaged: it is of something else.
          UserError: a version is asked for.
        """
        if version is not None:
            raise _no_versions(uri)
        if not Collection.exists(uri, storage_options):
            raise no_index(uri)
        return cls(Collection.open(uri, storage_options))

    def snapshot(self) -> CollectionSnapshot:
        """Gives what is searched: the collection as it is."""
        return self._snapshot

    def count(self, where: str | None = None) -> int:
        """Counts the clips that meet a condition."""
        return self._collection.count(self._conditions(where))

    def add(self, clips: pa.Table) -> None:
        """Adds clips that are not there yet.

        Thousands of clips take several requests; if the first are done and it is cut short then,
        `upsert` with the same clips does the rest.

        Raises:
          Exists: one is; nothing is added then.
        """
        names = _names_of(clips)
        present = self._collection.present(names)
        if present:
            first = next(name for name in names if name in present)
            raise clip_exists(self._collection.uri, first)
        # Milvus would insert a clip twice that another process has added since.
        self.upsert(clips)

    def upsert(self, clips: pa.Table) -> None:
        """Adds clips, in place of those of the same name.

        Raises:
          UserError: a text is too long, or clips have names; nothing is written then.
        """
        if GIVEN_NAME in clips.column_names:
            self.name(clips)
        for name in clips.column_names:
            if pa.types.is_string(clips[name].type):
                lengths = pc.call_function("binary_length", [clips[name]])
                longest = pc.call_function("max", [lengths]).as_py() or 0
                if longest > LONGEST_TEXT:
                    raise UserError(
                        f"{name!r} of a clip has {longest} bytes; on Milvus it may have "
                        f"{LONGEST_TEXT}"
                    )
        stored, names = as_stored(self.info, clips), _names_of(clips)
        step = self._collection.clips_at_once
        for start in range(0, len(names), step):
            rows = self._rows(stored.slice(start, step), names[start : start + step])
            self._collection.upsert(rows)

    def name(self, names: pa.Table) -> int:
        """Clips cannot be given names here.

        Raises:
          UserError: always.
        """
        raise UserError(
            f"{self.uri}: clips on a Milvus server cannot be given names; name those of an index "
            "in a folder or a bucket"
        )

    def delete(self, where: str) -> int:
        """Deletes the clips that meet a condition and counts them."""
        collection, deleted = self._collection, 0
        condition = joined([collection.one_row_per_clip, *self._conditions(where)], "and")
        while rows := collection.query(condition, [ID], limit=collection.clips_at_once):
            collection.delete([Row.of(row[ID]).name for row in rows])
            deleted += len(rows)
        return deleted

    def adaptation(self) -> None:
        """There is none: the visual bits are as they were trained."""

    def adapt(self, adaptation: Any, names: pa.Table, bits: Any) -> None:
        """Visual bits cannot be adapted here.

        Raises:
          UserError: always.
        """
        check_adaptable(self._collection.uri, self.info.bit_weights, adapts=self.adapts)

    def versions(self) -> list[dict[str, Any]]:
        """There are none.

        Raises:
          UserError: always.
        """
        raise _no_versions(self._collection.uri)

    def restore(self, version: int) -> None:
        """There is nothing to restore; raises as `versions`."""
        raise _no_versions(self._collection.uri)

    def refresh(self) -> None:
        """Does nothing: every search sees what was written before it."""

    def compact(self) -> None:
        """Has the server join its files, which it also does by itself."""
        self._collection.compact()

    def _conditions(self, where: str | None) -> list[str]:
        return [] if where is None else [translate(where, self.info.record)]

    def _rows(self, stored: pa.Table, names: list[Name]) -> list[dict[str, Any]]:
        """Gives the rows of some clips, those of one clip side by side."""
        info, own = self.info, codes_of_table(self.info, stored)
        codes = {focus: row_codes(info, focus, own) for focus in info.foci}
        rows = []
        for place, record in enumerate(stored.select(info.record.names).to_pylist()):
            name = names[place]
            values = {field.name: _written(field, record[field.name]) for field in info.record}
            for focus in info.foci:
                key = {ID: Row(name, focus).id, FOCUS: focus, PART: part_of(name)}
                rows.append({**key, **values, CODE: codes[focus][place].tobytes()})
                if info.bit_weights is not None:
                    whole = own[focus][place].tobytes() if focus == info.last_focus else b""
                    rows[-1][WHOLE] = whole.hex()
        return rows


def _names_of(clips: pa.Table) -> list[Name]:
    return list(zip(clips["match"].to_pylist(), clips["clip"].to_pylist()))


def _written(field: pa.Field, value):
    """Gives what is stored for a value of the record."""
    return null_of(field) if value is None or value != value else value


def _no_versions(uri: str) -> UserError:
    return UserError(f"{uri}: Milvus keeps no versions; search and write what is there now")
