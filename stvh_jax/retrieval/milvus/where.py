"""Conditions (`retrieval.where`) in Milvus's own language, as far as it has them.

    condition  = field (= | <> | < | <= | > | >=) literal, or the literal first
               | field [NOT] IN (literal, ...)
               | field IS [NOT] NULL
               | conditions joined by AND, OR, NOT and parentheses

Milvus 2.3 has no NULL. What is unknown is stored as a value that stands for it, and, as in SQL, no
comparison with it holds, nor the opposite of one.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from stvh_jax.retrieval.record import RECORD
from stvh_jax.retrieval.where import (
    Unreadable,
    bare,
    chain,
    check_parts,
    explaining,
    field_of,
    misplaced,
    tree_of,
)

if TYPE_CHECKING:
    from sqlglot.expressions.core import Expression

# What stands for NULL: no time or probability is near this number; an empty text says as
# little as none.
NULL_NUMBER, NULL_TEXT = -(2.0**127), ""

_ALWAYS, _NEVER = "clip == clip", "clip != clip"

_COMPARISONS = {"eq": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

_TURNED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def null_of(field: pa.Field) -> float | str | None:
    """Gives what stands for NULL in a field of the record; None if it is never null."""
    if not field.nullable:
        return None
    return NULL_TEXT if pa.types.is_string(field.type) else NULL_NUMBER


def quoted(text: str) -> str:
    """Writes a text as Milvus reads it."""
    return json.dumps(text, ensure_ascii=False)


def joined(conditions: Sequence[str], word: str) -> str:
    """Joins conditions by `and` or `or`.

    Each half is in parentheses: Milvus cannot read what is nested some 30 levels deep, as a plain
    chain is.
    """
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    halves = joined(conditions[:middle], word), joined(conditions[middle:], word)
    return f"({f' {word} '.join(halves)})"


def translate(where: str, record: pa.Schema = RECORD) -> str:
    """Translates a condition from SQL.

    Args:
      where: a condition on the fields of the record, as the module says.
      record: the fields as they are stored.

    Raises:
      UserError: a part is not understood; says which.
    """
    with explaining(where, record.names):
        return _condition(tree_of(where), record, opposite=False)


def _condition(node: "Expression", record: pa.Schema, *, opposite: bool) -> str:
    """Translates a condition, or, within NOT, its opposite: AND becomes OR and = becomes !=.

    So a comparison with NULL, which neither holds nor does its opposite, needs to say only that the
    field is not NULL.

    Raises:
      Unreadable: it is something that Milvus does not have.
    """
    node = bare(node)
    check_parts(node)
    kind = node.key
    if kind in ("and", "or"):
        parts = [_condition(part, record, opposite=opposite) for part in chain(node)]
        return joined(parts, kind if not opposite else {"and": "or", "or": "and"}[kind])
    if kind == "not":
        return _condition(node.this, record, opposite=not opposite)
    if kind in _COMPARISONS:
        left, right, operator = bare(node.this), bare(node.expression), _COMPARISONS[kind]
        if right.key == "column" and left.key != "column":
            left, right, operator = right, left, _TURNED[operator]
        field = _field(left, record)
        return _known(field, operator, _value(right, field), opposite)
    if kind == "in" and node.expressions:
        field = _field(node.this, record)
        values = [_value(value, field) for value in node.expressions]
        operator = "not in" if opposite else "in"
        return _known(field, operator, f"[{', '.join(values)}]", opposite=False)
    if kind == "is" and node.expression.key == "null":
        return _null_test(_field(node.this, record), not opposite)
    if kind in ("column", "literal"):
        raise Unreadable(f"a comparison (=, <, IN, IS NULL) is missing at '{node.sql()}'")
    raise misplaced(node, "a condition on Milvus")


def _field(node: "Expression", record: pa.Schema) -> pa.Field:
    """Gives the field of the record that a node is.

    Raises:
      Unreadable: it is something else.
    """
    node = bare(node)
    if node.key != "column":
        raise misplaced(node, "a condition on Milvus, which compares a field with a value")
    return record.field(field_of(node, record.names))


def _value(node: "Expression", field: pa.Field) -> str:
    """Writes a literal of a field's type as Milvus reads it.

    Raises:
      Unreadable: it is something else, or of another type.
    """
    node = bare(node)
    check_parts(node)
    negative = node.key == "neg"
    literal = bare(node.this) if negative else node
    if literal.key == "null":
        raise Unreadable(f"nothing equals NULL; write {field.name} IS NULL")
    if literal.key != "literal" or (negative and literal.is_string):
        raise Unreadable(
            f"a number or a text in single quotes is missing at {str(node.sql())[:100]!r}"
        )
    text = f"-{literal.this}" if negative else literal.this
    shown = text if len(text) < 50 else f"{text[:50]}..."
    if pa.types.is_string(field.type):
        if not literal.is_string:
            raise Unreadable(f"{field.name} is a text; write it as '{shown}'")
        return quoted(text)
    if literal.is_string:
        raise Unreadable(f"{field.name} is a number; write '{shown}' without quotes")
    if pa.types.is_integer(field.type):
        if not re.fullmatch(r"-?\d{1,19}", text) or not -(2**63) <= int(text) < 2**63:
            raise Unreadable(f"{field.name} is a whole number of 64 bits, {shown} is not")
        return text
    value = float(text)
    if math.isinf(value):
        raise Unreadable(f"{shown} is too large")
    return repr(value)


def _known(field: pa.Field, operator: str, value: str, opposite: bool) -> str:
    """Compares a field that is not NULL."""
    comparison = f"{field.name} {_OPPOSITE[operator] if opposite else operator} {value}"
    return comparison if not field.nullable else f"({_null_test(field, False)} and {comparison})"


def _null_test(field: pa.Field, null: bool) -> str:
    stands_for_null = null_of(field)
    if stands_for_null is None:
        return _NEVER if null else _ALWAYS
    text = quoted(NULL_TEXT) if stands_for_null == NULL_TEXT else repr(NULL_NUMBER)
    return f"{field.name} {'==' if null else '!='} {text}"
