"""Names of clips in a store: the column that the first one needs, and clips with theirs changed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stvh_jax.errors import NotFound
from stvh_jax.names import printable
from stvh_jax.retrieval.clip_table import as_record
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot
from stvh_jax.retrieval.lance.storage import INFO, ROW_ID, TABLE, connect, read_columns
from stvh_jax.retrieval.record import GIVEN_NAME, NAMES

if TYPE_CHECKING:
    from lancedb.table import LanceTable


def add_column(
    uri: str, storage_options: Mapping[str, str] | None, table: "LanceTable", info: IndexInfo
) -> None:
    """Writes the clips of a store anew with a column of names, in one version, all of them unnamed.

    What describes the index is written with the clips, so that they always fit each other.

    Args:
      uri: where the store is.
      storage_options: of a bucket.
      table: the store at its newest version.
      info: what it is now.
    """
    wide = info.with_names()
    schema = wide.schema.with_metadata({INFO: wide.to_json()})

    # All are read before any is written: LanceDB cannot do both at once.
    clips = as_record(info, read_columns(table, info.schema.names).drop_columns([ROW_ID]))
    clips = clips.append_column(GIVEN_NAME, pa.nulls(len(clips), pa.string()))
    clips = clips.select(schema.names).cast(schema)
    connect(uri, storage_options).create_table(TABLE, clips, schema, mode="overwrite")


def with_names(snapshot: ClipSnapshot, names: pa.Table) -> tuple[pa.Table, int]:
    """Gives clips, and their codes, with other names than they have.

    Args:
      snapshot: where they are; it has a column of names.
      names: match, clip and name of each; null to take its name away.

    Returns:
      Those whose names change, and how many of these have another now.

    Raises:
      NotFound: one is not there.
    """
    rows = _rows_of(snapshot, names)
    given = names[GIVEN_NAME].combine_chunks()
    before = snapshot.store.taken(rows, [GIVEN_NAME])[GIVEN_NAME]
    same = pc.call_function("equal", [given, before])
    both_none = np.logical_and(*(each.is_null().to_numpy(False) for each in (given, before)))
    changed = ~(pc.fill_null(same, False).to_numpy(False) | both_none)
    replaced = int((changed & before.is_valid().to_numpy(False)).sum())
    clips = snapshot.records(rows[changed])
    place = clips.schema.get_field_index(GIVEN_NAME)
    return clips.set_column(place, GIVEN_NAME, given.filter(pa.array(changed))), replaced


def with_kept_names(snapshot: ClipSnapshot, clips: pa.Table) -> pa.Table:
    """Gives clips that are written anew the names that they have."""
    pairs = _pairs(clips)
    rows = [-1 if row is None else row for row in snapshot.find(pairs)]
    there = np.array([row for row in rows if row >= 0], np.int64)
    values = iter(snapshot.store.taken(there, [GIVEN_NAME])[GIVEN_NAME].to_pylist())
    kept = [next(values) if row >= 0 else None for row in rows]
    return clips.append_column(GIVEN_NAME, pa.array(kept, snapshot.fields.field(GIVEN_NAME).type))


def _rows_of(snapshot: ClipSnapshot, names: pa.Table) -> np.ndarray:
    pairs = _pairs(names)
    rows = snapshot.find(pairs)
    if None in rows:
        clip = "/".join(pairs[rows.index(None)])
        raise NotFound(f"clip {printable(clip)} is not in the index")
    return np.array(rows, np.int64)


def _pairs(clips: pa.Table) -> list[Name]:
    return list(zip(*(clips[name].to_pylist() for name in NAMES)))
