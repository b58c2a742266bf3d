"""An index on a Milvus server, for more clips than one machine holds.

Milvus derives no codes, so those of every focus are stored: a collection has a row for each clip
and focus, with the clip's record, and its description is what `IndexInfo.to_json` gives. All rows
of a clip are in one request, which the server carries out as a whole, so that wherever a write is
ended, no clip is there in part, and none that was kept before is lost.

Of equally distant rows Milvus returns any, and at most 16384 rows for a query. So more are asked
for than are wanted, until those wanted are surely among them; the order is settled here.
"""

import contextlib
import dataclasses
import logging
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pymilvus
from jaxtyping import Int64, UInt8

from stvh_jax.codes.nearest import Neighbours
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.errors import UserError
from stvh_jax.retrieval.milvus.where import joined, null_of, quoted, translate
from stvh_jax.retrieval.record import (
    RECORD,
    IndexInfo,
    Surroundings,
    code_column,
    codes_of_column,
    match_order,
)

# What it logs, with stack traces, it raises as well.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


# The most rows that Milvus returns for a query.
_LIMIT = 16384


# Rows asked for beyond k: usually all that are as near as the k-th are among them.
_SLACK = 256


# Where the limit is too low, the clips are searched in as many parts, by the field `part`.
_PARTS = 64


# Rows in a request that writes or names them, and in the answer to several queries.
_ROWS, _ANSWERS = 8192, 1 << 18


# Seconds to wait for a connection, and for an answer.
_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 60


# Bytes of a text in the record; what a row's name has beyond that of its match.
_LONGEST_TEXT, _LONGEST_NUMBERS = 1024, 64


_ID, _FOCUS, _PART, _CODE = "id", "focus", "part", "code"


Name = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class _Nearest:
    """The clips nearest to one code.

    Attributes:
      distances: by clip, in bits.
      others: the least distance that any other clip may have; infinite if there is none.
    """

    distances: dict[Name, int]
    others: int | float


class MilvusEngine:
    """A collection of clips on a server and the search in it.

    Attributes:
      info: what the index is.
      version: None; Milvus keeps none.
    """

    version = None

    def __init__(self, uri: str, client: pymilvus.MilvusClient, collection: str, info: IndexInfo):
        """Wraps an open collection."""
        self.info = info
        self._uri, self._client, self._collection = uri, client, collection
        # Rows are numbered in the order in which they are first found.
        self._row_of: dict[Name, int] = {}
        self._names: list[Name] = []

    @classmethod
    def exists(cls, uri: str, *, storage_options: Mapping[str, str] | None) -> bool:
        """Says whether there is a collection of this name, readable or not.

        Raises:
          UserError: no server answers.
        """
        client, collection = _connect(uri, storage_options)
        with _told(uri):
            return client.has_collection(collection, timeout=_CONNECT_SECONDS)

    @classmethod
    def create(cls, uri: str, info: IndexInfo, *, storage_options: Mapping[str, str] | None):
        """Makes an empty collection.

        Args:
          uri: `http://HOST:PORT/COLLECTION`.
          info: what the index is.
          storage_options: what `pymilvus.MilvusClient` takes: user, password, token, db_name.

        Raises:
          UserError: there is one already, or it cannot be made.
        """
        if cls.exists(uri, storage_options=storage_options):
            raise UserError(f"{uri} holds a collection already; give another name, or drop it")
        client, collection = _connect(uri, storage_options)
        with _told(uri):
            index = client.prepare_index_params()
            index.add_index(_CODE, index_type="BIN_FLAT", metric_type="HAMMING")
            client.create_collection(
                collection, schema=_schema(info), index_params=index, timeout=_ANSWER_SECONDS
            )
        return cls(uri, client, collection, info)

    @classmethod
    def open(
        cls, uri: str, *, version: int | None, storage_options: Mapping[str, str] | None
    ) -> "MilvusEngine":
        """Opens a collection.

        Raises:
          UserError: there is none, it is of something else, or a version is asked for.
        """
        if version is not None:
            raise _no_versions(uri)
        if not cls.exists(uri, storage_options=storage_options):
            raise UserError(
                f"{uri} holds no index; make one with: python search.py index --run RUN --out {uri}"
            )
        client, collection = _connect(uri, storage_options)
        with _told(uri):
            described = client.describe_collection(collection, timeout=_CONNECT_SECONDS)
            fields = {field["name"] for field in described["fields"]}
            if fields != {_ID, _FOCUS, _PART, _CODE, *RECORD.names}:
                raise UserError(f"{uri} is a collection of something else; give another place")
            info = IndexInfo.from_json(described["description"], where=uri)
            client.load_collection(collection, timeout=_ANSWER_SECONDS)
        return cls(uri, client, collection, info)

    def versions(self) -> list[dict[str, Any]]:
        """There are none.

        Raises:
          UserError: always.
        """
        raise _no_versions(self._uri)

    def restore(self, version: int) -> None:
        """There is nothing to restore; raises as `versions`."""
        raise _no_versions(self._uri)

    def refresh(self) -> None:
        """Does nothing: every search sees what was written before it."""

    def compact(self) -> None:
        """Has the server join its files, which it also does by itself."""
        with _told(self._uri):
            self._client.flush(self._collection, timeout=_ANSWER_SECONDS)
            self._client.compact(self._collection, timeout=_ANSWER_SECONDS)

    def count(self, where: str | None = None) -> int:
        """Counts the clips that a filter lets through."""
        (answer,) = self._query(self._one_row_a_clip(where), ["count(*)"])
        return int(answer["count(*)"])

    def add(self, clips: pa.Table) -> None:
        """Adds clips that are not there yet.

        Thousands of clips take several requests; if the first are done and it is ended then,
        `upsert` with the same clips does the rest.

        Raises:
          UserError: one is; nothing is added then.
        """
        names = _names_of(clips)
        there = {_name(row[_ID]) for row in self._rows(names, [self.info.foci[-1]], [_ID])}
        if there:
            match, clip = next(name for name in names if name in there)
            raise UserError(
                f"clip {match}/{clip} is in {self._uri} already; upsert replaces clips, delete "
                "removes them"
            )
        # Milvus would insert a clip twice that another process has added since.
        self.upsert(clips)

    def upsert(self, clips: pa.Table) -> None:
        """Adds clips, in place of those of the same name.

        Raises:
          UserError: a text is too long; nothing is written then.
        """
        for field in RECORD:
            if pa.types.is_string(field.type):
                longest = pc.max(pc.binary_length(clips[field.name])).as_py() or 0
                if longest > _LONGEST_TEXT:
                    raise UserError(
                        f"{field.name!r} of a clip has {longest} bytes; on Milvus it may have "
                        f"{_LONGEST_TEXT}"
                    )
        for start in range(0, len(clips), self._clips_at_once):
            rows = self._rows_to_write(clips.slice(start, self._clips_at_once))
            with _told(self._uri):
                self._client.upsert(self._collection, rows, timeout=_ANSWER_SECONDS)

    def delete(self, where: str) -> int:
        """Deletes the clips that a filter lets through and counts them."""
        condition, deleted = self._one_row_a_clip(where), 0
        while names := [
            _name(row[_ID]) for row in self._query(condition, [_ID], limit=self._clips_at_once)
        ]:
            ids = [_id(name, focus) for name in names for focus in self.info.foci]
            with _told(self._uri):
                self._client.delete(
                    self._collection, filter=_one_of_ids(ids), timeout=_ANSWER_SECONDS
                )
            deleted += len(names)
        return deleted

    def snapshot(self) -> "MilvusEngine":
        """Gives what is searched: the collection as it is."""
        return self

    def search(
        self,
        queries: Mapping[int, UInt8[np.ndarray, "Q bytes"]],
        weights: Mapping[int, int],
        *,
        k: int | None,
        radius: int | None,
        where: str | None,
        without: Sequence[Surroundings],
        together: bool,
    ) -> list[Neighbours]:
        """Finds the nearest clips; see `ClipSnapshot.search`.

        The nearest of each term of a weighted distance are found, and the whole distance of each.
        A clip not among them is at least as far as the sum of what the others may be in each
        term; until that is beyond the k-th found, more are asked for.

        Raises:
          UserError: as there, or the answer cannot be proven within what Milvus returns.
        """
        conditions = self._conditions(where, without)
        count = len(next(iter(queries.values())))
        groups = [list(range(count))] if together else [[query] for query in range(count)]
        answers: list[Neighbours | None] = [None] * len(groups)
        for size in _sizes(_SLACK + (k or 0)):
            left = [place for place, answer in enumerate(answers) if answer is None]
            asked = [query for place in left for query in groups[place]]
            nearest = {
                focus: dict(zip(asked, self._nearest(focus, codes[asked], size, conditions)))
                for focus, codes in queries.items()
            }
            for place in left:
                terms = [
                    (weight, focus, queries[focus][query], nearest[focus][query])
                    for focus, weight in weights.items()
                    for query in groups[place]
                ]
                answers[place] = self._answer(terms, k, radius)
            if None not in answers:
                return answers
        raise UserError(
            f"{self._uri}: the nearest {size} clips do not settle the answer, and no more are read "
            "from Milvus for a query; ask for fewer, or narrow the search by a radius or a filter"
        )

    def _answer(self, terms, k: int | None, radius: int | None) -> Neighbours | None:
        """Gives the clips nearest in a weighted distance, if what was found of each term proves it.

        Args:
          terms: weight, focus, code and `_Nearest` of each.
          k: see `search`.
          radius: see `search`.
        """
        others = sum(weight * nearest.others for weight, _, _, nearest in terms)
        sums = {name: total for name, total in self._sums(terms).items() if total < others}
        # Whatever is not in `sums` is at least as far as `others`.
        enough = k is not None and len(sums) >= k
        everything = others == math.inf or (radius is not None and others > radius)
        if not enough and not everything:
            return None
        if radius is not None:
            sums = {name: total for name, total in sums.items() if total <= radius}
        names = sorted(sums, key=lambda name: (sums[name], match_order(name[0]), name[1]))
        distances = np.array([sums[name] for name in names], np.int64)
        found = Neighbours(np.arange(len(names)), distances, 0).cut(len(names) if k is None else k)
        return dataclasses.replace(found, rows=self._numbered([names[row] for row in found.rows]))

    def _sums(self, terms) -> dict[Name, int]:
        """Gives the weighted distances of all clips found for any term."""
        if len(terms) == 1:
            ((weight, _, _, nearest),) = terms
            return {name: weight * distance for name, distance in nearest.distances.items()}
        names = list({name: None for *_, nearest in terms for name in nearest.distances})
        foci = sorted({focus for _, focus, _, _ in terms})
        codes = {_parsed(row[_ID]): row[_CODE][0] for row in self._rows(names, foci, [_ID, _CODE])}
        # A clip may have been deleted since it was found.
        names = [name for name in names if all((*name, focus) in codes for focus in foci)]
        arrays = {
            focus: self._codes_array([codes[*name, focus] for name in names]) for focus in foci
        }
        sums = sum(
            weight * hamming_distances(code[None], arrays[focus])[0].astype(np.int64)
            for weight, focus, code, _ in terms
        )
        return dict(zip(names, sums.tolist()))

    def _nearest(
        self, focus: int, codes: UInt8[np.ndarray, "Q bytes"], size: int, conditions: Sequence[str]
    ) -> list[_Nearest]:
        """Finds at least `size` clips nearest to each code at a focus, or all there are."""
        limit, parts = min(size, _LIMIT), -(-size // _LIMIT)
        filters = [joined([f"{_FOCUS} == {focus}", *conditions], "and")]
        if parts > 1:
            filters = [f"{filters[0]} and {_PART} % {parts} == {part}" for part in range(parts)]
        at_once = _ANSWERS // limit
        found = []
        for start in range(0, len(codes), at_once):
            data = [code.tobytes() for code in codes[start : start + at_once]]
            answers = [self._search(data, limit, filter) for filter in filters]
            found += [_merged(answer, limit) for answer in zip(*answers)]
        return found

    def records(self, rows: Int64[np.ndarray, "k"]) -> pa.Table:
        """Gives the records and codes of some rows of a search, in their order.

        Raises:
          UserError: a clip is there no more.
        """
        names = [self._names[row] for row in rows]
        stored = {_parsed(row[_ID]): row for row in self._rows(names, self.info.stored_foci, ["*"])}
        for name in names:
            if any((*name, focus) not in stored for focus in self.info.stored_foci):
                raise UserError(
                    f"clip {name[0]}/{name[1]} was deleted from {self._uri} after it was found; "
                    "search again"
                )
        columns = [
            pa.array(
                [
                    _read_value(field, stored[*name, self.info.foci[-1]][field.name])
                    for name in names
                ],
                field.type,
            )
            for field in RECORD
        ]
        for focus in self.info.stored_foci:
            codes = self._codes_array([stored[*name, focus][_CODE][0] for name in names])
            flat = pa.array(codes.ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, self.info.bits // 8))
        return pa.Table.from_arrays(columns, schema=self.info.schema)

    def find(self, names: Sequence[Name]) -> list[int | None]:
        """Finds the rows of clips; None for one that is not in the collection."""
        names = [(match, int(clip)) for match, clip in names]
        there = {_name(row[_ID]) for row in self._rows(names, [self.info.foci[-1]], [_ID])}
        return [int(self._numbered([name])[0]) if name in there else None for name in names]

    @property
    def _clips_at_once(self) -> int:
        return max(1, _ROWS // len(self.info.foci))

    def _numbered(self, names: Sequence[Name]) -> Int64[np.ndarray, "k"]:
        """Gives the rows of clips, new numbers to those never found before."""
        for name in names:
            if name not in self._row_of:
                self._row_of[name] = len(self._names)
                self._names.append(name)
        return np.array([self._row_of[name] for name in names], np.int64)

    def _codes_array(self, codes: Sequence[bytes]) -> UInt8[np.ndarray, "M bytes"]:
        return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, self.info.bits // 8)

    def _rows_to_write(self, clips: pa.Table) -> list[dict[str, Any]]:
        """Gives the rows of some clips, those of one clip side by side."""
        codes = self.info.all_codes(
            {
                focus: codes_of_column(clips[code_column(focus)], self.info.bits)
                for focus in self.info.stored_foci
            }
        )
        rows = []
        for place, record in enumerate(clips.select(RECORD.names).to_pylist()):
            name = record["match"], record["clip"]
            values = {field.name: _written_value(field, record[field.name]) for field in RECORD}
            for focus in self.info.foci:
                key = {_ID: _id(name, focus), _FOCUS: focus, _PART: _part(name)}
                rows.append({**key, **values, _CODE: codes[focus][place].tobytes()})
        return rows

    def _one_row_a_clip(self, where: str | None) -> str:
        focus = f"{_FOCUS} == {self.info.foci[-1]}"
        return joined([focus, *self._conditions(where, ())], "and")

    def _conditions(self, where: str | None, without: Sequence[Surroundings]) -> list[str]:
        """Says in Milvus's own words which clips are meant: those that meet every condition."""
        conditions = [] if where is None else [translate(where)]
        for match in sorted({one.match for one in without if one.seconds is not None}):
            self._check_times(match)
        for one in without:
            match = quoted(one.match)
            if one.clip is not None:
                conditions.append(f"(match != {match} or clip != {int(one.clip)})")
            elif one.seconds is None:
                conditions.append(f"match != {match}")
            else:
                earliest, latest = map(float, one.seconds)
                conditions.append(
                    f"(match != {match} or start >= {latest!r} or stop <= {earliest!r})"
                )
        return conditions

    def _check_times(self, match: str) -> None:
        text = match.replace("'", "''")
        if self.count(f"match = '{text}' AND (start IS NULL OR stop IS NULL)"):
            raise UserError(
                f"clips of match {match} have no times in the index, so that none is known to be "
                "near; index them with their start and stop"
            )

    def _rows(self, names: Sequence[Name], foci: Sequence[int], fields: Sequence[str]):
        """Reads the rows of some clips, in any order."""
        ids = [_id(name, focus) for name in names for focus in foci]
        for start in range(0, len(ids), _ROWS):
            yield from self._query(_one_of_ids(ids[start : start + _ROWS]), fields)

    def _query(self, condition: str, fields: Sequence[str], **options) -> Sequence[dict]:
        """Reads rows; strongly consistent: all that was written before is seen."""
        with _told(self._uri):
            return self._client.query(
                self._collection,
                filter=condition,
                output_fields=list(fields),
                consistency_level="Strong",
                timeout=_ANSWER_SECONDS,
                **options,
            )

    def _search(self, data: list[bytes], limit: int, condition: str):
        """Finds the rows nearest to each code."""
        with _told(self._uri):
            return self._client.search(
                self._collection,
                data=data,
                limit=limit,
                filter=condition,
                search_params={"metric_type": "HAMMING"},
                consistency_level="Strong",
                timeout=_ANSWER_SECONDS,
            )


def _connect(uri: str, options: Mapping[str, str] | None) -> tuple[pymilvus.MilvusClient, str]:
    """Connects to the server of a URI; gives the name of its collection too."""
    found = re.fullmatch(r"(https?://[^/]+)/([A-Za-z_][A-Za-z0-9_]*)/?", uri)
    if found is None:
        raise UserError(
            f"{uri} names no collection of a Milvus server; give http://HOST:PORT/COLLECTION, the "
            "collection by letters, digits and underscores"
        )
    server, collection = found.groups()
    try:
        client = pymilvus.MilvusClient(uri=server, timeout=_CONNECT_SECONDS, **(options or {}))
    except pymilvus.MilvusException as error:
        raise UserError(
            f"no Milvus server answers at {server} ({_one_line(error)}); start one, or give "
            "another address"
        ) from error
    return client, collection


def _schema(info: IndexInfo) -> pymilvus.CollectionSchema:
    """Gives the fields of a collection; the index itself is described in JSON."""
    kind = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=info.to_json()
    )
    schema.add_field(
        _ID, kind.VARCHAR, is_primary=True, max_length=_LONGEST_TEXT + _LONGEST_NUMBERS
    )
    schema.add_field(_FOCUS, kind.INT16)
    schema.add_field(_PART, kind.INT16)
    for field in RECORD:
        if pa.types.is_string(field.type):
            schema.add_field(field.name, kind.VARCHAR, max_length=_LONGEST_TEXT)
        else:
            number = kind.INT64 if pa.types.is_integer(field.type) else kind.DOUBLE
            schema.add_field(field.name, number)
    schema.add_field(_CODE, kind.BINARY_VECTOR, dim=info.bits)
    return schema


def _id(name: Name, focus: int) -> str:
    """Names a row: MATCH/CLIP/FOCUS."""
    return f"{name[0]}/{name[1]}/{focus}"


def _one_of_ids(ids: Sequence[str]) -> str:
    return f"{_ID} in [{', '.join(map(quoted, ids))}]"


def _parsed(id: str) -> tuple[str, int, int]:
    """Gives match, clip and focus of a row."""
    match, clip, focus = id.rsplit("/", 2)
    return match, int(clip), int(focus)


def _name(id: str) -> Name:
    return _parsed(id)[:2]


def _names_of(clips: pa.Table) -> list[Name]:
    return list(zip(clips["match"].to_pylist(), clips["clip"].to_pylist()))


def _part(name: Name) -> int:
    """Gives the part of a clip, the same on every machine."""
    return zlib.crc32(_id(name, 0).encode()) % _PARTS


def _written_value(field: pa.Field, value):
    """Gives what is stored for a value of the record."""
    return null_of(field) if value is None or value != value else value


def _read_value(field: pa.Field, value):
    """Gives the value of the record that was stored."""
    return None if field.nullable and value == null_of(field) else value


def _sizes(first: int) -> Iterator[int]:
    """Gives how many clips are asked for in turn, as long as they are too few."""
    while first < _LIMIT:
        yield first
        first *= 4
    parts = 1
    while parts <= _PARTS:
        yield parts * _LIMIT
        parts *= 4


def _merged(answers: Sequence, limit: int) -> _Nearest:
    """Joins what was found for one code in every part."""
    distances = {_name(hit["id"]): round(hit["distance"]) for hits in answers for hit in hits}
    # What Milvus left out may be as far as the last that it gave.
    others = [round(hits[-1]["distance"]) for hits in answers if len(hits) == limit]
    return _Nearest(distances, min(others, default=math.inf))


def _no_versions(uri: str) -> UserError:
    return UserError(f"{uri}: Milvus keeps no versions; search and write what is there now")


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:300]


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turns what the client raises into a `UserError` of one line."""
    try:
        yield
    except pymilvus.MilvusException as error:
        raise UserError(
            f"{uri} cannot be read or written as an index: {_one_line(error)}"
        ) from error
