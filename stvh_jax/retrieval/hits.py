"""The clips that a search found, why they were found, and how they are written to files."""

import csv
import dataclasses
import functools
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import Int64, UInt8

from stvh_jax import files
from stvh_jax.codes.nearest import Neighbours
from stvh_jax.errors import UserError
from stvh_jax.retrieval.clip_table import codes_of_table
from stvh_jax.retrieval.engine import Snapshot
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.record import RECORD


@dataclasses.dataclass(frozen=True)
class Hit:
    """A clip that was found, and why.

    Attributes:
      distance: from the query at the focus searched, in bits; the mean over several queries.
      match: the source video.
      clip: the clip's name within it.
      record: what else is known of the clip: start, stop, activity, predicted, confidence, split,
        media.
      distances: the same distance at every focus.
      agreeing_bits: the bits in which the clip's code agrees with that of the query, or of every
        query, at the focus searched; of a blend, at the focus that weighs more; of an index with
        bit weights, in all bits of its one code, whatever they weigh.
    """

    distance: float
    match: str
    clip: str
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
      distances: from the query at the focus searched, in bits.
      ties_at_k: how many clips, among the hits or not, are as far away as the last hit. If there
        are more than hits at this distance, the others were cut off by their names alone.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        info: IndexInfo,
        neighbours: Neighbours,
        queries: Mapping[int, UInt8[np.ndarray, "Q bytes"]],
        *,
        focus: int,
        unit: int,
    ):
        """Wraps the rows found in a snapshot.

        Args:
          snapshot: where their records are.
          info: what the index is.
          neighbours: rows and distances.
          queries: the stored codes of the queries.
          focus: the focus at which bits are compared.
          unit: how many units of the distances make one bit.
        """
        self._snapshot, self._info, self._rows = snapshot, info, neighbours.rows
        self._queries, self._focus = queries, focus
        self.distances = neighbours.distances / unit
        self.ties_at_k = neighbours.ties

    def __len__(self) -> int:
        """Counts the hits."""
        return len(self.distances)

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...
    def __getitem__(self, place):
        """Gives a hit, or several as a list."""
        return self._hits[place]

    def __iter__(self) -> Iterator[Hit]:
        """Gives the hits, nearest first."""
        return iter(self._hits)

    @functools.cached_property
    def _hits(self) -> list[Hit]:
        info = self._info
        stored, records = codes_and_records(self._snapshot, info, self._rows)
        distances = info.mean_distances(self._queries, stored)
        clips, queries = (info.codes_of(self._focus, codes) for codes in (stored, self._queries))
        different = np.bitwise_or.reduce(clips[:, None] ^ queries, axis=1)
        agreeing = np.unpackbits(~different, axis=1)
        hits = []
        for place, record in enumerate(records):
            hits.append(
                Hit(
                    distance=float(self.distances[place]),
                    match=record.pop("match"),
                    clip=record.pop("clip"),
                    record=record,
                    distances={focus: float(values[place]) for focus, values in distances.items()},
                    agreeing_bits=np.flatnonzero(agreeing[place]).tolist(),
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


def codes_and_records(
    snapshot: Snapshot, info: IndexInfo, rows: Int64[np.ndarray, "k"]
) -> tuple[dict[int, UInt8[np.ndarray, "k bytes"]], list[dict[str, Any]]]:
    """Gives the stored codes and the records of rows of a snapshot."""
    table = snapshot.records(rows)
    return codes_of_table(info, table), table.select(RECORD.names).to_pylist()


def check_output(path: epath.PathLike, endings: Collection[str]) -> epath.Path:
    """Checks the name of a file to write, before anything is computed for it.

    Raises:
      UserError: it has none of these endings, or its folder is not there.
    """
    path = files.output(path)
    if path.suffix not in endings:
        raise UserError(f"{path} cannot be written; its name must end in {', '.join(endings)}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    return path


def _to_csv(rows: list[dict], info: IndexInfo) -> bytes:
    text = io.StringIO()
    foci = [f"distance_{focus}" for focus in info.foci]
    columns = ["rank", "distance", *RECORD.names, *foci, "agreeing_bits"]
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in rows:
        distances = {f"distance_{focus}": value for focus, value in row.pop("distances").items()}
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
