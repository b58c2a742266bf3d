"""The adaptations of a store, to the archives that it has held: a table beside that of its clips.

Each has its number, by which the clips of a version say what has made their visual bits, and holds
a digest of its own.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64

from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.errors import Damaged, UserError
from stvh_jax.names import printable
from stvh_jax.retrieval.clip_table import code_columns, codes_of_table
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot
from stvh_jax.retrieval.lance.storage import connect, storage_errors
from stvh_jax.retrieval.record import ADAPTATION, code_column

_TABLE = "adaptations"
_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("content", pa.large_binary(), nullable=False),
    ]
)
_CURE = "restore a copy of the index, or an older version of it"


def keep(uri: str, storage_options: Mapping[str, str] | None, adaptation: Adaptation) -> None:
    """Writes an adaptation down, if it is not there."""
    row = {"number": [adaptation.number], "content": [adaptation.to_bytes()]}
    with storage_errors(uri, writing=True):
        table = connect(uri, storage_options).create_table(_TABLE, schema=_SCHEMA, exist_ok=True)
        if not table.count_rows(f"number = {adaptation.number}"):
            table.add(pa.table(row, schema=_SCHEMA))


def read(uri: str, storage_options: Mapping[str, str] | None, number: int) -> Adaptation:
    """Reads the adaptation of a number.

    Raises:
      Damaged: it cannot be read, or is not there.
    """
    with storage_errors(uri):
        connection, rows = connect(uri, storage_options), []
        if _TABLE in connection.list_tables().tables:
            table = connection.open_table(_TABLE)
            rows = table.search().where(f"number = {number}").select(["content"]).to_list()
    if not rows:
        raise Damaged(f"{uri}: adaptation {number} of its visual bits is missing; {_CURE}")
    where = f"{uri}: adaptation {number}"
    found = Adaptation.from_bytes(rows[0]["content"], where=where, cure=_CURE)
    if found.number != number:
        raise Damaged(f"{where} is another, {found.number}; {_CURE}")
    return found


def number_of(clips: pa.Table) -> int | None:
    """Gives the number of the adaptation of the first of some clips; None if there are none."""
    return next(iter(clips[ADAPTATION.name].slice(0, 1).to_pylist()), None)


def with_bits(
    uri: str, snapshot: ClipSnapshot, names: pa.Table, bits: Bool[np.ndarray, "M V"]
) -> pa.Table:
    """Gives all clips, and their codes, with other visual bits.

    Args:
      uri: where the store is, for messages.
      snapshot: of a store of weighted codes.
      names: match and clip of each.
      bits: of each, in the same order.

    Raises:
      UserError: a clip is not in the store, is given twice, or there are others.
    """
    info, clips = snapshot.info, snapshot.records(rows_of_all(uri, snapshot, names))
    assert info.bit_weights is not None  # or it could not be adapted
    codes = info.bit_weights.with_visual(codes_of_table(info, clips)[info.last_focus], bits)
    name = code_column(info.last_focus)
    column = code_columns(info, {info.last_focus: codes})[name]
    return clips.set_column(clips.schema.get_field_index(name), name, column)


def rows_of_all(uri: str, snapshot: ClipSnapshot, names: pa.Table) -> Int64[np.ndarray, "M"]:
    """Finds the rows of clips that are all that there are.

    Raises:
      UserError: one is not in the store, is given twice, or there are others.
    """
    pairs = list(zip(names["match"].to_pylist(), names["clip"].to_pylist()))
    rows = snapshot.find(pairs)
    if None in rows:
        raise UserError(f"clip {printable('/'.join(pairs[rows.index(None)]))} is not in {uri}")
    found = np.array(rows, np.int64)
    if len(np.unique(found)) < len(found) or len(found) < len(snapshot):
        raise UserError(
            f"{uri} has {len(snapshot)} clips and {len(np.unique(found))} of them are given, "
            f"in {len(found)} rows; an index is adapted with each of its clips once"
        )
    return found
