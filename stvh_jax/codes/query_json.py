"""Linear queries as plain values, for JSON, and back: what is read may come from anybody."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stvh_jax.codes import query_kinds
from stvh_jax.codes.linear_query import Codes, LinearQuery, Sum
from stvh_jax.codes.query_kinds import ByName, FromClip, FromCodes, Like, TowardClass, TowardClassOf
from stvh_jax.errors import UserError, shown

# How deep queries may stand in one another.
_DEEPEST = 16


def to_json(query: LinearQuery) -> dict[str, Any]:
    """Gives plain values: `kind`, and what makes a query of this kind."""
    match query:
        case FromCodes(codes):
            return {"kind": "codes", "codes": _codes_to_json(codes)}
        case FromClip(relaxed):
            by_focus = {str(focus): h.tolist() for focus, h in relaxed.items()}
            return {"kind": "clip", "relaxed": by_focus}
        case TowardClassOf(codes):
            return {"kind": "class of codes", "codes": _codes_to_json(codes)}
        case TowardClass(probabilities):
            return {"kind": "class", "probabilities": probabilities.tolist()}
        case ByName(activity):
            return {"kind": "activity", "activity": activity}
        case Like(these, not_like, prior):
            return {
                "kind": "like",
                "these": _codes_to_json(these),
                "not_like": _codes_to_json(not_like),
                "prior": None if prior is None else to_json(prior),
            }
        case Sum(terms):
            return {"kind": "sum", "terms": [[factor, to_json(each)] for factor, each in terms]}
    raise TypeError(f"no linear query: {type(query).__name__}")


def from_json(values: Any) -> LinearQuery:
    """Reads what `to_json` gave.

    Raises:
      UserError: it is something else.
    """
    try:
        return _read(values, depth=0)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        name = type(error).__name__
        raise UserError(f"the query cannot be read ({name}: {shown(str(error))})") from error


def _read(values: Any, *, depth: int) -> LinearQuery:
    if depth > _DEEPEST:
        raise ValueError(f"queries stand in one another more than {_DEEPEST} deep")
    read = _READERS.get(values["kind"])
    if read is None:
        raise ValueError(f"{values['kind']!r} is not a kind of query")
    return read(values, depth + 1)


def _read_like(values: Mapping[str, Any], depth: int) -> LinearQuery:
    prior = values["prior"]
    return query_kinds.like(
        _codes_from_json(values["these"]),
        not_like=_codes_from_json(values["not_like"]),
        prior=None if prior is None else _read(prior, depth=depth),
    )


def _read_sum(values: Mapping[str, Any], depth: int) -> LinearQuery:
    terms = [float(factor) * _read(each, depth=depth) for factor, each in values["terms"]]
    if not terms:
        raise ValueError("a sum of nothing")
    total, *others = terms
    for each in others:
        total = total + each
    return total


_READERS: dict[str, Callable[[Mapping[str, Any], int], LinearQuery]] = {
    "codes": lambda values, _: query_kinds.from_codes(_codes_from_json(values["codes"])),
    "clip": lambda values, _: query_kinds.from_clip(
        {int(focus): h for focus, h in values["relaxed"].items()}
    ),
    "class": lambda values, _: query_kinds.toward_class(values["probabilities"]),
    "class of codes": lambda values, _: query_kinds.toward_class_of(
        _codes_from_json(values["codes"])
    ),
    "activity": lambda values, _: query_kinds.by_name(values["activity"]),
    "like": _read_like,
    "sum": _read_sum,
}


def _codes_to_json(codes: Codes) -> Any:
    """Gives codes in hexadecimal digits, a list for several clips, by focus or not."""
    if isinstance(codes, Mapping):
        return {str(focus): _codes_to_json(array) for focus, array in codes.items()}
    if codes.ndim == 1:
        return codes.tobytes().hex()
    return [codes.shape[1], *(code.tobytes().hex() for code in codes)]


def _codes_from_json(values: Any) -> Any:
    if isinstance(values, dict):
        return {int(focus): _codes_from_json(each) for focus, each in values.items()}
    if isinstance(values, str):
        return np.frombuffer(bytes.fromhex(values), np.uint8)
    size, *codes = values
    array = np.frombuffer(bytes.fromhex("".join(codes)), np.uint8)
    return array.reshape(len(codes), size)
