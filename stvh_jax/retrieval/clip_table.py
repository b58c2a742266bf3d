"""Clips as Arrow tables: what a caller gives of them, checked, and as an index stores them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt8
from numpy.typing import ArrayLike

from stvh_jax.errors import UserError
from stvh_jax.names import LONGEST_NAME, as_name
from stvh_jax.retrieval.index_info import IndexInfo, listed
from stvh_jax.retrieval.own_columns import PLAIN, check_values
from stvh_jax.retrieval.record import ADAPTATION, GIVEN_NAME, NAMES, RECORD, code_column

# What a caller gives as codes: packed, by focus, or of the last focus alone.
Codes = UInt8[np.ndarray, "..."] | Mapping[int, UInt8[np.ndarray, "..."]]

# What a caller gives of a field of the record: a value for each clip, or one for all of them.
Values = ArrayLike | Sequence[Any] | bool | int | float | None

# The letters of NumPy's types whose arrays go into a column as they are.
_PLAIN = {"match": "U", "clip": "Ubhilq"} | dict.fromkeys(("start", "stop", "confidence"), "efd")


def stored_codes(
    info: IndexInfo, codes: Codes, *, what: str
) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
    """Picks and checks the codes of the stored foci.

    Args:
      info: the index they are for.
      codes: packed codes by focus, of which those that are not stored are left out; or an array,
        if only those of the last focus are stored.
      what: whose codes they are, for the message.

    Raises:
      UserError: codes of a focus are missing, have other bits, or differ in number.
    """
    if not isinstance(codes, Mapping):
        codes = {info.last_focus: codes}
    picked = {}
    for focus in info.stored_foci:
        if focus not in codes:
            raise UserError(
                f"{what}: codes of focus {focus} are missing; this index stores those of "
                f"{listed(info.stored_foci)}"
            )
        try:
            array = np.atleast_2d(np.ascontiguousarray(codes[focus]))
        except ValueError as error:
            raise UserError(f"{what}: codes are not an array of bytes ({error})") from error
        if array.dtype != np.uint8 or array.ndim != 2:
            raise UserError(
                f"{what}: codes are {array.dtype} {array.shape}; give packed codes, uint8 [M, "
                f"{info.bits // 8}]"
            )
        if array.shape[1] * 8 != info.bits:
            raise UserError(
                f"{what}: codes have {array.shape[1] * 8} bits, this index has {info.bits}"
            )
        picked[focus] = array
    if len({len(array) for array in picked.values()}) > 1:
        raise UserError(f"{what}: the foci have codes of different numbers of clips")
    return picked


def to_table(info: IndexInfo, codes: Codes, record: Mapping[str, Values]) -> pa.Table:
    """Makes the rows of some clips: the columns of `IndexInfo.fields`, then those of the codes.

    A column of names is there if names are given, whether or not the index has one yet.

    Args:
      info: the index they are for.
      codes: see `stored_codes`.
      record: a sequence for each field that is known, `match` and `clip` at least; or one value,
        which is that of every clip.

    Raises:
      UserError: a field is unknown, missing, of another length or type, or a clip is given twice.
    """
    if record.get(GIVEN_NAME) is not None and GIVEN_NAME not in info.columns:
        info = info.with_names()
    if unknown := sorted(set(record) - {GIVEN_NAME} - set(info.fields.names)):
        raise UserError(
            f"clips have no field {unknown[0]!r}; the fields are {listed(info.fields.names)}; an "
            "index is given others when it is made: Index.create(..., columns={'player': 'text'})"
        )
    if missing := set(NAMES) - set(record):
        raise UserError(f"clips need a {min(missing)}, which is part of their names")
    picked = stored_codes(info, codes, what="clips to index")
    count = len(picked[info.last_focus])
    columns = {}
    for field in info.fields:
        if field.name == GIVEN_NAME and record.get(GIVEN_NAME) is None:
            continue  # those that are there stay
        column = _column(field, record.get(field.name), count)
        if len(column) != count:
            raise UserError(
                f"{len(column)} values of {field.name!r} for {count} codes; give one per code"
            )
        if not field.nullable and column.null_count:
            raise UserError(f"a clip has no {field.name}; each needs one")
        columns[field.name] = column
    table = pa.table(columns | code_columns(info, picked))
    _check_names(table)
    _check_numbers(table)
    _check_finite(table.select([name for name in info.columns if name in table.column_names]))
    return table


def names_table(match: Values, clip: Values, count: int) -> pa.Table:
    """Makes the columns of the names of some clips.

    Raises:
      UserError: they are of another number or type.
    """
    columns = {}
    for name, values in zip(NAMES, (match, clip)):
        columns[name] = _column(RECORD.field(name), values, count)
        if len(columns[name]) != count or columns[name].null_count:
            raise UserError(f"{len(columns[name])} values of {name!r} for {count} clips")
    return pa.table(columns)


def code_columns(
    info: IndexInfo, codes: Mapping[int, UInt8[np.ndarray, "M bytes"]]
) -> dict[str, pa.FixedSizeListArray]:
    """Gives the columns of the stored codes by their names."""
    return {
        code_column(focus): pa.FixedSizeListArray.from_arrays(
            pa.array(codes[focus].ravel()), info.bits // 8
        )
        for focus in info.stored_foci
    }


def codes_of_table(info: IndexInfo, table: pa.Table) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
    """Gives the stored codes of a table, an array for each focus."""
    codes = {}
    for focus in info.stored_foci:
        chunks = [chunk.flatten().to_numpy() for chunk in table[code_column(focus)].chunks]
        whole = chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.empty(0, np.uint8)])
        codes[focus] = whole.reshape(-1, info.bits // 8)
    return codes


def as_stored(info: IndexInfo, clips: pa.Table, adaptation: int = 0) -> pa.Table:
    """Gives a table of clips the columns and types that the index stores.

    Args:
      info: what the index is.
      clips: the columns of `RECORD` and of the codes; that of names may be missing.
      adaptation: the number of that by which their visual bits were made; 0 for none.

    Raises:
      UserError: a clip's name is not a whole number, and the index, of format 1, has no others.
    """
    if info.format == 1:
        names = clips["clip"]
        try:
            numbers = names.cast(pa.int64())
            whole = names.equals(numbers.cast(pa.string()))
        except pa.ArrowInvalid:
            whole = False
        if not whole:
            raise UserError(
                "this index is from an earlier version and names its clips only by whole numbers; "
                "for other names, index the clips again at another place"
            )
    if info.bit_weights is not None:
        numbers = pa.array(np.full(len(clips), adaptation, np.int64))
        clips = clips.append_column(ADAPTATION, numbers)
    if GIVEN_NAME in info.columns and GIVEN_NAME not in clips.column_names:
        field = info.fields.field(GIVEN_NAME)
        clips = clips.append_column(field, pa.nulls(len(clips), field.type))
    return clips.select(info.schema.names).cast(info.schema)


def as_record(info: IndexInfo, stored: pa.Table) -> pa.Table:
    """Gives stored clips, whatever the index's format, the types of `RECORD`, beside their codes.

    The reverse of `as_stored`.
    """
    place = stored.schema.get_field_index("clip")
    return stored.set_column(place, RECORD.field("clip"), stored["clip"].cast(pa.string()))


def _column(field: pa.Field, values: Any, count: int) -> pa.Array:
    """Makes a column of the values of a field, or of its one value; None if nothing is known."""
    try:
        if values is None:
            return pa.nulls(count, field.type)
        if _is_one(values):
            (one,) = _column(field, [values[()] if isinstance(values, np.ndarray) else values], 1)
            return pa.repeat(one, count) if one.is_valid else pa.nulls(count, field.type)
        if _is_plain(field, values):
            return pa.array(values, from_pandas=True).cast(field.type)
        if field.name in NAMES:
            values = [None if value is None else as_name(value) for value in values]
        if field.name not in RECORD.names:
            values = list(values)
            check_values(field, values)
        # NaN is what is not known.
        return pa.array(list(values), field.type, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{field.name!r} of the clips is not {field.type} ({error})") from error


def _is_one(values: Any) -> bool:
    """Says whether this is one value, a text, a number or a bool, and not a sequence of them."""
    scalar = isinstance(values, (str, bool, int, float, np.generic))
    return scalar or (isinstance(values, np.ndarray) and values.ndim == 0)


def _is_plain(field: pa.Field, values: Any) -> bool:
    """Says whether Arrow takes the values as they are, all at once."""
    plain = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.isnative
    own = "" if field.name in RECORD.names else PLAIN[field.type]
    return plain and values.dtype.char in _PLAIN.get(field.name, own)


def _check_numbers(table: pa.Table) -> None:
    """Checks the times and the confidence of clips, as far as known.

    Raises:
      UserError: a time is infinite, a clip stops before it starts, or a confidence is no share.
    """
    values = {name: table[name].to_numpy() for name in ("start", "stop", "confidence")}
    start, stop, confidence = values["start"], values["stop"], values["confidence"]
    for wrong, cause in [
        (np.isinf(start) | np.isinf(stop), "{start} to {stop} seconds; times are finite"),
        (stop < start, "{start} to {stop} seconds; it cannot stop before it starts"),
        # A softmax in 32 bits may be a little above 1.
        ((confidence < 0) | (confidence > 1 + 1e-6), "confidence {confidence}; give 0 to 1"),
    ]:
        if wrong.any():
            row = int(wrong.argmax())
            match, clip = (table[name][row].as_py() for name in NAMES)
            numbers = {name: column[row] for name, column in values.items()}
            raise UserError(f"clip {match}/{clip}: {cause.format(**numbers)}")


def _check_finite(own: pa.Table) -> None:
    """Checks the numbers of the user's own columns.

    Raises:
      UserError: one is infinite.
    """
    for field in own.schema:
        if pa.types.is_floating(field.type) and np.isinf(own[field.name].to_numpy()).any():
            raise UserError(f"{field.name!r} of a clip is infinite; give a number, or None")


def _check_names(table: pa.Table) -> None:
    """Checks the names of clips.

    Raises:
      UserError: one is empty, too long, has a control character or, in its clip, a slash, or stands
        twice.
    """
    for name in NAMES:
        if table.filter(pc.field(name) == "").num_rows:
            raise UserError(f"the field {name!r} of a clip is empty; give it a name")
        longest = pc.call_function("max", [pc.call_function("utf8_length", [table[name]])]).as_py()
        if (longest or 0) > LONGEST_NAME:
            raise UserError(
                f"a {name} has a name of {longest} characters; it may have {LONGEST_NAME}"
            )
        control = pc.MatchSubstringOptions(r"[\p{Cc}\p{Zl}\p{Zp}]")
        controls = pc.call_function("match_substring_regex", [table[name]], control)
        if bad := table[name].filter(controls).to_pylist():
            raise UserError(f"{name} {bad[0]!r} has a control character in its name")
    # MATCH/CLIP would be the name of two clips.
    slash = pc.call_function("match_substring", [table["clip"]], pc.MatchSubstringOptions("/"))
    if bad := table["clip"].filter(slash).to_pylist():
        raise UserError(f"clip {bad[0]!r} has a '/' in its name; only a match's name may have one")
    counts = table.select(list(NAMES)).group_by(list(NAMES)).aggregate([([], "count_all")])
    if twice := counts.filter(pc.field("count_all") > 1).to_pylist():
        raise UserError(f"clip {twice[0]['match']}/{twice[0]['clip']} is given twice")
