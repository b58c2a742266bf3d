"""The clips that a search found, why they were found, and how they are written to files."""

import csv
import dataclasses
import functools
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
from etils import epath
from jaxtyping import Bool, Int64, UInt8

from stvh_jax import files
from stvh_jax.codes.nearest import Neighbours
from stvh_jax.errors import UserError
from stvh_jax.names import printable
from stvh_jax.retrieval.clip_table import codes_of_table
from stvh_jax.retrieval.comparison import Comparison
from stvh_jax.retrieval.engine import Snapshot
from stvh_jax.retrieval.index_info import IndexInfo

if TYPE_CHECKING:
    import pandas

# The hits that a list of them shows of itself.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class _Compared:
    """How the clips that were found compare with what was searched for; worked out when asked."""

    comparison: Comparison
    stored: dict[int, UInt8[np.ndarray, "k bytes"]]

    @functools.cached_property
    def distances(self) -> dict[int, list[float]]:
        """The distance of each at every focus."""
        found = self.comparison.distances(self.stored)
        return {focus: values.tolist() for focus, values in found.items()}

    @functools.cached_property
    def agreeing(self) -> Bool[np.ndarray, "k K"]:
        """The bits in which each agrees."""
        return self.comparison.agreeing(self.stored)


@dataclasses.dataclass(frozen=True)
class Hit:
    """A clip that was found, and why.

    Attributes:
      distance: from the query at the focus searched, in bits; the mean over several queries.
      match: the source video.
      clip: the clip's name within it.
      record: what else is known of the clip: start, stop, activity, predicted, confidence, split,
        media, and the index's own columns.
      distances: the same distance at every focus; those at which a linear query says nothing are
        left out.
      agreeing_bits: the bits in which the clip's code agrees with that of the query, or of every
        query, at the focus searched; of a blend, at the focus that weighs more; of an index with
        bit weights, in all bits of its one code, whatever they weigh; of a linear query, those that
        it weighs and that are on its side.
    """

    distance: float
    match: str
    clip: str
    record: dict[str, Any]
    _compared: _Compared
    _place: int

    @functools.cached_property
    def distances(self) -> dict[int, float]:
        """See above."""
        values = self._compared.distances
        return {focus: of_clips[self._place] for focus, of_clips in values.items()}

    @functools.cached_property
    def agreeing_bits(self) -> list[int]:
        """See above."""
        return np.flatnonzero(self._compared.agreeing[self._place]).tolist()

    def __repr__(self) -> str:
        return f"Hit({self.match}/{self.clip}, {self.distance:.4g} bits away)"

    @property
    def start(self) -> float | None:
        """When the clip starts, in seconds from the beginning of its video; None if unknown."""
        return self.record["start"]

    @property
    def stop(self) -> float | None:
        """When it stops, likewise."""
        return self.record["stop"]

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
        comparison: Comparison,
        *,
        unit: int | float,
    ):
        """Wraps the rows found in a snapshot.

        Args:
          snapshot: where their records are.
          info: what the index is.
          neighbours: rows and distances.
          comparison: says why they were found.
          unit: how many units of the distances make one bit.
        """
        self._snapshot, self._info, self._rows = snapshot, info, neighbours.rows
        self._comparison = comparison
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

    def __repr__(self) -> str:
        lines = [f"{len(self)} hit{'' if len(self) == 1 else 's'}"]
        try:
            _, records = codes_and_records(self._snapshot, self._info, self._rows[:_SHOWN])
        except UserError as error:  # a store that is gone
            return f"{lines[0]}\n  {error}"
        for distance, record in zip(self.distances, records):
            clip = f"{record['match']}/{record['clip']}"
            activity = record["activity"] or record["predicted"] or ""
            lines.append(printable(f"  {distance:8.4g} bits  {clip}  {activity}".rstrip()))
        return "\n".join([*lines, *(["  ..."] if len(self) > len(records) else [])])

    @functools.cached_property
    def _hits(self) -> list[Hit]:
        stored, records = codes_and_records(self._snapshot, self._info, self._rows)
        compared = _Compared(self._comparison, stored)
        return [
            Hit(distance, record.pop("match"), record.pop("clip"), record, compared, place)
            for place, (distance, record) in enumerate(zip(self.distances.tolist(), records))
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """Gives the hits as a table of pandas, nearest first.

        Returns:
          A row for each hit: `rank`, from 1, `distance`, the record with the index's own columns,
          `distance_0`, ..., at every focus, and the list `agreeing_bits`.

        Raises:
          UserError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise UserError(
                "a table of pandas needs pandas, which is not installed; pip install pandas"
            ) from error
        rows = [_flat(row) for row in _ranked(hit.to_dict() for hit in self)]
        return pandas.DataFrame(rows, columns=pandas.Index(_flat_columns(self._info)))

    def export(self, path: epath.PathLike) -> None:
        """Writes the hits as a table: `.csv`, `.json` or `.parquet`, by the file's ending.

        Raises:
          UserError: the ending is another, or the file cannot be written.
        """
        path = check_output(path, EXPORTS)
        with files.writing(path):
            rows = (hit.to_dict() for hit in self)
            files.write(path, exported(rows, self._info, path.suffix))


def exported(rows: Iterable[dict[str, Any]], info: IndexInfo, ending: str) -> bytes:
    """Writes hits as a table, ranked from 1.

    Args:
      rows: `Hit.to_dict` of each.
      info: what their index is.
      ending: of the file, one of `EXPORTS`.
    """
    return EXPORTS[ending](_ranked(rows), info)


def _ranked(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]


def codes_and_records(
    snapshot: Snapshot, info: IndexInfo, rows: Int64[np.ndarray, "k"]
) -> tuple[dict[int, UInt8[np.ndarray, "k bytes"]], list[dict[str, Any]]]:
    """Gives the stored codes and the records of rows of a snapshot."""
    table = snapshot.records(rows)
    return codes_of_table(info, table), table.select(info.fields.names).to_pylist()


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


def _flat_columns(info: IndexInfo) -> list[str]:
    """Names the columns of a table of hits, the distances at every focus side by side."""
    foci = [f"distance_{focus}" for focus in info.foci]
    return ["rank", "distance", *info.fields.names, *foci, "agreeing_bits"]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Gives a row of such a table."""
    distances = {f"distance_{focus}": value for focus, value in row["distances"].items()}
    return {name: value for name, value in row.items() if name != "distances"} | distances


def _to_csv(rows: list[dict], info: IndexInfo) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, _flat_columns(info))
    writer.writeheader()
    for row in rows:
        bits = " ".join(map(str, row["agreeing_bits"]))
        writer.writerow(_flat(row) | {"agreeing_bits": bits})
    return text.getvalue().encode()


def _to_json(rows: list[dict], info: IndexInfo) -> bytes:
    return (json.dumps(rows, indent=2) + "\n").encode()


def _to_parquet(rows: list[dict], info: IndexInfo) -> bytes:
    import pyarrow.parquet as pq  # slow to import, and most searches write no such file

    distances = [(str(focus), pa.float64()) for focus in info.foci]
    schema = pa.schema(
        [
            ("rank", pa.int64()),
            ("distance", pa.float64()),
            *info.fields,
            ("distances", pa.struct(distances)),
            ("agreeing_bits", pa.list_(pa.int64())),
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


# How hits are written, by the ending of the file.
EXPORTS = {".csv": _to_csv, ".json": _to_json, ".parquet": _to_parquet}

# Endings of the files of a grid of their pictures (`hit_pictures`).
GRIDS = (".png", ".svg")
