"""What an index is: the codes it stores, the record it keeps of each clip, where they came from."""

import base64
import dataclasses
import json
import operator
import re
from collections.abc import Mapping
from typing import Any, SupportsFloat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt8

from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.packing import unpack
from stvh_jax.errors import UserError

_FORMAT = "stvh index 1"


# A blend of two foci weighs them in hundredths.
HUNDREDTHS = 100


# The record of a clip, beside its codes; match and clip name it, anything else may be null.
RECORD = pa.schema(
    [
        pa.field("match", pa.string(), nullable=False),  # the source video
        pa.field("clip", pa.int64(), nullable=False),  # its number within it, as of the key frame
        pa.field("start", pa.float64()),  # seconds from the beginning of the source video
        pa.field("stop", pa.float64()),
        pa.field("activity", pa.string()),  # as labelled
        pa.field("predicted", pa.string()),  # as the model has it
        pa.field("confidence", pa.float64()),  # its probability, 0..1
        pa.field("split", pa.string()),
        pa.field("media", pa.string()),  # the file to play, a path or a URL
    ]
)


# NumPy's types, by their letters, of the numbers that go into a column as they are.
_NUMBERS = {pa.int64(): "bhilq", pa.float64(): "efd"}


def code_column(focus: int) -> str:
    """Names the column of the stored codes of a focus."""
    return f"code_{focus}"


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
    """

    bits: int
    stored_foci: tuple[int, ...]
    filter_matrix: FilterMatrix | None
    name: str
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Checks that the parts fit.

        Raises:
          UserError: they do not.
        """
        matrix = self.filter_matrix
        if not isinstance(self.bits, int) or self.bits < 8 or self.bits % 8:
            raise UserError(f"codes of {self.bits} bits; an index stores multiples of 8")
        whole = all(isinstance(focus, int) and focus >= 0 for focus in self.stored_foci)
        if not (whole and self.stored_foci) or sorted(set(self.stored_foci)) != [*self.stored_foci]:
            raise UserError(
                f"stored foci {list(self.stored_foci)}; name them once, in order, counted from 0"
            )
        if matrix is None:
            return
        if matrix.bits != self.bits:
            raise UserError(f"the filter matrix is of {matrix.bits} bits, the codes of {self.bits}")
        if self.stored_foci[-1] != matrix.layers:
            raise UserError(
                f"stored foci {list(self.stored_foci)}; they are of 0 to {matrix.layers}, and the "
                f"last, from which the others are derived, is one of them"
            )

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that can be searched: with a filter matrix, all of them."""
        if self.filter_matrix is None:
            return self.stored_foci
        return tuple(range(self.filter_matrix.layers + 1))

    @property
    def schema(self) -> pa.Schema:
        """The record of a clip with its codes."""
        code = pa.list_(pa.uint8(), self.bits // 8)
        columns = [pa.field(code_column(f), code, nullable=False) for f in self.stored_foci]
        return pa.schema([*RECORD, *columns])

    def weights(self, focus: str | SupportsFloat) -> dict[int, int]:
        """Gives what each focus weighs in a search, in hundredths.

        Args:
          focus: `activity` (the last), `visual` (the first), a number, or one between two, as
            2.3, which weighs focus 2 by 70 and focus 3 by 30 hundredths.

        Raises:
          UserError: there is no such focus.
        """
        names = {"activity": self.foci[-1], "visual": self.foci[0]}
        try:
            hundredths = round(HUNDREDTHS * float(names.get(focus, focus)))
        except (ValueError, OverflowError, TypeError):
            hundredths = -1
        lower, above = divmod(hundredths, HUNDREDTHS)
        weights = {lower: HUNDREDTHS - above} | ({lower + 1: above} if above else {})
        if not weights.keys() <= set(self.foci):
            raise UserError(
                f"focus {focus!r} cannot be searched; choose activity, visual, or "
                f"{_listed(self.foci)}, or a number between two neighbours"
            )
        return weights

    def all_codes(
        self, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
        """Adds the derived codes to the stored ones: of every focus."""
        return {focus: self.codes_of(focus, stored) for focus in self.foci}

    def codes_of(
        self, focus: int, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
    ) -> UInt8[np.ndarray, "M bytes"]:
        """Gives the codes of a focus, stored or derived."""
        if focus in self.stored_foci:
            return stored[focus]
        return self.filter_matrix.derive(stored[self.stored_foci[-1]], focus)

    def stored_codes(self, codes, *, what: str) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
        """Picks and checks the codes of the stored foci.

        Args:
          codes: packed codes by focus, of which those that are not stored are left out; or an
            array, if only those of the last focus are stored.
          what: whose codes they are, for the message.

        Raises:
          UserError: codes of a focus are missing, have other bits, or differ in number.
        """
        if not isinstance(codes, Mapping):
            codes = {self.stored_foci[-1]: codes}
        picked = {}
        for focus in self.stored_foci:
            if focus not in codes:
                raise UserError(
                    f"{what}: codes of focus {focus} are missing; this index stores those of "
                    f"{_listed(self.stored_foci)}"
                )
            try:
                array = np.atleast_2d(np.ascontiguousarray(codes[focus]))
            except ValueError as error:
                raise UserError(f"{what}: codes are no array of bytes ({error})") from error
            if array.dtype != np.uint8 or array.ndim != 2:
                raise UserError(
                    f"{what}: codes are {array.dtype} {array.shape}; give packed ones, uint8 [M, "
                    f"{self.bits // 8}]"
                )
            if array.shape[1] * 8 != self.bits:
                raise UserError(
                    f"{what}: codes have {array.shape[1] * 8} bits, this index has {self.bits}"
                )
            picked[focus] = array
        if len({len(array) for array in picked.values()}) > 1:
            raise UserError(f"{what}: the foci have codes of different numbers of clips")
        return picked

    def to_json(self) -> str:
        """Serialises it, filter matrix included."""
        matrix = self.filter_matrix
        return json.dumps(
            {
                "format": _FORMAT,
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
          UserError: it is something else; says `where` it was found.
        """
        try:
            read = json.loads(text)
            if read["format"] != _FORMAT:
                raise ValueError(f"its format is {read['format']!r}, not {_FORMAT!r}")
            matrix = read["filter_matrix"]
            if matrix is not None:
                content = base64.b64decode(matrix, validate=True)
                matrix = FilterMatrix.from_bytes(content, where=where)
            return cls(
                bits=read["bits"],
                stored_foci=tuple(read["stored_foci"]),
                filter_matrix=matrix,
                name=read["name"],
                origin=read["origin"],
            )
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{where} is no index of this version ({error}); index the clips anew"
            ) from error


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """Clips that a search leaves out.

    Attributes:
      match: whose clips they are.
      clip: this one alone; None for any.
      seconds: those that overlap this time, from and to, both excluded; None for all.
    """

    match: str
    clip: int | None = None
    seconds: tuple[float, float] | None = None


def match_order(match: str) -> tuple:
    """Gives what matches are ordered by: numbers first, by their value; other names as texts."""
    return (0, int(match), match) if match.isdecimal() else (1, 0, match)


def check_filter(where: str | None) -> None:
    """Checks that a filter is one condition.

    Raises:
      UserError: it holds what ends a condition, after which all would be ignored, or is no text.
    """
    if where is None:
        return
    if not isinstance(where, str):
        raise UserError(f"filter {where!r}: give a text, as \"match = '13'\"")
    outside_of_quotes = re.sub(r"'[^']*'", "", where)
    if mark := re.search(r";|--|/\*", outside_of_quotes):
        raise UserError(f"filter {where!r}: {mark[0]!r} has no place in a condition")


def to_table(info: IndexInfo, codes, record: Mapping[str, Any]) -> pa.Table:
    """Makes the rows of some clips.

    Args:
      info: the index they are for.
      codes: see `IndexInfo.stored_codes`.
      record: a sequence for each field of `RECORD` that is known, `match` and `clip` at least.

    Raises:
      UserError: a field is unknown, missing, of another length or type, or a clip stands twice.
    """
    if unknown := sorted(set(record) - set(RECORD.names)):
        raise UserError(f"clips have no field {unknown[0]!r}; there are {', '.join(RECORD.names)}")
    if missing := {"match", "clip"} - set(record):
        raise UserError(f"clips need a {min(missing)}, which names them")
    stored = info.stored_codes(codes, what="clips to index")
    count = len(stored[info.stored_foci[-1]])
    columns = []
    for field in RECORD:
        values = record.get(field.name)
        try:
            values = pa.nulls(count, field.type) if values is None else _values(values, field)
            # NaN is what is not known.
            columns.append(pa.array(values, field.type, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{field.name!r} of the clips is no {field.type} ({error})") from error
        if len(columns[-1]) != count:
            raise UserError(f"{len(columns[-1])} values of {field.name!r} for {count} codes")
        if not field.nullable and columns[-1].null_count:
            raise UserError(f"a clip has no {field.name}; each needs one")
    for focus in info.stored_foci:
        flat = pa.array(stored[focus].ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, info.bits // 8))
    table = pa.Table.from_arrays(columns, schema=info.schema)
    names = (
        table.select(["match", "clip"]).group_by(["match", "clip"]).aggregate([([], "count_all")])
    )
    if twice := names.filter(pc.greater(names["count_all"], 1)).to_pylist():
        raise UserError(f"clip {twice[0]['match']}/{twice[0]['clip']} is given twice")
    return table


def _values(values, field: pa.Field):
    """Gives the values of a field as Arrow takes them: numbers in an array at once."""
    plain = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.isnative
    if plain and values.dtype.char in _NUMBERS.get(field.type, ""):
        return values
    values = list(values)
    if field.name == "match":
        return [_match_name(value) for value in values]
    if pa.types.is_integer(field.type):  # Arrow would cut 2.5 down to 2
        return [value if value is None else operator.index(value) for value in values]
    return values


def _match_name(match) -> str | None:
    """Gives the name of a match, which may be a number."""
    if match is None:
        return None
    if isinstance(match, (str, int, np.integer)) and str(match):
        return str(match)
    raise TypeError(f"{match!r} names no match")


def codes_of_column(column: pa.ChunkedArray, bits: int) -> UInt8[np.ndarray, "M bytes"]:
    """Gives the codes of a table's column as one array."""
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    joined = chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.empty(0, np.uint8)])
    return joined.reshape(-1, bits // 8)


def agreeing_bits(
    first: UInt8[np.ndarray, "bytes"], second: UInt8[np.ndarray, "bytes"]
) -> list[int]:
    """Names the bits in which two packed codes agree."""
    return np.flatnonzero(unpack(first) == unpack(second)).tolist()


def _listed(foci) -> str:
    return ", ".join(map(str, foci))
