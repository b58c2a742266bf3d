"""An index of clips, searched by their codes at any focus: `stvh_jax.Index.open(uri)`.

Hits are in the order of (distance, match, clip), whatever the engine behind: LanceDB and FAISS for
a folder or a bucket, a Milvus server for a URI that begins with http.
"""

import csv
import dataclasses
import functools
import io
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import UInt8
from numpy.typing import ArrayLike

from stvh_jax import files
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.nearest import Neighbours
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.errors import UserError
from stvh_jax.retrieval.record import (
    RECORD,
    IndexInfo,
    Surroundings,
    agreeing_bits,
    check_filter,
    code_column,
    codes_of_column,
    to_table,
)

Number = SupportsFloat


NUMBERS = (int, float, np.integer, np.floating)


Codes = UInt8[np.ndarray, "..."] | Mapping[int, UInt8[np.ndarray, "..."]]


@dataclasses.dataclass(frozen=True)
class Hit:
    """A clip that was found, and why.

    Attributes:
      distance: from the query at the focus searched, in bits; the mean over several queries.
      match: the source video.
      clip: the clip's number within it.
      record: what else is known of the clip: start, stop, activity, predicted, confidence, split,
        media.
      distances: the same distance at every focus.
      agreeing_bits: the bits in which the clip's code agrees with that of the query, or of every
        query, at the focus searched; of a blend, at the focus that weighs more.
    """

    distance: float
    match: str
    clip: int
    record: dict[str, Any]
    distances: dict[int, float]
    agreeing_bits: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Gives everything in plain values, for JSON."""
        return {
            "distance": self.distance,
            "match": self.match,
            "clip": self.clip,
            **self.record,
            "distances": {str(focus): value for focus, value in self.distances.items()},
            "agreeing_bits": self.agreeing_bits,
        }


class Hits(Sequence[Hit]):
    """The clips found for a query, nearest first; their records are read when first asked for.

    Attributes:
      distances: from the query at the focus searched.
      ties_at_k: how many clips, among the hits or not, are as far as the last hit: if that is
        more than the hits at this distance, others would have done as well.
    """

    def __init__(
        self,
        snapshot,
        info: IndexInfo,
        found: Neighbours,
        queries: Mapping,
        *,
        focus: int,
        unit: int,
    ):
        """Wraps what was found in a snapshot, with distances in `unit` parts of a bit."""
        self._snapshot, self._info, self._found = snapshot, info, found
        self._queries, self._focus = queries, focus
        self.distances = found.distances / unit
        self.ties_at_k = found.ties

    def __len__(self) -> int:
        """Counts the hits."""
        return len(self.distances)

    def __getitem__(self, place):
        """Gives a hit, or several as a list."""
        return self._hits[place]

    def __iter__(self) -> Iterator[Hit]:
        """Gives the hits, nearest first."""
        return iter(self._hits)

    @functools.cached_property
    def _hits(self) -> list[Hit]:
        info = self._info
        stored, records = _codes_and_records(self._snapshot, info, self._found.rows)
        found, asked = info.all_codes(stored), info.all_codes(self._queries)
        distances = {
            focus: hamming_distances(asked[focus], found[focus]).mean(axis=0) for focus in info.foci
        }
        hits = []
        for place, record in enumerate(records):
            agreeing = [
                set(agreeing_bits(query, found[self._focus][place])) for query in asked[self._focus]
            ]
            hits.append(
                Hit(
                    distance=float(self.distances[place]),
                    match=record.pop("match"),
                    clip=record.pop("clip"),
                    record=record,
                    distances={focus: float(values[place]) for focus, values in distances.items()},
                    agreeing_bits=sorted(set.intersection(*agreeing)),
                )
            )
        return hits

    def export(self, path: epath.PathLike) -> None:
        """Writes the hits as a table: `.csv`, `.json` or `.parquet`, by the file's ending.

        Raises:
          UserError: the ending is another, or the file cannot be written.
        """
        path = check_output(path, EXPORTS)
        rows = [{"rank": rank, **hit.to_dict()} for rank, hit in enumerate(self, start=1)]
        with files.writing(path):
            files.write(path, EXPORTS[path.suffix](rows, self._info))


class Index:
    """Clips that can be searched.

    Attributes:
      info: the codes stored, the filter matrix, where the clips came from.
      engine: where they are.
    """

    def __init__(self, engine):
        """Wraps an engine; use `Index.open` or `Index.create`."""
        self.engine, self.info = engine, engine.info

    @classmethod
    def create(
        cls,
        uri: epath.PathLike,
        *,
        bits: int,
        stored_foci: Sequence[int],
        filter_matrix: FilterMatrix | None = None,
        origin: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> "Index":
        """Makes an empty index.

        Args:
          uri: a folder, a bucket's URI (`s3://...`), or a Milvus server's
            (`http://HOST:PORT/COLLECTION`).
          bits: K.
          stored_foci: the foci whose own codes are stored, in order; the last of all among them.
          filter_matrix: derives the other foci; None if there are none.
          origin: the run and the data that the codes come from; plain values.
          storage_options: credentials and the like, for a bucket.

        Raises:
          UserError: there is an index already, or the parts do not fit.
        """
        info = IndexInfo(
            bits=bits,
            stored_foci=tuple(stored_foci),
            filter_matrix=filter_matrix,
            name=uuid.uuid4().hex,
            origin=dict(origin or {}),
        )
        return cls(_engine(uri).create(str(uri), info, storage_options=storage_options))

    @classmethod
    def open(
        cls,
        uri: epath.PathLike,
        *,
        version: int | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> "Index":
        """Opens an index, as it is now or was at a version.

        Raises:
          UserError: there is none, or it cannot be read.
        """
        if version is not None and version < 1:
            raise UserError(f"version {version}; they count from 1")
        return cls(_engine(uri).open(str(uri), version=version, storage_options=storage_options))

    @classmethod
    def exists(
        cls, uri: epath.PathLike, *, storage_options: Mapping[str, str] | None = None
    ) -> bool:
        """Says whether there is an index at a URI."""
        return _engine(uri).exists(str(uri), storage_options=storage_options)

    def __len__(self) -> int:
        """Counts the clips."""
        return self.engine.count()

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that can be searched."""
        return self.info.foci

    @property
    def version(self) -> int | None:
        """The version searched; every write makes a new one. None on Milvus, which keeps none."""
        return self.engine.version

    def versions(self) -> list[dict[str, Any]]:
        """Lists the versions: number, time, clips."""
        return self.engine.versions()

    def restore(self, version: int) -> None:
        """Makes an older version the newest again.

        Raises:
          UserError: there is no such version.
        """
        if version < 1:
            raise UserError(f"version {version}; they count from 1")
        self.engine.restore(version)

    def refresh(self) -> None:
        """Goes on to the newest version, which another process may have written."""
        self.engine.refresh()

    def compact(self) -> None:
        """Joins the files of many small writes."""
        self.engine.compact()

    def count(self, filter: str | None = None) -> int:
        """Counts the clips that a filter lets through.

        Raises:
          UserError: the filter cannot be read.
        """
        check_filter(filter)
        return self.engine.count(filter)

    def add(self, codes: Codes, **record: ArrayLike) -> None:
        """Adds clips; when it returns they are kept, and either all of them or none.

        Args:
          codes: packed codes, `[M, bytes]`, by focus (`Encoding.codes`); an array if only the
            last focus is stored.
          **record: `match=` and `clip=`, which name the clips; `start=`, `stop=` in seconds,
            `activity=`, `predicted=`, `confidence=`, `split=`, `media=` as far as known.

        Raises:
          UserError: the codes or the record do not fit, or a clip is in the index already.
        """
        self.engine.add(to_table(self.info, codes, record))

    def upsert(self, codes: Codes, **record: ArrayLike) -> None:
        """Adds clips as `add` does, in place of those of the same match and clip."""
        self.engine.upsert(to_table(self.info, codes, record))

    def delete(self, filter: str) -> int:
        """Deletes the clips that a filter lets through, and counts them.

        Raises:
          UserError: the filter cannot be read.
        """
        check_filter(filter)
        return self.engine.delete(filter)

    def search(
        self,
        codes: Codes,
        *,
        focus: str | Number = "activity",
        k: SupportsIndex | None = 10,
        radius: Number | None = None,
        filter: str | None = None,
        without: Sequence[Surroundings] = (),
        together: bool = False,
    ) -> list[Hits]:
        """Finds the clips nearest to each query.

        Args:
          codes: packed codes of Q queries, as for `add`; of one also without the first axis.
          focus: `activity`, `visual`, a number, or one between two neighbours: 2.3 is the sum of
            0.7 times the distance at focus 2 and 0.3 times that at focus 3.
          k: how many; None, with a radius, for all within it.
          radius: the largest distance in bits, itself included; None for any.
          filter: a condition on the record in SQL: `match = '13' AND start >= 60`.
          without: clips left out.
          together: the queries are one: the mean of their distances counts.

        Returns:
          The hits of each query; of all of them in one list, together.

        Raises:
          UserError: the codes do not fit, there is no such focus, k or the radius make no sense,
            or the filter cannot be read.
        """
        _check_limits(k, radius, self.info.bits)
        check_filter(filter)
        weights = self.info.weights(focus)
        stored = self.info.stored_codes(codes, what="the query")
        queries = {each: self.info.codes_of(each, stored) for each in weights}
        count = len(stored[self.info.stored_foci[-1]])
        if not count:
            raise UserError("no code to search for; give those of at least one clip")
        if len(weights) == 1:
            weights = dict.fromkeys(weights, 1)
        unit = sum(weights.values()) * (count if together else 1)
        snapshot = self.engine.snapshot()
        found = snapshot.search(
            queries,
            weights,
            k=k,
            radius=None if radius is None else int(np.floor(radius * unit + 1e-9)),
            where=filter,
            without=without,
            together=together,
        )
        nearer = max(weights, key=weights.__getitem__)
        groups = [slice(None)] if together else [slice(i, i + 1) for i in range(count)]
        return [
            Hits(
                snapshot,
                self.info,
                one,
                {each: values[group] for each, values in stored.items()},
                focus=nearer,
                unit=unit,
            )
            for one, group in zip(found, groups)
        ]

    def holds(self, clips: Sequence[tuple[str, int]]) -> list[bool]:
        """Says of each of some clips, by (match, clip), whether it is in the index."""
        return [row is not None for row in self.engine.snapshot().find(clips)]

    def get(
        self, clips: Sequence[tuple[str, int]]
    ) -> tuple[dict[int, UInt8[np.ndarray, "Q bytes"]], list[dict[str, Any]]]:
        """Gives the stored codes and the records of some clips.

        Args:
          clips: (match, clip) of each.

        Raises:
          UserError: a clip is not in the index.
        """
        snapshot = self.engine.snapshot()
        rows = snapshot.find(clips)
        if None in rows:
            match, clip = clips[rows.index(None)]
            raise UserError(f"clip {match}/{clip} is not in the index")
        return _codes_and_records(snapshot, self.info, np.array(rows, np.int64))


def _codes_and_records(snapshot, info: IndexInfo, rows):
    """Gives the stored codes and the records of rows of a snapshot."""
    table = snapshot.records(rows)
    codes = {
        focus: codes_of_column(table[code_column(focus)], info.bits) for focus in info.stored_foci
    }
    return codes, table.select(RECORD.names).to_pylist()


def _check_limits(k, radius, bits: int) -> None:
    """Checks how much is asked for.

    Raises:
      UserError: nothing, or no such number.
    """
    if k is None and radius is None:
        raise UserError("give k, how many clips to find, or a radius")
    if k is not None and (not isinstance(k, (int, np.integer)) or k < 1):
        raise UserError(f"k = {k}; give a whole number of clips, one at least")
    if radius is not None and not (isinstance(radius, NUMBERS) and 0 <= radius <= bits):
        raise UserError(f"radius = {radius}; give 0 to {bits} bits")


def around(
    match: str,
    clip: SupportsIndex | None,
    start: Number | None,
    stop: Number | None,
    *,
    exclude_near: Number | None = None,
    exclude_match: bool = False,
) -> list[Surroundings]:
    """Names what a search leaves out around a query: itself, its time, or its match.

    Args:
      match: the query's match.
      clip: its number, None if it is not in the index.
      start: where it begins, in seconds.
      stop: where it ends.
      exclude_near: leave out what is less than these seconds from it.
      exclude_match: leave out the whole match.

    Raises:
      UserError: what is near is not known, as the query has no time.
    """
    if exclude_match:
        return [Surroundings(match)]
    itself = [] if clip is None else [Surroundings(match, clip=clip)]
    if exclude_near is None:
        return itself
    if not exclude_near >= 0:
        raise UserError(f"{exclude_near} seconds around the query; give 0 or more")
    if start is None or stop is None:
        raise UserError(
            f"clip {match}/{clip} has no time in the index, so that none is known to be near; "
            "index the clips with their start and stop"
        )
    return [*itself, Surroundings(match, seconds=(start - exclude_near, stop + exclude_near))]


def check_output(path: epath.PathLike, endings: Collection[str]) -> epath.Path:
    """Checks the name of a file to write, before there is anything to lose.

    Raises:
      UserError: it has none of these endings, or its folder is not there.
    """
    path = epath.Path(path)
    if path.suffix not in endings:
        raise UserError(f"{path} is to be written as {', '.join(endings)}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    return path


def _engine(uri: epath.PathLike):
    """Chooses the engine by the URI; each imports what it needs."""
    if not str(uri):
        raise UserError("an index has no empty name; give a folder, s3://... or http://...")
    try:
        if str(uri).startswith(("http://", "https://")):
            from stvh_jax.retrieval.milvus.engine import MilvusEngine

            return MilvusEngine
        from stvh_jax.retrieval.lance.engine import LanceEngine
    except ModuleNotFoundError as error:
        extra = "milvus" if error.name == "pymilvus" else "search"
        raise UserError(
            f"an index needs {error.name}, which is not installed; pip install 'stvh_jax[{extra}]'"
        ) from error
    return LanceEngine


def _to_csv(rows: list[dict], info: IndexInfo) -> bytes:
    text = io.StringIO()
    foci = [f"distance_{focus}" for focus in info.foci]
    names = ["rank", "distance", *RECORD.names, *foci, "agreeing_bits"]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for row in rows:
        distances = {f"distance_{focus}": v for focus, v in row.pop("distances").items()}
        bits = " ".join(map(str, row.pop("agreeing_bits")))
        writer.writerow({**row, **distances, "agreeing_bits": bits})
    return text.getvalue().encode()


def _to_json(rows: list[dict], info: IndexInfo) -> bytes:
    return (json.dumps(rows, indent=2) + "\n").encode()


def _to_parquet(rows: list[dict], info: IndexInfo) -> bytes:
    distances = [(str(focus), pa.float64()) for focus in info.foci]
    schema = pa.schema(
        [
            ("rank", pa.int64()),
            ("distance", pa.float64()),
            *RECORD,
            ("distances", pa.struct(distances)),
            ("agreeing_bits", pa.list_(pa.int64())),
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


# How hits are written, by the ending of the file.
EXPORTS = {".csv": _to_csv, ".json": _to_json, ".parquet": _to_parquet}
