"""Conditions on clips (`where`): read, checked, and written anew for the engine.

    condition  = conditions joined by AND, OR, NOT and parentheses
               | value (= | == | <> | != | < | <= | > | >=) value
               | value [NOT] IN (value, ...)      | value [NOT] BETWEEN value AND value
               | value [NOT] LIKE pattern (ILIKE) | value IS [NOT] (NULL | TRUE | FALSE)
    value      = a field, a number, a text in single quotes, TRUE, FALSE, NULL
               | -value, value (+ | - | * | / | %) value
               | CAST(value AS type), TRY_CAST(...), LOWER(value), UPPER(value), LENGTH(value)

An engine never sees what the user wrote: the parsers of some overflow their stack, or take forever,
where it is long or deeply nested. It gets what is written here from the parsed tree, in which long
chains of AND and OR are a few levels deep.
"""

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.index_info import listed

if TYPE_CHECKING:
    from sqlglot.expressions.core import Expression

# The longest condition: an IN list of some ten thousand values.
MOST_CHARACTERS = 1 << 17

# How deep a condition may be nested, chains of AND or OR counted as _CHAIN says; and brackets, of
# which some only repeat what is clear.
DEEPEST, _BRACKETS = 16, 40

# So many conditions in a row stay a plain chain; more become a chain of chains.
_CHAIN = 32

# The most of a condition that a message repeats.
_SHOWN = 200

COMPARISONS = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%"}
PATTERNS = {"like": "LIKE", "ilike": "ILIKE"}
_FUNCTIONS = {"lower": "LOWER", "upper": "UPPER", "length": "LENGTH"}
_TYPES = {
    "BIGINT": "BIGINT", "INT": "INT", "DOUBLE": "DOUBLE", "FLOAT": "FLOAT",
    "TEXT": "STRING", "VARCHAR": "STRING",
}  # fmt: skip

# The words and signs that conditions consist of, as the tokenizer calls them.
_TOKENS = {
    "VAR", "IDENTIFIER", "STRING", "NUMBER", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE",
    "IS", "NULL", "TRUE", "FALSE", "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "PLUS", "DASH", "STAR",
    "SLASH", "MOD", "L_PAREN", "R_PAREN", "COMMA", "DOT", "ALIAS", *_TYPES,
}  # fmt: skip

# What the nodes of a tree may hold; those that are not here hold `this` and `expression`.
_PARTS = {
    "column": {"this"},
    "identifier": {"this", "quoted"},
    "literal": {"this", "is_string"},
    "in": {"this", "expressions"},
    "between": {"this", "low", "high"},
    "cast": {"this", "to"},
    "trycast": {"this", "to", "safe"},
    "like": {"this", "expression", "negate"},
    "ilike": {"this", "expression", "negate"},
    "datatype": {"this"},
}


class Unreadable(Exception):
    """A condition that cannot be read; says why."""


@contextlib.contextmanager
def explaining(where: str, fields: Sequence[str]) -> Iterator[None]:
    """Turns `Unreadable` into a user's error that shows the condition and names the fields.

    Raises:
      UserError: instead of `Unreadable`, or where Python's own stack ends.
    """
    try:
        yield
    except Unreadable as error:
        cause = error
    except RecursionError:
        cause = "it is nested too deeply"
    else:
        return
    raise UserError(
        f"where {shown(where, _SHOWN)}: {cause}; the fields are {listed(fields)}"
    ) from None


def as_sql(where: str, fields: Sequence[str]) -> str:
    """Reads a condition and writes it in plain SQL, every part in parentheses.

    Args:
      where: a condition, as the module says.
      fields: the fields that it may name.

    Raises:
      UserError: it is something else; says what.
    """
    return read(where, fields)[1]


def read(where: str, fields: Sequence[str]) -> tuple["Expression", str]:
    """Reads a condition: gives its tree, all of it checked, beside what `as_sql` gives.

    Raises:
      UserError: as there.
    """
    with explaining(where, fields):
        tree = tree_of(where)
        return tree, _condition(tree, fields)


def tree_of(where: str) -> "Expression":
    """Parses a condition; what its nodes are remains to be checked.

    Raises:
      Unreadable: it is not SQL, or too long or too deeply nested.
    """
    from sqlglot import dialects, errors, expressions

    if len(where) > MOST_CHARACTERS:
        raise Unreadable(
            f"it has {len(where)} characters, {MOST_CHARACTERS} are the most; divide it, or name "
            "fewer values"
        )
    try:
        where.encode()
        dialect = dialects.Dialect()
        tokens = dialect.tokenize(where)
    except UnicodeEncodeError:
        raise Unreadable("it holds characters that are no text") from None
    except errors.TokenError:
        raise Unreadable("a quote in it is not closed") from None
    _check_tokens(where, tokens)
    try:
        trees = dialect.parser().parse_into(expressions.Condition, tokens, where)
    except errors.ParseError as error:
        raise Unreadable(_parse_error(error)) from None
    tree = trees[0]
    if len(trees) != 1 or tree is None:
        raise Unreadable("it is not one condition")
    _check_depth(tree)
    return tree


def bare(node: "Expression") -> "Expression":
    """Gives a node without the parentheses around it."""
    while node.key == "paren":
        node = node.this
    return node


def chain(node: "Expression") -> list["Expression"]:
    """Gives the parts that a chain of AND, or of OR, joins, in their order."""
    parts, waiting = [], [node]
    while waiting:
        part = bare(waiting.pop())
        if part.key == node.key:
            waiting += [part.expression, part.this]
        else:
            parts.append(part)
    return parts


def field_of(column: "Expression", fields: Sequence[str]) -> str:
    """Gives the field that a column is.

    Raises:
      Unreadable: there is none of this name.
    """
    check_parts(column)
    name = column.name
    if name.lower() not in fields:
        raise Unreadable(f"there is no field {shown(name)}")
    return name.lower()


def check_parts(node: "Expression") -> None:
    """Checks that a node says no more than what is read of it.

    Raises:
      Unreadable: it does.
    """
    held = {name for name, value in node.args.items() if value not in (None, False, "", [])}
    if held - _PARTS.get(node.key, {"this", "expression"}):
        raise misplaced(node)


def misplaced(node: "Expression", place: str = "a condition") -> Unreadable:
    """Says that a node is not allowed in a condition."""
    return Unreadable(f"{shown(_text_of(node))} is not allowed in {place}")


def _text_of(node: "Expression") -> str:
    # Writing SQL from a tree is recursive; only as much is written as its depth was checked for.
    try:
        return node.sql()
    except Exception:
        return node.key.upper()


def _check_tokens(where: str, tokens: Sequence[Any]) -> None:
    """Checks the words and signs of a condition before anything parses them.

    Raises:
      Unreadable: there are none, or one is not allowed in a condition, or brackets and NOTs are
        nested too deeply for a parser's stack.
    """
    comments = any(token.comments for token in tokens)
    if comments or (not tokens and where.strip()):
        mark = "--" if "--" in where else "/*"
        raise Unreadable(f"{mark!r} is not allowed in a condition")
    if not tokens:
        raise Unreadable("it is empty")
    open_brackets = prefixes = 0
    for token in tokens:
        kind = token.token_type.name
        if kind not in _TOKENS:
            raise Unreadable(f"{shown(token.text)} is not allowed in a condition")
        open_brackets += (kind == "L_PAREN") - (kind == "R_PAREN")
        prefixes = prefixes + 1 if kind in ("NOT", "DASH", "PLUS") else 0
        if open_brackets + prefixes > _BRACKETS:
            raise Unreadable("it is nested too deeply")


def _check_depth(tree: "Expression") -> None:
    """Checks how deep a tree is, without going down into it as functions would.

    Raises:
      Unreadable: it is too deep.
    """
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        node = bare(node)
        if depth > DEEPEST:
            raise Unreadable(f"it is nested more than {DEEPEST} levels deep")
        if node.key in ("and", "or"):
            parts = chain(node)
            levels = math.ceil(math.log(len(parts), _CHAIN))
            waiting += [(part, depth + levels) for part in parts]
        elif node.key != "column":
            waiting += [(child, depth + 1) for child in node.iter_expressions()]


def _parse_error(error: Any) -> str:
    """Gives the first error of the parser in plain words."""
    first = (error.errors or [{}])[0]
    cause, near = first.get("description") or "", shown(first.get("highlight") or "")
    if "missing for" in cause:  # an operator's class, of the parser's own
        return f"a value or a condition is missing after {near}"
    if cause.startswith("Expecting"):
        return f"{cause.split()[1]} is missing after {near}"
    return f"{near} is not understood there; is AND or OR missing?"


def _condition(node: "Expression", fields: Sequence[str]) -> str:
    """Writes a condition.

    Raises:
      Unreadable: it is something else.
    """
    node = bare(node)
    check_parts(node)
    kind = node.key
    if kind in ("and", "or"):
        return _joined([_condition(part, fields) for part in chain(node)], kind.upper())
    if kind == "not":
        return f"(NOT {_condition(node.this, fields)})"
    if kind in COMPARISONS or kind in PATTERNS:
        operator = (COMPARISONS | PATTERNS)[kind]
        written = f"({_value(node.this, fields)} {operator} {_value(node.expression, fields)})"
        return f"(NOT {written})" if node.args.get("negate") else written
    if kind == "in":
        values = [_value(value, fields) for value in node.expressions]
        if not values:
            raise Unreadable("IN needs values in parentheses")
        return f"({_value(node.this, fields)} IN ({', '.join(values)}))"
    if kind == "between":
        value, low, high = (_value(node.args[name], fields) for name in ("this", "low", "high"))
        return f"({value} BETWEEN {low} AND {high})"
    if kind == "is" and node.expression.key in ("null", "boolean"):
        return f"({_value(node.this, fields)} IS {_value(node.expression, fields)})"
    if kind == "boolean":
        return _value(node, fields)
    raise Unreadable(f"a comparison (=, <, IN, IS NULL) is missing at {shown(_text_of(node))}")


def _value(node: "Expression", fields: Sequence[str]) -> str:
    """Writes a value, or a condition that is compared as one.

    Raises:
      Unreadable: it is something else.
    """
    node = bare(node)
    check_parts(node)
    kind = node.key
    if kind == "column":
        return field_of(node, fields)
    if kind == "literal":
        return quoted(node.this) if node.is_string else number_of(node.this)
    if kind in ("null", "boolean"):
        return "NULL" if kind == "null" else str(node.this).upper()
    if kind == "neg":
        return f"(- {_value(node.this, fields)})"
    if kind in ARITHMETIC:
        left, right = _value(node.this, fields), _value(node.expression, fields)
        return f"({left} {ARITHMETIC[kind]} {right})"
    if kind in _FUNCTIONS:
        return f"{_FUNCTIONS[kind]}({_value(node.this, fields)})"
    if kind in ("cast", "trycast"):
        check_parts(node.args["to"])
        type_ = _TYPES.get(getattr(node.args["to"].this, "name", ""))
        if type_ is None:
            raise Unreadable(f"there is no type {shown(_text_of(node.args['to']))}")
        function = "CAST" if kind == "cast" else "TRY_CAST"
        return f"{function}({_value(node.this, fields)} AS {type_})"
    if kind in ("and", "or", "not", "in", "between", "is", *COMPARISONS, *PATTERNS):
        return _condition(node, fields)
    raise misplaced(node)


def _joined(conditions: list[str], word: str) -> str:
    """Joins conditions, many of them as a chain of chains."""
    while len(conditions) > 1:
        conditions = [
            f"({f' {word} '.join(conditions[start : start + _CHAIN])})"
            for start in range(0, len(conditions), _CHAIN)
        ]
    return conditions[0]


def quoted(text: str) -> str:
    """Writes a text as SQL has it."""
    quotes = text.replace("'", "''")
    return f"'{quotes}'"


def number_of(text: str) -> str:
    """Writes a number; one that no integer of 64 bits holds as a fraction, as engines read it."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return text
    try:
        value = float(text)
    except ValueError:
        raise Unreadable(f"{shown(text)} is not a number") from None
    if math.isinf(value):
        raise Unreadable(f"{shown(text)} is too large")
    return str(int(text)) if re.fullmatch(r"[0-9]{19}", text) else repr(value)
