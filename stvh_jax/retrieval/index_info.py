"""What an index is: the codes it stores, the foci it can be searched at, where it came from."""

import base64
import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, UInt8

from stvh_jax import files
from stvh_jax.codes.bit_weights import HUNDREDTHS, BitWeights
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval import index_parts
from stvh_jax.retrieval.own_columns import check_columns, own_fields
from stvh_jax.retrieval.record import ADAPTATION, GIVEN_NAME, RECORD, RECORD_1, code_column

Number = int | float | np.integer | np.floating

# What an index says that it is, and the number of its format. Versions that know nothing of bit
# weights, or of columns of one's own, know nothing of the last formats, and refuse them.
_FORMATS = {"stvh index 1": 1, "stvh index 2": 2, "stvh index 3": 3, "stvh index 4": 4}
_NAMED, _WEIGHTED, _EXTENDED = 2, 3, 4

# The most bits of a code, and the largest focus: far more than any model has.
_MOST_BITS, _LARGEST_FOCUS = 1 << 16, 255


class CodePart(NamedTuple):
    """What a search compares: the codes of a focus, or one group of the bits of weighted codes."""

    focus: int
    group: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class IndexInfo:
    """What an index is.

    Attributes:
      bits: K.
      stored_foci: the foci whose own codes are stored, the last one L; the others are derived
        from the codes of L, or, with bit weights, weigh the bits of those codes.
      filter_matrix: derives them; None if there is nothing to derive.
      name: tells this index from all others.
      origin: the run and the data that the codes came from, as far as known.
      format: 1 where clips are stored as whole numbers, 2 where they are names, 3 where they are
        names and bits are weighed, 4 where the record has columns of the user's own; None for the
        one that fits.
      bit_weights: what each bit weighs at each focus; None where foci have codes of their own.
      readout: reads activities from the codes of the last focus; None where it is not known.
      columns: the user's own columns of the record, the kind of each by its name.
    """

    bits: int
    stored_foci: tuple[int, ...]
    filter_matrix: FilterMatrix | None
    name: str
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    format: int | None = None
    bit_weights: BitWeights | None = None
    readout: Readout | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Checks that the parts fit.

        Raises:
          UserError: they do not.
        """
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
        index_parts.check_origin(self.origin)
        index_parts.check_filter_matrix(self.filter_matrix, self.bits, self.stored_foci)
        index_parts.check_bit_weights(
            self.bit_weights, self.bits, self.stored_foci, self.filter_matrix
        )
        index_parts.check_readout(self.readout, self.bits)
        object.__setattr__(self, "columns", check_columns(self.columns))
        fitting = _NAMED if self.bit_weights is None else _WEIGHTED
        fitting = _EXTENDED if self.columns else fitting
        if self.format is None:
            object.__setattr__(self, "format", fitting)
        if self.format != fitting and (self.format, fitting) != (1, _NAMED):
            what = "columns" if _EXTENDED in (self.format, fitting) else "bit weights"
            raise UserError(f"format {self.format} and its {what} do not go together")

    @functools.cached_property
    def foci(self) -> tuple[int, ...]:
        """The foci that can be searched: with a filter matrix or bit weights, all of them."""
        if self.filter_matrix is None and self.bit_weights is None:
            return self.stored_foci
        return tuple(range(self.last_focus + 1))

    @property
    def last_focus(self) -> int:
        """L, whose codes are always stored."""
        return self.stored_foci[-1]

    @property
    def record(self) -> pa.Schema:
        """The record of a clip as it is stored, with the user's own columns."""
        return RECORD_1 if self.format == 1 else self.fields

    @functools.cached_property
    def fields(self) -> pa.Schema:
        """The record of a clip as it is given and returned: `RECORD` and the user's own columns."""
        return pa.schema([*RECORD, *own_fields(self.columns)])

    @property
    def schema(self) -> pa.Schema:
        """The record of a clip with its codes, as they are stored."""
        code = pa.list_(pa.uint8(), self.bits // 8)
        columns = [pa.field(code_column(f), code, nullable=False) for f in self.stored_foci]
        adaptation = [] if self.bit_weights is None else [ADAPTATION]
        return pa.schema([*self.record, *columns, *adaptation])

    def with_names(self) -> "IndexInfo":
        """Gives what the index is once its clips can have names: the same, with a column of them.

        Raises:
          UserError: it has a column of the user's own that is called so and holds no texts, or as
            many columns as there may be.
        """
        kind = self.columns.get(GIVEN_NAME)
        if kind == "text":
            return self
        if kind is not None:
            raise UserError(
                f"this index has a column {GIVEN_NAME!r} of your own, of kind {kind}, so its clips "
                "cannot be given names"
            )
        # The format of an index with columns: versions that know of none refuse it.
        return dataclasses.replace(self, columns={**self.columns, GIVEN_NAME: "text"}, format=None)

    def focus_at(self, scale: Number) -> float:
        """Gives the focus at a place between visual and activity, to hundredths.

        Args:
          scale: from 0, focus 0, to 1, the last focus.

        Raises:
          UserError: it is something else.
        """
        number = isinstance(scale, Number) and not isinstance(scale, (bool, np.bool_))
        if not (number and 0 <= scale <= 1):
            raise UserError(f"scale {shown(scale)}; give a number from 0, visual, to 1, activity")
        return round(HUNDREDTHS * float(scale) * self.last_focus) / HUNDREDTHS

    def focus_asked(self, focus: str | Number | None, scale: Number | None) -> str | Number:
        """Gives the focus of a search: the one given, that at a scale, or the last.

        Raises:
          UserError: a focus and a scale are given, or a scale that is none.
        """
        if scale is None:
            return "activity" if focus is None else focus
        if focus is not None:
            raise UserError(f"focus {shown(focus)} and scale {shown(scale)}; give one of the two")
        return self.focus_at(scale)

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

    def whole_focus(self, focus: str | Number) -> int:
        """Gives the focus that has codes of its own; with bit weights the last, whose code is all.

        Args:
          focus: `activity`, `visual` or a whole number.

        Raises:
          UserError: there is none, or it is between two.
        """
        weights = self.weights(focus)
        if len(weights) > 1:
            raise UserError(f"focus {focus!r} is between two, which have codes; give one of them")
        return self.last_focus if self.bit_weights is not None else next(iter(weights))

    def part_weights(self, weights: Mapping[int, int]) -> tuple[dict[CodePart, int], int]:
        """Gives what the parts of codes weigh in a search, by what the foci weigh.

        Args:
          weights: of each focus, in hundredths; see `weights`.

        Returns:
          The weights of all parts that weigh something, and the unit: how many of them make a bit.
          They are positive whole numbers without a common divisor.
        """
        if self.bit_weights is None:
            unit = HUNDREDTHS
            parts = {CodePart(focus): weight for focus, weight in weights.items()}
        else:
            unit = HUNDREDTHS * self.bit_weights.unit
            of_bits = self.bit_weights.at(sum(focus * share for focus, share in weights.items()))
            of_groups = [int(of_bits[bits[0]]) for bits in self.bit_weights.groups]
            parts = {
                CodePart(self.last_focus, group): weight
                for group, weight in enumerate(of_groups)
                if weight
            }
        common = math.gcd(unit, *parts.values())
        return {part: weight // common for part, weight in parts.items()}, unit // common

    def codes_of_part(
        self, part: CodePart, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> UInt8[np.ndarray, "M part"]:
        """Gives the codes of a part, packed and contiguous."""
        if self.bit_weights is None or part.group is None:
            return self.codes_of(part.focus, stored)
        return self.bit_weights.part(stored[part.focus], part.group)

    def mean_distances(
        self,
        queries: Mapping[int, UInt8[np.ndarray, "Q bytes"]],
        clips: Mapping[int, UInt8[np.ndarray, "M bytes"]],
    ) -> dict[int, Float[np.ndarray, "M"]]:
        """Computes how far clips are from some queries in the mean, at every focus, in bits.

        Args:
          queries: their stored codes.
          clips: theirs.
        """
        means = {}
        # Few codes are derived in about the time of one.
        both = {focus: np.concatenate([queries[focus], clips[focus]]) for focus in queries}
        count = len(queries[self.last_focus])
        for focus in self.foci:
            codes = self.codes_of(focus, both)
            own, others = codes[:count], codes[count:]
            if self.bit_weights is None:
                distances, unit = hamming_distances(own, others), 1
            else:
                distances = self.bit_weights.distances(own, others, focus)
                unit = self.bit_weights.unit
            # As in a search, one division: two would end in other digits.
            means[focus] = distances.sum(axis=0, dtype=np.int64) / (unit * len(own))
        return means

    def all_codes(
        self, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
        """Adds the derived codes to the stored ones: those of every focus."""
        return {focus: self.codes_of(focus, stored) for focus in self.foci}

    def codes_of(
        self, focus: int, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> UInt8[np.ndarray, "M bytes"]:
        """Gives the codes of a focus, stored or derived; with bit weights, those of all foci."""
        if self.bit_weights is not None:
            return stored[self.last_focus]
        if focus in self.stored_foci or self.filter_matrix is None:
            return stored[focus]
        return self.filter_matrix.derive(stored[self.last_focus], focus)

    def to_json(self) -> str:
        """Serialises it, filter matrix and bit weights included."""
        matrix = self.filter_matrix
        values: dict[str, Any] = {
            "format": f"stvh index {self.format}",
            "name": self.name,
            "bits": self.bits,
            "stored_foci": self.stored_foci,
            "filter_matrix": matrix and base64.b64encode(matrix.to_bytes()).decode(),
            "origin": dict(self.origin),
        }
        if self.bit_weights is not None:
            values["bit_weights"] = self.bit_weights.to_json()
        if self.readout is not None:
            values["readout"] = self.readout.to_json()
        if self.columns:
            values["columns"] = self.columns
        return json.dumps(values)

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
                weights, readout = values.get("bit_weights"), values.get("readout")
                return cls(
                    bits=values["bits"],
                    stored_foci=tuple(values["stored_foci"]),
                    filter_matrix=matrix,
                    name=values["name"],
                    origin=values["origin"],
                    format=_FORMATS[values["format"]],
                    bit_weights=None if weights is None else BitWeights.from_json(weights),
                    readout=None if readout is None else Readout.from_json(readout),
                    columns=values.get("columns", {}),
                )
            except UserError as error:
                raise ValueError(str(error)) from error


def is_whole(value: Any) -> bool:
    """Says whether a value is a whole number; true and false are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def listed(values: Iterable) -> str:
    """Writes foci, or other values, side by side."""
    return ", ".join(map(str, values))
