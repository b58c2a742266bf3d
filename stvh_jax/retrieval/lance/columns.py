"""Columns of a store's records in memory: numbers side by side, everything else by its code.

A column of either kind has a place for each row of a snapshot. Rows that are added to a store go
into new columns, so that a snapshot that is still in use keeps its own.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64, Shaped, UInt


class OnDisk(Exception):
    """What cannot be kept in memory: it is too large, or is not as an index is written."""


# The most distinct values that those of new rows are looked for among: where there are more, most
# rows have one of their own, and looking takes longer than reading.
_FEW = 1 << 12

# So many codes at most are compared with one by one, each at a byte a row at the speed of memory.
_ONE_BY_ONE = 4


@dataclasses.dataclass(frozen=True)
class Insertion:
    """Where new rows go.

    Attributes:
      at: before which of the old rows each goes, ascending.
      order: the places of the new rows, as they were given, in this order.
    """

    at: Int64[np.ndarray, "m"]
    order: Int64[np.ndarray, "m"]

    @property
    def places(self) -> Int64[np.ndarray, "m"]:
        """The places of the new rows among all, in their order."""
        return self.at + np.arange(len(self.at))

    @property
    def runs(self) -> int:
        """How many pieces the new rows come in."""
        return len(np.unique(self.at))

    def into(self, old: Shaped[np.ndarray, "M *rest"], new: Shaped[np.ndarray, "m *rest"]):
        """Puts values of the new rows, in their order, between those of the old ones."""
        whole = np.empty((len(old) + len(new), *old.shape[1:]), old.dtype)
        # A piece at a time: to pick rows by their numbers takes several times as long.
        edges = [0, *np.unique(self.at).tolist(), len(old)]
        for start, stop in zip(edges[:-1], edges[1:]):
            before = int(np.searchsorted(self.at, start, "right"))
            whole[start + before : stop + before] = old[start:stop]
        whole[self.places] = new
        return whole


@dataclasses.dataclass(frozen=True)
class Floats:
    """A column of fractions: NaN where nothing is known."""

    values: Float64[np.ndarray, "M"]

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.values.nbytes

    def taken(self, rows: Int64[np.ndarray, "k"]) -> pa.Array:
        """Gives the values of some rows."""
        return pa.array(self.values[rows], from_pandas=True)

    def with_rows(self, insertion: Insertion, column: pa.ChunkedArray) -> "Floats":
        """Adds new rows, given in any order; raises `OnDisk` as `column_of` does."""
        return Floats(insertion.into(self.values, _floats(column)[insertion.order]))


@dataclasses.dataclass(frozen=True)
class Coded:
    """A column of texts, of truths or of whole numbers.

    Attributes:
      codes: of each row, the place of its value.
      values: null at first, then the others, each once where they are few.
    """

    codes: UInt[np.ndarray, "M"]
    values: pa.Array

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.codes.nbytes + self.values.nbytes

    def taken(self, rows: Int64[np.ndarray, "k"] | slice) -> pa.Array:
        """Gives the values of some rows."""
        return self.values.take(pa.array(self.codes[rows].astype(np.int64)))

    def test(self, holds: pa.BooleanArray) -> Callable[[slice], Bool[np.ndarray, "m"]]:
        """Makes what says which of some rows have a value for which something holds.

        Args:
          holds: of each value whether it does; null where it is not known, and so surely not.
        """
        table = _call("coalesce", holds, pa.scalar(False)).to_numpy(zero_copy_only=False)
        for truth in (True, False):
            # The values of which it holds, or all but those of which it does not.
            few = np.flatnonzero(table == truth)
            if len(few) <= _ONE_BY_ONE:
                return functools.partial(self._has_one_of, few.astype(self.codes.dtype), truth)
        return lambda rows: np.take(table, self.codes[rows])

    def _has_one_of(
        self, few: UInt[np.ndarray, "few"], truth: bool, rows: slice
    ) -> Bool[np.ndarray, "m"]:
        codes = self.codes[rows]
        found = codes == few[0] if len(few) else np.zeros(len(codes), bool)
        for code in few[1:]:
            found |= codes == code
        return found if truth else np.logical_not(found, out=found)

    def with_rows(self, insertion: Insertion, column: pa.ChunkedArray) -> "Coded":
        """Adds new rows, given in any order."""
        new = column.cast(self.values.type).combine_chunks().take(pa.array(insertion.order))
        values, codes = self.values, None
        if len(values) <= _FEW:
            distinct = new.unique()
            known = _call("is_in", distinct, options=pc.SetLookupOptions(values))
            values = pa.concat_arrays([values, distinct.filter(_call("invert", known))])
            codes = _call("index_in", new, options=pc.SetLookupOptions(values)).to_numpy()
        else:
            codes = np.where(_is_null(new), 0, len(values) + np.arange(len(new)))
            values = pa.concat_arrays([values, new])
        kind = _smallest(len(values))
        old = self.codes.astype(kind, copy=False)
        return Coded(insertion.into(old, codes.astype(kind)), values)


Column = Floats | Coded


def compact(chunk: pa.Array) -> pa.Array:
    """Gives a piece of a column in little space: by codes, where its values repeat."""
    if pa.types.is_float64(chunk.type):
        return chunk
    encoded = chunk.dictionary_encode()
    return encoded if 2 * len(encoded.dictionary) <= len(chunk) else chunk


def column_of(chunks: Sequence[pa.Array], type_: pa.DataType) -> Column:
    """Makes a column of its pieces, each as `compact` gives it.

    Raises:
      OnDisk: a fraction is NaN, which the store keeps apart from null.
    """
    if pa.types.is_float64(type_):
        return Floats(_floats(pa.chunked_array(list(chunks), type_)))
    nothing = pa.nulls(1, type_)
    if chunks and all(pa.types.is_dictionary(chunk.type) for chunk in chunks):
        encoded = pa.chunked_array(list(chunks)).unify_dictionaries()
        values = pa.concat_arrays([nothing, encoded.chunk(0).dictionary])
        indices = pa.chunked_array([chunk.indices for chunk in encoded.chunks])
        codes = _call("coalesce", indices, pa.scalar(-1, pa.int32())).to_numpy() + 1
    else:
        # Of values that are mostly distinct none is looked for.
        plain = [chunk.cast(type_) for chunk in chunks]
        values = pa.concat_arrays([nothing, *plain])
        codes = np.arange(len(values))[1:]
        codes = np.where(_is_null(values)[1:], 0, codes)
    return Coded(codes.astype(_smallest(len(values))), values)


def in_order(column: Column, rows: Int64[np.ndarray, "M"]) -> Column:
    """Puts the values of a column where they belong: each is that of a row."""
    field = "values" if isinstance(column, Floats) else "codes"
    values: Any = getattr(column, field)
    ordered = np.empty_like(values)
    ordered[rows] = values
    return dataclasses.replace(column, **{field: ordered})


def repeated(values: Sequence[str], counts: Int64[np.ndarray, "values"]) -> Coded:
    """Makes a column in which each of some texts stands so many times in a row."""
    codes = np.arange(1, len(values) + 1, dtype=_smallest(len(values) + 1))
    return Coded(np.repeat(codes, counts), pa.array([None, *values], pa.string()))


def _floats(column: pa.ChunkedArray) -> Float64[np.ndarray, "M"]:
    """Gives fractions as an array; NaN for what is not known.

    Raises:
      OnDisk: one of them is NaN itself.
    """
    values = column.to_numpy()
    if int(np.isnan(values).sum()) != column.null_count:
        raise OnDisk
    return values


def _is_null(array: pa.Array) -> Bool[np.ndarray, "M"]:
    return _call("is_null", array).to_numpy(zero_copy_only=False)


def _call(name: str, *arguments: Any, options: Any = None) -> Any:
    return pc.call_function(name, list(arguments), options)


def _smallest(values: int) -> type:
    """Gives the smallest integers that count so many values from 0."""
    return np.uint8 if values <= 1 << 8 else np.uint16 if values <= 1 << 16 else np.uint32
