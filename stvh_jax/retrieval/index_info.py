"""What an index is: the codes it stores, the foci it can be searched at, where it came from."""

import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.record import RECORD, RECORD_1, code_column

Number = int | float | np.integer | np.floating

# What an index says that it is, and the number of its format. New ones have the last.
_FORMATS = {"stvh index 1": 1, "stvh index 2": 2}
_NEWEST = max(_FORMATS.values())

# The most bits of a code, and the largest focus: far more than any model has.
_MOST_BITS, _LARGEST_FOCUS = 1 << 16, 255

# What an origin says of these, if it says anything, is of these types.
_ORIGIN = dict.fromkeys(("run", "checkpoint", "checkpoint_kind", "data_dir", "media"), str) | {
    "frames_per_second": (int, float)
}

# A blend of two foci weighs them in hundredths.
HUNDREDTHS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class IndexInfo:
    """What an index is.

    Attributes:
      bits: K.
      stored_foci: the foci whose own codes are stored, the last one L; the others are derived
        from the codes of L.
      filter_matrix: derives them; None if there is nothing to derive.
      name: tells this index from all others.
      origin: the run and the data that the codes came from, as far as known.
      format: 1 where clips are stored as whole numbers, 2 where they are names.
    """

    bits: int
    stored_foci: tuple[int, ...]
    filter_matrix: FilterMatrix | None
    name: str
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    format: int = _NEWEST

    def __post_init__(self):
        """Checks that the parts fit.

        Raises:
          UserError: they do not.
        """
        matrix = self.filter_matrix
        if not is_whole(self.bits) or not 8 <= self.bits <= _MOST_BITS or self.bits % 8:
            raise UserError(
                f"codes have {shown(self.bits)} bits; an index needs a multiple of 8, up to "
                f"{_MOST_BITS}"
            )
        whole = all(is_whole(focus) and 0 <= focus <= _LARGEST_FOCUS for focus in self.stored_foci)
        if not (whole and self.stored_foci) or sorted(set(self.stored_foci)) != [*self.stored_foci]:
            raise UserError(
                f"stored foci {shown(list(self.stored_foci))}; name each once, in order, "
                f"counted from 0, up to {_LARGEST_FOCUS}"
            )
        _check_origin(self.origin)
        if matrix is None:
            return
        if not isinstance(matrix, FilterMatrix):
            raise UserError(f"the filter matrix is of type {type(matrix).__name__}")
        if matrix.bits != self.bits:
            raise UserError(
                f"the filter matrix is for {matrix.bits} bits, the codes have {self.bits}"
            )
        if self.stored_foci[-1] != matrix.layers:
            raise UserError(
                f"stored foci {list(self.stored_foci)}; choose from 0 to {matrix.layers}, and "
                f"include {matrix.layers}, from which the others are derived"
            )

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that can be searched: with a filter matrix, all of them."""
        if self.filter_matrix is None:
            return self.stored_foci
        return tuple(range(self.filter_matrix.layers + 1))

    @property
    def last_focus(self) -> int:
        """L, whose codes are always stored."""
        return self.stored_foci[-1]

    @property
    def record(self) -> pa.Schema:
        """The record of a clip as it is stored."""
        return RECORD_1 if self.format == 1 else RECORD

    @property
    def schema(self) -> pa.Schema:
        """The record of a clip with its codes, as they are stored."""
        code = pa.list_(pa.uint8(), self.bits // 8)
        columns = [pa.field(code_column(f), code, nullable=False) for f in self.stored_foci]
        return pa.schema([*self.record, *columns])

    def weights(self, focus: str | Number) -> dict[int, int]:
        """Gives what each focus weighs in a search, in hundredths.

        Args:
          focus: `activity` (the last), `visual` (the first), a number, or one between two, for
            example 2.3, which weighs focus 2 by 70 and focus 3 by 30 hundredths.

        Raises:
          UserError: there is no such focus.
        """
        number = None if isinstance(focus, (bool, np.bool_)) else focus
        if isinstance(focus, str):
            number = {"activity": self.foci[-1], "visual": self.foci[0]}.get(focus, focus)
        try:
            hundredths = round(HUNDREDTHS * float(number))  # pyright: ignore[reportArgumentType]
        except (ValueError, OverflowError, TypeError):
            hundredths = -1
        lower, above = divmod(hundredths, HUNDREDTHS)
        weights = {lower: HUNDREDTHS - above} | ({lower + 1: above} if above else {})
        if not weights.keys() <= set(self.foci):
            raise UserError(
                f"focus {focus!r} cannot be searched; choose activity, visual, or "
                f"{listed(self.foci)}, or a number between two neighbours"
            )
        return weights

    def all_codes(
        self, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
        """Adds the derived codes to the stored ones: those of every focus."""
        return {focus: self.codes_of(focus, stored) for focus in self.foci}

    def codes_of(
        self, focus: int, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> UInt8[np.ndarray, "M bytes"]:
        """Gives the codes of a focus, stored or derived."""
        if focus in self.stored_foci or self.filter_matrix is None:
            return stored[focus]
        return self.filter_matrix.derive(stored[self.last_focus], focus)

    def to_json(self) -> str:
        """Serialises it, filter matrix included."""
        matrix = self.filter_matrix
        return json.dumps(
            {
                "format": f"stvh index {self.format}",
                "name": self.name,
                "bits": self.bits,
                "stored_foci": self.stored_foci,
                "filter_matrix": matrix and base64.b64encode(matrix.to_bytes()).decode(),
                "origin": dict(self.origin),
            }
        )

    @classmethod
    def from_json(cls, text: str, *, where: str) -> "IndexInfo":
        """Reads what `to_json` made.

        Raises:
          Damaged: it is something else; says `where` it stands.
        """
        what = "an index that this version reads"
        with files.reading(where, what, "index the clips again, or restore a copy"):
            values = json.loads(text)
            if values["format"] not in _FORMATS:
                raise ValueError(f"its format is {values['format']!r}, not {listed(_FORMATS)}")
            matrix = values["filter_matrix"]
            if matrix is not None:
                content = base64.b64decode(matrix, validate=True)
                matrix = FilterMatrix.from_bytes(content, where=where)
            if not isinstance(values["name"], str) or not isinstance(values["stored_foci"], list):
                raise TypeError("its name or its stored foci are of another type")
            try:
                return cls(
                    bits=values["bits"],
                    stored_foci=tuple(values["stored_foci"]),
                    filter_matrix=matrix,
                    name=values["name"],
                    origin=values["origin"],
                    format=_FORMATS[values["format"]],
                )
            except UserError as error:
                raise ValueError(str(error)) from error


def is_whole(value: Any) -> bool:
    """Says whether a value is a whole number; true and false are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _check_origin(origin: Any) -> None:
    """Checks what an index says of where it came from.

    Raises:
      UserError: it is no mapping of plain values, or a value is of another type than is read.
    """
    try:
        if not all(isinstance(name, str) for name in origin):
            raise TypeError("its names are not all texts")
        json.dumps(dict(origin), allow_nan=False)
        for name, kind in _ORIGIN.items():
            value = origin.get(name)
            if isinstance(value, bool) or not (value is None or isinstance(value, kind)):
                raise TypeError(f"its {name} is of type {type(value).__name__}")
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise UserError(
            f"the origin is not a mapping of plain values ({files.reason(error)})"
        ) from error


def listed(values: Iterable) -> str:
    """Writes foci, or other values, side by side."""
    return ", ".join(map(str, values))
