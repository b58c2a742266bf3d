"""A collection of clips on a Milvus server: its fields, its rows, and the requests to the server.

A collection has a row for each clip and focus: the clip's record and the code at that focus, see
`row_codes`. A row's id is MATCH/CLIP/FOCUS. With bit weights, the row of the last focus also has
the clip's one code as it is.
"""

import contextlib
import logging
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pymilvus
from jaxtyping import UInt8

from stvh_jax.errors import Damaged, Exists, UserError
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.milvus.row_codes import length_of
from stvh_jax.retrieval.milvus.where import joined, quoted
from stvh_jax.retrieval.record import RECORD

# What pymilvus logs, with stack traces, it raises as well.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

ID, FOCUS, PART, CODE = "id", "focus", "part", "code"

# The clip's one code, in hexadecimal digits, where bits are weighed.
WHOLE = "whole_code"

# The most bytes of a text in the record, and of a row's id beyond those of its match and clip.
LONGEST_TEXT, _LONGEST_FOCUS = 1024, 64

# Clips are divided into so many parts, by the field `part`, for searches that need them.
PARTS = 64

# Rows in a request that writes or names them.
ROWS = 8192

# Names that are read at a time: of the longest, an answer holds so many.
_NAMES = 1 << 15

# Seconds to wait for a connection, and for an answer.
CONNECT_SECONDS, _ANSWER_SECONDS = 5, 60


class Row(NamedTuple):
    """What names a row: the code of a clip at a focus."""

    name: Name
    focus: int

    @property
    def id(self) -> str:
        """MATCH/CLIP/FOCUS."""
        return f"{self.name[0]}/{self.name[1]}/{self.focus}"

    @classmethod
    def of(cls, id: str) -> "Row":
        """Reads an id; only a match may have a slash in its name."""
        match, clip, focus = id.rsplit("/", 2)
        return cls((match, clip), int(focus))


class Collection:
    """A collection of clips. Reads are strongly consistent: they see all that was written before.

    Attributes:
      uri: where it is.
      info: what the index is.
    """

    def __init__(self, uri: str, client: pymilvus.MilvusClient, name: str, info: IndexInfo):
        """Wraps a collection that is loaded."""
        self.uri, self.info = uri, info
        self._client, self._name = client, name

    @classmethod
    def exists(cls, uri: str, options: Mapping[str, str] | None) -> bool:
        """Says whether there is a collection of this name, readable or not."""
        client, name = _connect(uri, options)
        with server_errors(uri):
            return bool(client.has_collection(name, timeout=CONNECT_SECONDS))

    @classmethod
    def create(cls, uri: str, info: IndexInfo, options: Mapping[str, str] | None) -> "Collection":
        """Makes an empty collection.

        Raises:
          Exists: there is one already, perhaps since a moment ago.
          UserError: the codes are too long, or the server does not make it.
        """
        schema = _schema(info)
        client, name = _connect(uri, options)
        with server_errors(uri):
            if client.has_collection(name, timeout=CONNECT_SECONDS):
                raise _taken(uri)
            try:
                client.create_collection(name, schema=schema, timeout=_ANSWER_SECONDS)
            except pymilvus.MilvusException as error:
                if client.has_collection(name, timeout=CONNECT_SECONDS):
                    raise _taken(uri) from error
                raise
            _load(client, name)
        return cls(uri, client, name, info)

    @classmethod
    def open(cls, uri: str, options: Mapping[str, str] | None) -> "Collection":
        """Opens a collection that is there.

        Raises:
          Damaged: it is of something else.
        """
        client, name = _connect(uri, options)
        with server_errors(uri):
            description: Any = client.describe_collection(name, timeout=CONNECT_SECONDS)
        fields = {field["name"] for field in description["fields"]}
        if fields - {WHOLE} != {ID, FOCUS, PART, CODE, *RECORD.names}:
            raise Damaged(f"{uri} is a collection, but not an index; give another place")
        info = IndexInfo.from_json(description["description"], where=uri)
        with server_errors(uri):
            _load(client, name)
        return cls(uri, client, name, info)

    @property
    def clips_at_once(self) -> int:
        """How many clips have as many rows as a request may write or name."""
        return max(1, ROWS // len(self.info.foci))

    @property
    def one_row_per_clip(self) -> str:
        """The condition that one row of every clip meets."""
        return f"{FOCUS} == {self.info.foci[-1]}"

    def query(self, condition: str, fields: Sequence[str], **options) -> Sequence[dict[str, Any]]:
        """Reads the fields of the rows that meet a condition."""
        with server_errors(self.uri):
            rows: Any = self._client.query(
                self._name,
                filter=condition,
                output_fields=list(fields),
                consistency_level="Strong",
                timeout=_ANSWER_SECONDS,
                **options,
            )
        return rows

    def count(self, conditions: Sequence[str]) -> int:
        """Counts the clips that meet every condition."""
        condition = joined([self.one_row_per_clip, *conditions], "and")
        (answer,) = self.query(condition, ["count(*)"])
        return int(answer["count(*)"])

    def names(self, conditions: Sequence[str]) -> list[Name]:
        """Names the clips that meet every condition, however many there are, in any order.

        The client's own iterator reads as of the client's clock, and misses what was just written.
        """
        names, parts = [], min(PARTS, 1 + self.count(conditions) // _NAMES)
        for part in range(parts):
            own = [self.one_row_per_clip, f"{PART} % {parts} == {part}", *conditions]
            names += [Row.of(row[ID]).name for row in self.query(joined(own, "and"), [ID])]
        return names

    def rows(
        self, names: Sequence[Name], foci: Sequence[int], fields: Sequence[str] = ()
    ) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Reads the rows of some clips, those that are there, in any order."""
        ids = [Row(name, focus).id for name in names for focus in foci]
        for start in range(0, len(ids), ROWS):
            condition = one_of_ids(ids[start : start + ROWS])
            for values in self.query(condition, [ID, *fields]):
                yield Row.of(values[ID]), values

    def present(self, names: Sequence[Name]) -> set[Name]:
        """Gives those of some clips that are there."""
        return {row.name for row, _ in self.rows(names, [self.info.foci[-1]])}

    def nearest(self, codes: Sequence[bytes], limit: int, condition: str) -> Sequence[Any]:
        """Finds the rows nearest to each code, of those that meet a condition."""
        with server_errors(self.uri):
            answers: Any = self._client.search(
                self._name,
                data=list(codes),
                limit=limit,
                filter=condition,
                search_params={"metric_type": "HAMMING"},
                consistency_level="Strong",
                timeout=_ANSWER_SECONDS,
            )
        return answers

    def upsert(self, rows: list[dict[str, Any]]) -> None:
        """Writes rows, in place of those of the same ids."""
        with server_errors(self.uri):
            self._client.upsert(self._name, rows, timeout=_ANSWER_SECONDS)

    def delete(self, names: Sequence[Name]) -> None:
        """Deletes all rows of some clips."""
        ids = [Row(name, focus).id for name in names for focus in self.info.foci]
        with server_errors(self.uri):
            self._client.delete(self._name, filter=one_of_ids(ids), timeout=_ANSWER_SECONDS)

    def compact(self) -> None:
        """Has the server join its files."""
        with server_errors(self.uri):
            self._client.flush(self._name, timeout=_ANSWER_SECONDS)
            self._client.compact(self._name, timeout=_ANSWER_SECONDS)

    def stored_codes(
        self, names: Sequence[Name], rows: Mapping[Row, Mapping[str, Any]]
    ) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
        """Gives the codes of some clips, of each stored focus, by their rows at these foci."""
        codes, weighted = {}, self.info.bit_weights is not None
        for focus in self.info.stored_foci:
            own = [rows[Row(name, focus)] for name in names]
            content = [bytes.fromhex(row[WHOLE]) if weighted else row[CODE][0] for row in own]
            array = np.frombuffer(b"".join(content), np.uint8)
            codes[focus] = array.reshape(-1, self.info.bits // 8)
        return codes

    @property
    def code_field(self) -> str:
        """The field in which rows of stored foci hold the clips' codes."""
        return CODE if self.info.bit_weights is None else WHOLE


def one_of_ids(ids: Sequence[str]) -> str:
    """Gives the condition that the rows of some ids meet."""
    return f"{ID} in [{', '.join(map(quoted, ids))}]"


def part_of(name: Name) -> int:
    """Gives the part of a clip, the same on every machine."""
    return zlib.crc32(Row(name, 0).id.encode()) % PARTS


@contextlib.contextmanager
def server_errors(uri: str) -> Iterator[None]:
    """Turns what the client raises into one line.

    Raises:
      UserError: of a `MilvusException`; any other error passes.
    """
    try:
        yield
    except pymilvus.MilvusException as error:
        raise UserError(
            f"{uri} cannot be read or written as an index: {_one_line(error)}"
        ) from error


def _connect(uri: str, options: Mapping[str, str] | None) -> tuple[pymilvus.MilvusClient, str]:
    """Connects to the server of a URI; gives the name of its collection too."""
    parts = re.fullmatch(r"(https?://[^/]+)/([A-Za-z_][A-Za-z0-9_]*)/?", uri)
    if parts is None:
        raise UserError(
            f"{uri} names no collection of a Milvus server; give http://HOST:PORT/COLLECTION, with "
            "only letters, digits and underscores in the collection's name"
        )
    server, collection = parts.groups()
    try:
        client = pymilvus.MilvusClient(uri=server, timeout=CONNECT_SECONDS, **(options or {}))
    except pymilvus.MilvusException as error:
        raise UserError(
            f"no Milvus server answers at {server} ({_one_line(error)}); start one, or give "
            "another address"
        ) from error
    return client, collection


def _load(client: pymilvus.MilvusClient, name: str) -> None:
    """Has the server load a collection, which first needs an index of its codes.

    Making a collection and making that index are two requests: a process that opens it in between
    makes the index itself, and so does one after a process that was killed there.
    """
    if not client.list_indexes(name):
        index = client.prepare_index_params()
        index.add_index(CODE, index_type="BIN_FLAT", metric_type="HAMMING")
        client.create_index(name, index, timeout=_ANSWER_SECONDS)
    client.load_collection(name, timeout=_ANSWER_SECONDS)


def _taken(uri: str) -> Exists:
    return Exists(f"{uri} holds a collection already; give another name, or drop it")


def _schema(info: IndexInfo) -> pymilvus.CollectionSchema:
    """Gives the fields of a collection; its description is the index's own, in JSON."""
    kind = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=info.to_json()
    )
    longest_id = 2 * LONGEST_TEXT + _LONGEST_FOCUS
    schema.add_field(ID, kind.VARCHAR, is_primary=True, max_length=longest_id)
    schema.add_field(FOCUS, kind.INT16)
    schema.add_field(PART, kind.INT16)
    for field in info.record:
        if pa.types.is_string(field.type):
            schema.add_field(field.name, kind.VARCHAR, max_length=LONGEST_TEXT)
        else:
            number = kind.INT64 if pa.types.is_integer(field.type) else kind.DOUBLE
            schema.add_field(field.name, number)
    schema.add_field(CODE, kind.BINARY_VECTOR, dim=length_of(info))
    if info.bit_weights is not None:
        schema.add_field(WHOLE, kind.VARCHAR, max_length=info.bits // 4)
    return schema


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:300]
