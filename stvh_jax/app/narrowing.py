"""Which hits are wanted: fields of the record with their values, counted, and as a condition.

What a page sends are names of fields and values that the index has; the condition is written here,
and never comes from the page.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32, Int64

from stvh_jax.app.kept import Latest
from stvh_jax.app.state import PageState
from stvh_jax.errors import UserError, shown
from stvh_jax.names import natural_key
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.where import quoted

ACTIVITY = "activity"
# The fields of every index by which hits are narrowed; the index's own follow.
_FIELDS = ("match", ACTIVITY, "split")
# Kinds of own columns whose values are numbers, and how each is read from its text.
_NUMBERS = {"integer": int, "number": float}
# So many values of a field are listed at most.
MOST_LISTED = 60
# Conditions whose counts are kept.
_KEPT = 64


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of a field that hits may have.

    Attributes:
      text: as it is shown and sent.
      count: how many clips have it, of those that meet the conditions on the other fields.
      chosen: whether it is among those that hits may have.
    """

    text: str
    count: int
    chosen: bool


@dataclasses.dataclass(frozen=True)
class Field:
    """A field by which hits are narrowed.

    Attributes:
      name: the column, or `activity`, which is the predicted one of a clip that was given none.
      values: those listed, with the chosen ones first where there are more than fit.
      more: how many values are not listed.
    """

    name: str
    values: list[Value]
    more: int

    @property
    def chosen(self) -> list[Value]:
        """The values that hits may have; nothing where all may be."""
        return [value for value in self.values if value.chosen]


@dataclasses.dataclass(frozen=True)
class _Column:
    """The place of each clip's value among the values of a field; -1 where it has none."""

    codes: Int32[np.ndarray, "M"]
    values: list[str]


class Narrowing:
    """The values of an index's clips, at one version of it.

    Attributes:
      fields: the names of the fields.
    """

    def __init__(self, index: Index, table: pa.Table):
        """Counts the values.

        Args:
          index: whose clips these are.
          table: the records of all of them, as `Index.clips` gives them.
        """
        self._columns = {}
        for name in (*_FIELDS, *index.info.columns):
            values = table[name]
            if name == ACTIVITY:
                values = pc.call_function("coalesce", [values, table["predicted"]])
            column = _column(values, _NUMBERS.get(index.info.columns.get(name, ""), natural_key))
            if column.values:
                self._columns[name] = column
        self.fields = tuple(self._columns)
        self._starts = table["start"].to_numpy()
        self._kinds = index.info.columns
        self._counted = Latest(_KEPT)

    def listed(self, state: PageState) -> list[Field]:
        """Gives each field with its values, counted under the conditions on the others."""
        # Counting takes as long as a search: once, not at each step of a slider.
        key = (state.only, state.start, state.stop)
        return self._counted.get(key, lambda: list(self._count(state)))

    def _count(self, state: PageState) -> Iterator[Field]:
        met = {name: self._met(name, state) for name, _ in state.only}
        times = self._in_time(state)
        for name, column in self._columns.items():
            codes, others = column.codes, [own for other, own in met.items() if other != name]
            mask = _all([*others, times])
            if mask is not None:
                codes = codes[mask]
            counts = np.bincount(codes[codes >= 0], minlength=len(column.values))
            yield _field(name, column.values, counts, state.values_of(name))

    def values(self, field: str) -> list[str]:
        """Gives all values of a field, in their natural order."""
        return self._columns[field].values if field in self._columns else []

    def rows(self, state: PageState) -> Int64[np.ndarray, "m"]:
        """Gives the places of the clips that meet the conditions."""
        masks = [self._met(name, state) for name, _ in state.only]
        mask = _all([*masks, self._in_time(state)])
        return np.arange(len(self._starts)) if mask is None else np.flatnonzero(mask)

    def where(self, state: PageState) -> str | None:
        """Writes the condition that hits have to meet; None where there is none.

        Raises:
          UserError: there is no such field.
        """
        parts = []
        for name, values in state.only:
            if name not in self._columns:
                raise UserError(
                    f"this index has no field {shown(name)}; choose {', '.join(self.fields)}"
                )
            parts.append(self._condition(name, values))
        if state.start is not None:
            parts.append(f"start >= {state.start}")
        if state.stop is not None:
            parts.append(f"start < {state.stop}")
        return " AND ".join(parts) or None

    def _condition(self, name: str, values: tuple[str, ...]) -> str:
        kind = self._kinds.get(name)
        if kind == "bool":
            is_true = [f"{name} IS {'TRUE' if value == 'true' else 'FALSE'}" for value in values]
            return f"({' OR '.join(is_true)})"
        if kind in _NUMBERS:
            return f"{name} IN ({', '.join(self._numbers(name, values))})"
        texts = ", ".join(map(quoted, values))
        if name == ACTIVITY:
            return f"(activity IN ({texts}) OR (activity IS NULL AND predicted IN ({texts})))"
        return f"{name} IN ({texts})"

    def _numbers(self, name: str, values: tuple[str, ...]) -> list[str]:
        """Writes values of a field of numbers as SQL has them.

        Raises:
          UserError: no clip has such a value.
        """
        for text in values:
            if text not in self._columns[name].values:
                raise UserError(f"no clip has {name} {shown(text)}; choose a value of the list")
        return [repr(_NUMBERS[self._kinds[name]](text)) for text in values]

    def _met(self, name: str, state: PageState) -> Bool[np.ndarray, "M"] | None:
        column = self._columns.get(name)
        if column is None:
            return None
        chosen = np.isin(np.array(column.values), state.values_of(name))
        return np.append(chosen, False)[column.codes]  # -1 is the last: no value

    def _in_time(self, state: PageState) -> Bool[np.ndarray, "M"] | None:
        if (state.start, state.stop) == (None, None):
            return None
        start = -np.inf if state.start is None else state.start
        stop = np.inf if state.stop is None else state.stop
        return (self._starts >= start) & (self._starts < stop)


def _column(values: pa.ChunkedArray, key: Callable[[str], Any]) -> _Column:
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    coded = values.combine_chunks().dictionary_encode()
    names = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: key(names[place]))
    ranks = np.empty(len(names) + 1, np.int32)
    ranks[order] = np.arange(len(names))
    ranks[-1] = -1
    codes = ranks[pc.fill_null(coded.indices, len(names)).to_numpy()]
    return _Column(codes, [names[place] for place in order])


def _all(masks: list) -> Bool[np.ndarray, "M"] | None:
    known = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(known) if known else None


def _field(name: str, names: list[str], counts: np.ndarray, chosen: tuple[str, ...]) -> Field:
    values = [Value(text, count, text in chosen) for text, count in zip(names, counts.tolist())]
    listed = values
    if len(values) > MOST_LISTED:
        own = [value for value in values if value.chosen]
        others = [value for value in values if not value.chosen and value.count]
        listed = [*own, *others[: max(0, MOST_LISTED - len(own))]]
    return Field(name, listed, len(values) - len(listed))
