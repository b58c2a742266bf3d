"""How LanceDB's store is reached: its table, whole columns of it, and what it raises."""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError
from stvh_jax.retrieval.index_info import IndexInfo, listed
from stvh_jax.retrieval.record import ADAPTATION, RECORD
from stvh_jax.retrieval.where import shown

if TYPE_CHECKING:
    import lancedb
    from lancedb.table import LanceTable

TABLE = "clips"

# Where the table's schema holds what `IndexInfo.to_json` gives.
INFO = b"stvh_jax"

# Lance's own number of a row.
ROW_ID = "_rowid"

# Rows read at a time; Lance's own default, 1024, takes twenty times as long.
_ROWS_AT_ONCE = 1 << 16


def connect(uri: str, storage_options: Mapping[str, str] | None) -> "lancedb.DBConnection":
    """Connects to a store; makes its folder if there is none.

    Raises:
      UserError: LanceDB is not installed.
    """
    try:
        import lancedb  # it takes a second, and most searches do without (`copies`)
    except ModuleNotFoundError as error:
        raise UserError(
            f"an index needs {error.name}, which is not installed; pip install 'stvh_jax[search]'"
        ) from error

    options = None if storage_options is None else dict(storage_options)
    return lancedb.connect(uri, storage_options=options)


def open_table(
    uri: str, storage_options: Mapping[str, str] | None, version: int | None = None
) -> "LanceTable":
    """Opens the table of a store, a handle that stays at the version if one is given."""
    from lancedb.table import LanceTable

    table = connect(uri, storage_options).open_table(TABLE)
    assert isinstance(table, LanceTable)  # a RemoteTable is one of LanceDB's own servers
    if version is not None:
        table.checkout(version)
    return table


def exists(uri: str, storage_options: Mapping[str, str] | None) -> bool:
    """Says whether there is a store; one whose making was cut short does not count."""
    folder = local_folder(uri)
    with files.reading(uri, "a place for an index"):
        if folder is not None and not folder.is_dir():
            return False  # to connect would make it
    with storage_errors(uri):
        connection = connect(uri, storage_options)
        if TABLE not in connection.list_tables().tables:
            return False
        try:
            connection.open_table(TABLE)
        except ValueError as error:
            if "was not found" in str(error):  # a folder without a version in it
                return False
            raise
    return True


def info_of(uri: str, table: "LanceTable") -> IndexInfo:
    """Reads what an index is, at the version of a handle.

    Raises:
      Damaged: it is no index, or cannot be read.
    """
    with storage_errors(uri):
        text = (table.schema.metadata or {}).get(INFO)
    if text is None:
        raise Damaged(f"{uri} is not an index, or is damaged; give another place")
    return IndexInfo.from_json(text.decode(errors="replace"), where=uri)


def list_versions(uri: str, table: "LanceTable") -> list[dict[str, Any]]:
    """Lists the versions of a store, oldest first: number, time and clips."""
    with storage_errors(uri):
        entries = table.list_versions()
    return [
        {
            "version": entry["version"],
            "time": entry["timestamp"],
            "clips": int(entry["metadata"]["total_rows"]),
        }
        for entry in entries
    ]


def read_columns(table: "LanceTable", columns: Sequence[str], where: str | None = None) -> pa.Table:
    """Reads columns, and the number, of all rows or of those that meet a condition."""
    return column_batches(table, columns, where).read_all()


def read_behind(table: "LanceTable", columns: Sequence[str], rows: int) -> pa.Table:
    """Reads columns of the rows behind so many others."""
    query = table.search().offset(rows).limit(max(0, table.count_rows() - rows))
    return query.select([*columns]).to_batches(_ROWS_AT_ONCE).read_all()


def column_batches(
    table: "LanceTable", columns: Sequence[str], where: str | None = None
) -> pa.RecordBatchReader:
    """Reads columns, and the number, some rows at a time."""
    query = table.search() if where is None else table.search().where(where)
    return query.with_row_id(True).select([*columns, ROW_ID]).to_batches(_ROWS_AT_ONCE)


def local_folder(uri: str) -> pathlib.Path | None:
    """Gives the folder of a store on this machine's disk, None of any other."""
    uri = uri.removeprefix("file://")
    return None if "://" in uri else pathlib.Path(uri)


@contextlib.contextmanager
def storage_errors(
    uri: str,
    where: str | None = None,
    *,
    fields: Sequence[str] = tuple(RECORD.names),
    writing: bool = False,
) -> Iterator[None]:
    """Turns what LanceDB raises into one line. Wrap its calls and nothing else.

    Args:
      uri: the store, for the message.
      where: a condition that LanceDB is given.
      fields: the fields that it may name, for the message.
      writing: something is written.

    Raises:
      UserError: the condition cannot be read, the store cannot be written, or a bucket not read,
        which may be the network's fault.
      Damaged: a store on this machine's disk cannot be read.
    """
    try:
        yield
    except BaseException as error:
        if not _is_of_lance(error):
            raise
        # Lance adds the list of all columns, codes too, and where in its source it was.
        cause = re.split(r" Valid fields are |, \S+\.rs:\d", " ".join(str(error).split()))[0]
        cause = cause.removeprefix("Invalid input, ").rstrip(".")[:300]
        # Lance wraps what the system says of a disk in errors of its own.
        of_disk = isinstance(error, OSError) or re.search(r"\(os error |error: Not found: ", cause)
        if where is not None and not of_disk:
            raise UserError(
                f"where {shown(where)}: {cause}; the fields are {listed(fields)}"
            ) from error
        if writing:
            raise UserError(f"{uri} cannot be written as an index: {cause}") from error
        kind = UserError if local_folder(uri) is None else Damaged
        raise kind(f"{uri} cannot be read as an index: {cause}") from error


def _is_of_lance(error: BaseException) -> bool:
    """Says whether an error is one of the kinds by which LanceDB's binding reports.

    A panic of its Rust code has one of two classes, and neither can be imported.
    """
    kinds = (OSError, RuntimeError, ValueError)
    return isinstance(error, kinds) or type(error).__name__ in ("PanicException", "RustPanic")


@contextlib.contextmanager
def only_writer(uri: str) -> Iterator[None]:
    """Keeps other processes from writing; a bucket has no locks."""
    folder = local_folder(uri)
    with contextlib.ExitStack() as stack:
        if folder is not None:
            with files.writing(uri):
                lock = files.lock(folder / "writer.lock", busy=f"another process writes to {uri}")
                stack.enter_context(lock)
        yield


def one_adaptation(uri: str, stored: pa.Table) -> int:
    """Gives the number of the adaptation of all clips; 0 for none.

    Raises:
      Damaged: they have several, and their codes cannot be compared.
    """
    numbers = np.unique(stored[ADAPTATION.name].to_numpy())
    if len(numbers) > 1:
        raise Damaged(
            f"{uri} has visual bits of {len(numbers)} adaptations, which cannot be compared; "
            "restore an older version of it, or index the clips again"
        )
    return int(numbers[0]) if len(numbers) else 0
