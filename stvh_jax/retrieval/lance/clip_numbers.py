"""Numbers that stand for the names of a store's clips in memory, in their natural order."""

import bisect
import dataclasses
import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from stvh_jax.names import (
    MOST_DIGITS,
    decimal_numbers,
    natural_key,
    natural_numbers,
)

# How far apart the numbers of names are: names that are added find room between them.
_GAP = 1 << 36

# The most names that are added, or looked up, one by one.
_FEW = 1000


@dataclasses.dataclass(frozen=True)
class ClipNumbers:
    """Numbers of clips, ordered as the clips' names are.

    Snapshots of one store share `by_name`: a name that is added changes no other's number.

    Attributes:
      by_name: the number of each name; None where all names are decimal, so that the number of any
        follows from the name alone.
      in_order: the names in their order; None where they are not sorted yet.
    """

    by_name: dict[str, int] | None
    in_order: list[str] | None = None

    @functools.cached_property
    def ordered(self) -> list[str]:
        """The names in their order."""
        if self.in_order is not None:
            return self.in_order
        by_name = self.by_name or {}
        return sorted(by_name, key=by_name.__getitem__)

    @classmethod
    def read(cls, names: pa.ChunkedArray) -> tuple["ClipNumbers", Int64[np.ndarray, "M"]]:
        """Numbers the names of all clips; gives the number of each, too."""
        if (numbers := _decimal(names)) is not None:
            return cls(None), numbers
        distinct, places = dictionary(names)
        numbers = _GAP * natural_numbers(distinct)
        return cls(dict(zip(distinct, numbers.tolist()))), numbers[places]

    def with_names(
        self, names: pa.ChunkedArray
    ) -> tuple["ClipNumbers", Int64[np.ndarray, "m"]] | None:
        """Numbers the names of further clips, too; None if there is no room for them."""
        if self.by_name is None:
            numbers = _decimal(names)
            return None if numbers is None else (self, numbers)
        texts = names.cast(pa.string()).to_pylist()
        new = {name for name in texts if name not in self.by_name}
        # If it has other names, they were added to what came after these.
        if len(new) > _FEW or len(self.ordered) < len(self.by_name):
            return None
        ordered = self.ordered.copy() if new else self.ordered
        for name in new:
            place = bisect.bisect_left(ordered, natural_key(name), key=natural_key)
            above = ordered[place : place + 1]
            highest = self.by_name[above[0]] if above else None
            lowest = self.by_name[ordered[place - 1]] if place else (highest or 0) - 2 * _GAP
            number = (lowest + (lowest + 2 * _GAP if highest is None else highest)) // 2
            if number in (lowest, -1):
                return None
            ordered.insert(place, name)
            self.by_name[name] = number
        numbers = np.array([self.by_name[name] for name in texts], np.int64)
        return ClipNumbers(self.by_name, ordered), numbers

    def names(self, numbers: Int64[np.ndarray, "k"]) -> pa.StringArray:
        """Gives the names that have some numbers."""
        if self.by_name is None:
            return _decimal_names(numbers)
        ordered, number_of = self.ordered, self.by_name.__getitem__
        if len(numbers) <= _FEW:
            places = [bisect.bisect_left(ordered, each, key=number_of) for each in numbers]
            return pa.array([ordered[place] for place in places], pa.string())
        in_order = np.fromiter(map(number_of, ordered), np.int64, len(ordered))
        return pa.array(ordered, pa.string()).take(pa.array(np.searchsorted(in_order, numbers)))

    def of(self, names: pa.ChunkedArray) -> Int64[np.ndarray, "m"]:
        """Gives the numbers of other names, -1 to one that no clip of the store has."""
        if self.by_name is None and (numbers := _decimal(names)) is not None:
            return numbers
        return np.array([self.of_name(name) for name in names.to_pylist()], np.int64)

    def of_name(self, name: str) -> int:
        """Gives the number of one name, -1 if no clip of the store has it."""
        if self.by_name is not None:
            return self.by_name.get(name, -1)
        decimal = name.isascii() and name.isdecimal() and len(name) <= MOST_DIGITS
        return int(decimal_numbers(int(name), len(name))) if decimal else -1


def dictionary(names: pa.ChunkedArray) -> tuple[list[str], Int64[np.ndarray, "M"]]:
    """Gives the distinct names, and the place of each name among them."""
    encoded = names.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _decimal(names: pa.ChunkedArray) -> Int64[np.ndarray, "M"] | None:
    """Gives the numbers of names of a few decimal digits each; None if there are others."""
    names = names.cast(pa.string())
    if not pc.call_function("all", [pc.call_function("ascii_is_decimal", [names])]).as_py():
        return np.empty(0, np.int64) if not len(names) else None
    lengths = pc.call_function("binary_length", [names]).to_numpy()
    if lengths.max() > MOST_DIGITS:
        return None
    values = names.cast(pa.int64()).to_numpy()
    return np.asarray(decimal_numbers(values, lengths.astype(np.int64)))


def _decimal_names(numbers: Int64[np.ndarray, "k"]) -> pa.StringArray:
    """Gives the names that have numbers of `decimal_numbers`."""
    values = pa.array(numbers // 32).cast(pa.string())
    lengths = pc.call_function("binary_length", [values]).to_numpy()
    zeros = (31 - numbers % 32) - lengths
    if not zeros.any():
        return values
    leading = pc.call_function("binary_repeat", [pa.scalar("0"), pa.array(zeros)])
    nothing = pa.scalar("")
    return pc.call_function("binary_join_element_wise", [leading, values, nothing])
