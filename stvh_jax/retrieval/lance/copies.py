"""A copy of a small store's clips that is read without LanceDB, whose import alone takes a second.

It stands with the derived codes. It is named by the digest of the version's manifest, so that it
never stands for another version, and begins with a digest of its own. Who opens a store that has
none, or where it is not what was written, reads the store itself, and makes the copy.
"""

import contextlib
import dataclasses
import hashlib
import io
import pathlib

import pyarrow as pa

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.lance.derived_codes import cache_folder
from stvh_jax.retrieval.lance.row_ids import OpenTable
from stvh_jax.retrieval.lance.seals import Seals
from stvh_jax.retrieval.lance.storage import INFO, ROW_ID, read_columns, storage_errors
from stvh_jax.retrieval.record import ADAPTATION, NAMES, code_column

# The most clips of a store that is copied. Of more, reading takes longer than the import.
_MOST_CLIPS = 1 << 17

# Far more than so many clips take.
_MOST_BYTES = 256 << 20

# The length of a SHA-256 in hexadecimal digits, with which a copy begins.
_DIGITS = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Copy:
    """The clips of a store at one version.

    Attributes:
      version: its number.
      info: what the index is.
      clips: their columns, and Lance's own numbers of the rows, as Lance reads them.
    """

    version: int
    info: IndexInfo
    clips: pa.Table


def read(uri: str, seals: Seals, version: int) -> Copy | None:
    """Reads the copy of a version; None if there is none that can be used."""
    with contextlib.suppress(UserError):
        path = _path(uri, seals, version)
        if path is None or not path.is_file():
            return None
        content = files.read_bytes(path, "a copy of clips", most=_MOST_BYTES)
        with files.reading(path, "a copy of clips"):
            if hashlib.sha256(content[_DIGITS:]).hexdigest().encode() != content[:_DIGITS]:
                return None
            with pa.ipc.open_stream(content[_DIGITS:]) as reader:
                clips = reader.read_all()
            clips.validate(full=True)  # an index may be from elsewhere
            text = (clips.schema.metadata or {})[INFO].decode(errors="replace")
        info = IndexInfo.from_json(text, where=uri)
        if _types(clips.schema) == _types(_schema(info)):
            return Copy(version, info, clips)
    return None


def read_searched(uri: str, open_table: OpenTable, info: IndexInfo) -> Copy:
    """Reads the columns alone that a search needs of every clip."""
    adaptation = [] if info.bit_weights is None else [ADAPTATION.name]
    columns = [*NAMES, *map(code_column, info.stored_foci), *adaptation]
    with storage_errors(uri):
        table = open_table()
        return Copy(table.version, info, read_columns(table, columns))


def make(
    uri: str, open_table: OpenTable, info: IndexInfo, seals: Seals, version: int
) -> Copy | None:
    """Reads the clips of a version, and keeps a copy; None if they are too many."""
    schema = _schema(info)
    with storage_errors(uri):
        table = open_table()
        if table.count_rows() > _MOST_CLIPS:
            return None
        clips = read_columns(table, info.schema.names)
    if _types(clips.schema) != _types(schema):
        return None
    # The copy only helps: an index on a disk that cannot be written is searched all the same.
    with contextlib.suppress(OSError, UserError):
        _keep(_path(uri, seals, version), clips.replace_schema_metadata({INFO: info.to_json()}))
    return Copy(version, info, clips)


def _keep(path: pathlib.Path | None, clips: pa.Table) -> None:
    """Writes a copy, in place of those of other versions."""
    if path is None:
        return
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, clips.schema) as writer:
        writer.write_table(clips)
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, hashlib.sha256(content).hexdigest().encode() + content)
    for other in path.parent.glob("clips-*.arrow"):
        if other != path:
            other.unlink(missing_ok=True)


def _path(uri: str, seals: Seals, version: int) -> pathlib.Path | None:
    """Names the copy of a version; None if there is no such version."""
    digest = seals.digest_of(version)
    return None if digest is None else cache_folder(uri) / f"clips-{digest[:32]}.arrow"


def _schema(info: IndexInfo) -> pa.Schema:
    return info.schema.append(pa.field(ROW_ID, pa.uint64()))


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return list(zip(schema.names, schema.types))
