"""Columns of a user's own in the record of a clip: their names, kinds and values."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.record import ADAPTATION, RECORD

# What a column holds, and the type that it is stored as.
KINDS = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "bool": pa.bool_()}

# The letters of NumPy's types whose arrays go into a column of a kind as they are.
PLAIN = {pa.string(): "U", pa.float64(): "efd", pa.int64(): "bhilq", pa.bool_(): "?"}

# The most columns, and the most characters of a name.
_MOST, _LONGEST = 32, 64

# Names that stand for something else in a search, its hits or its exports, or, `trim`, that the
# engine cannot read in a condition.
_TAKEN = {
    *RECORD.names, ADAPTATION.name,
    "agreeing_bits", "codes", "distance", "distances", "focus", "path", "rank", "trim",
}  # fmt: skip
_NUMBERED = re.compile(r"(code|codes|distance)_[0-9]+")


def check_columns(columns: Any) -> dict[str, str]:
    """Checks columns of one's own, and gives them as an ordinary dictionary.

    Args:
      columns: the kind of each by its name.

    Raises:
      UserError: they are something else, or too many, or a name or a kind cannot be one.
    """
    if not isinstance(columns, Mapping):
        raise UserError(
            f"columns {shown(columns)}; give the kind of each by its name, for example "
            "{'player': 'text'}"
        )
    if len(columns) > _MOST:
        raise UserError(f"{len(columns)} columns; an index may have {_MOST} of your own")
    for name, kind in columns.items():
        _check_name(name)
        if not isinstance(kind, str) or kind not in KINDS:
            raise UserError(f"column {name!r} is of kind {shown(kind)}; choose {', '.join(KINDS)}")
    return dict(columns)


def own_fields(columns: Mapping[str, str]) -> list[pa.Field]:
    """Gives the fields of checked columns; any of their values may be null."""
    return [pa.field(name, KINDS[kind]) for name, kind in columns.items()]


def check_values(field: pa.Field, values: Sequence[Any]) -> None:
    """Checks the values of a column of one's own, as far as Arrow would make others of them.

    Raises:
      TypeError: one is of another kind.
    """
    if not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
        return
    for value in values:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{value} is not a number")
        fraction = isinstance(value, (float, np.floating)) and not math.isnan(value)
        if fraction and pa.types.is_integer(field.type) and value % 1:
            raise TypeError(f"{value} is not a whole number")


def _check_name(name: Any) -> None:
    """Checks the name of a column.

    Raises:
      UserError: it cannot be one, or is taken, or is a word of SQL, which no condition could name.
    """
    if not isinstance(name, str) or not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{_LONGEST - 1}}}", name):
        raise UserError(
            f"column {shown(name)}: a name has small letters, digits and _, begins with a letter "
            f"and has up to {_LONGEST} characters"
        )
    if name in _TAKEN or _NUMBERED.fullmatch(name):
        raise UserError(f"column {name!r} has a name that an index uses itself; choose another")
    from sqlglot import dialects

    if [token.token_type.name for token in dialects.Dialect().tokenize(name)] != ["VAR"]:
        raise UserError(f"column {name!r} is a word of SQL; choose another, as clip_{name}")
