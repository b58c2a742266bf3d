"""Conditions on clips, evaluated over columns in memory as Lance evaluates them on disk.

SQL knows three truths. What is asked here is always one of two questions, of which rows a condition
is true, and of which it is false; of the rest it is not known. So NOT asks the other question, and
what is not known needs no place of its own.

What Lance does in a way of its own (types that do not fit, whole numbers that overflow, the letters
of other alphabets) is left to it, by raising `Elsewhere`: a condition means the same everywhere.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64

from stvh_jax.retrieval.lance.columns import Coded, Column, Floats
from stvh_jax.retrieval.where import ARITHMETIC, COMPARISONS, PATTERNS, bare, chain, number_of

if TYPE_CHECKING:
    from sqlglot.expressions.core import Expression

# Rows evaluated at a time, so that what is computed on the way stays in a core's cache.
_ROWS = 1 << 17

# The longest pattern that is matched here: longer ones are too much for an automaton.
_LONGEST_PATTERN = 1000

_OPPOSITES = {"eq": "neq", "neq": "eq", "lt": "gte", "gte": "lt", "gt": "lte", "lte": "gt"}
# By the names of comparisons: NumPy's, in which what is not known (NaN) is neither less nor more,
# and Arrow's.
_OF_NUMBERS: dict[str, Callable] = {
    "eq": operator.eq, "lt": operator.lt, "lte": operator.le, "gt": operator.gt,
    "gte": operator.ge, "neq": lambda a, b: (a < b) | (a > b),
}  # fmt: skip
_OF_VALUES = {
    "eq": "equal", "neq": "not_equal", "lt": "less", "lte": "less_equal", "gt": "greater",
    "gte": "greater_equal",
}  # fmt: skip
_CALCULATED: dict[str, Callable] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "mod": np.fmod
}  # fmt: skip
_CONDITIONS = {"and", "or", "not", "in", "between", "is", "boolean", *COMPARISONS, *PATTERNS}

Mask = Bool[np.ndarray, "m"]
# Says of each of some rows whether something is so.
Test = Callable[[slice], Mask]
Number = int | float | Callable[[slice], Float64[np.ndarray, "m"]]


class Elsewhere(Exception):
    """A condition, or a part of it, that is left to Lance."""


@runtime_checkable
class Clips(Protocol):
    """The clips that conditions are about.

    Attributes:
      fields: what is told of them.
    """

    fields: pa.Schema

    def __len__(self) -> int:
        """Counts them."""
        ...

    def column(self, name: str) -> Column:
        """Gives a column of their record."""
        ...

    def named(self, clips: Sequence[str]) -> Callable[[slice], Mask] | None:
        """Says which rows have one of some names; None if this is not known without a column."""
        ...


def rows_that_meet(tree: "Expression", clips: Clips) -> Bool[np.ndarray, "M"]:
    """Says of which clips a condition is true.

    Args:
      tree: the condition, checked by `where.read`.
      clips: theirs.

    Raises:
      Elsewhere: Lance has to evaluate it.
    """
    test = _Reader(clips).condition(tree, True)
    met = np.empty(len(clips), bool)
    with np.errstate(all="ignore"):
        for start in range(0, len(met), _ROWS):
            rows = slice(start, min(start + _ROWS, len(met)))
            met[rows] = test(rows)
    return met


class _Reader:
    """Makes tests of the parts of a condition."""

    def __init__(self, clips: Clips):
        self._clips = clips

    def condition(self, node: "Expression", truth: bool) -> Test:
        """Makes the test whether a condition has a truth, which is not so where it is unknown."""
        node = bare(node)
        kind = node.key
        if kind in ("and", "or"):
            tests = [self.condition(part, truth) for part in chain(node)]
            return _joined(tests, all_of=(kind == "and") == truth)
        if kind == "not":
            return self.condition(node.this, not truth)
        if kind == "boolean":
            return _always(bool(node.this) == truth)
        if kind == "is":
            return self._is(node.this, bare(node.expression), truth)
        if node.args.get("negate"):
            truth = not truth
        if kind in COMPARISONS:
            return self._comparison(kind, node.this, node.expression, truth)
        if kind == "between":
            value, low, high = (node.args[name] for name in ("this", "low", "high"))
            ends = [self._comparison("gte", value, low, truth)]
            ends.append(self._comparison("lte", value, high, truth))
            return _joined(ends, all_of=truth)
        if kind == "in":
            return self._in(bare(node.this), [bare(each) for each in node.expressions], truth)
        if kind in PATTERNS:
            return self._like(bare(node.this), bare(node.expression), truth, fold=kind == "ilike")
        raise Elsewhere

    def _is(self, value: "Expression", what: "Expression", truth: bool) -> Test:
        """Makes the test of IS NULL, IS TRUE or IS FALSE, which is always known."""
        value = bare(value)
        if what.key == "boolean":
            if value.key in _CONDITIONS:
                test = self.condition(value, bool(what.this))
            else:
                column = self._coded(value, pa.types.is_boolean)
                test = _of_column(column, "equal", pa.scalar(bool(what.this)))
        elif value.key in _CONDITIONS:
            known = [self.condition(value, each) for each in (True, False)]
            test = _opposite(_joined(known, all_of=False))
        elif value.key == "column":
            column = self._clips.column(value.name.lower())
            if isinstance(column, Coded):
                test = _of_column(column, "is_null")
            else:
                test = functools.partial(_is_nan, column.values)
        else:
            raise Elsewhere
        return test if truth else _opposite(test)

    def _comparison(self, kind: str, left: "Expression", right: "Expression", truth: bool) -> Test:
        """Makes the test whether a comparison is true, or whether it is false."""
        kind = kind if truth else _OPPOSITES[kind]
        left, right = bare(left), bare(right)
        if self._is_number(left) and self._is_number(right):
            first, second = self._number(left), self._number(right)
            return _compared(_OF_NUMBERS[kind], first, second)
        if right.key == "column" and left.key != "column":
            left, right = right, left
            kind = {"lt": "gt", "gt": "lt", "lte": "gte", "gte": "lte"}.get(kind, kind)
        if _is_text(right) and kind in ("eq", "neq"):
            named = self._named(left, [right.this])
            if named is not None:
                return named if kind == "eq" else _opposite(named)
        if right.key == "column":
            columns = [self._coded(each, pa.types.is_string) for each in (left, right)]
            return functools.partial(_row_by_row, _OF_VALUES[kind], *columns)
        scalar = _scalar(right)
        if pa.types.is_boolean(scalar.type) and kind not in ("eq", "neq"):
            raise Elsewhere
        if _is_text(left) and _is_text(right):
            return _always(_call(_OF_VALUES[kind], _scalar(left), scalar).as_py())
        return _of_column(self._coded(left, scalar.type.equals), _OF_VALUES[kind], scalar)

    def _in(self, value: "Expression", listed: list["Expression"], truth: bool) -> Test:
        """Makes the test of IN, or of NOT IN: where null is listed, nothing else is surely not."""
        known = [each for each in listed if each.key != "null"]
        # Where null is listed, nothing is surely not among the others.
        never = len(known) < len(listed) and not truth
        if self._is_number(value) and all(map(_is_literal_number, known)):
            number = self._number(value)
            if not callable(number):
                raise Elsewhere
            values = np.array([_literal(each) for each in known], np.float64)
            test = functools.partial(_among, number, values, truth)
        elif all(map(_is_text, known)):
            test = self._among_texts(value, [each.this for each in known], truth)
        else:
            raise Elsewhere
        return _always(False) if never else test

    def _among_texts(self, value: "Expression", texts: list[str], truth: bool) -> Test:
        named = self._named(value, texts)
        if named is not None:
            return named if truth else _opposite(named)
        column = self._coded(value, pa.types.is_string)
        options = pc.SetLookupOptions(pa.array(texts, pa.string()))
        found = pc.call_function("is_in", [column.values], options)
        unknown = pa.scalar(None, pa.bool_())
        found = _call("if_else", _call("is_null", column.values), unknown, found)
        return column.test(found if truth else _call("invert", found))

    def _like(self, value: "Expression", pattern: "Expression", truth: bool, *, fold: bool) -> Test:
        """Makes the test of LIKE, or of ILIKE."""
        column = self._coded(value, pa.types.is_string)
        if not _is_text(pattern) or "\\" in pattern.this or len(pattern.this) > _LONGEST_PATTERN:
            raise Elsewhere
        if fold and not (pattern.this.isascii() and _all_ascii(column.values)):
            raise Elsewhere
        options = pc.MatchSubstringOptions(pattern.this, ignore_case=fold)
        found = pc.call_function("match_like", [column.values], options)
        return column.test(found if truth else _call("invert", found))

    def _named(self, value: "Expression", texts: list[str]) -> Test | None:
        """Makes the test whether a clip has one of some names, if it is its name that counts."""
        return self._clips.named(texts) if _is_field(value, "clip") else None

    def _coded(self, node: "Expression", fits: Callable[[pa.DataType], bool]) -> Coded:
        """Gives a column whose values are of a type."""
        if node.key != "column":
            raise Elsewhere
        name = node.name.lower()
        if not fits(self._clips.fields.field(name).type):
            raise Elsewhere
        column = self._clips.column(name)
        assert isinstance(column, Coded)  # as all columns but those of fractions are
        return column

    def _is_number(self, node: "Expression") -> bool:
        """Says whether a value is a fraction, or a number that is written down."""
        if node.key == "column":
            return pa.types.is_float64(self._clips.fields.field(node.name.lower()).type)
        return node.key in ("neg", *ARITHMETIC) or _is_literal_number(node)

    def _number(self, node: "Expression") -> Number:
        """Gives a number, or what computes it of each row."""
        node = bare(node)
        if node.key == "column" and self._is_number(node):
            column = self._clips.column(node.name.lower())
            assert isinstance(column, Floats)
            return column.values.__getitem__
        if node.key == "literal":
            return _literal(node)
        if node.key == "neg":
            value = self._number(node.this)
            return (lambda rows: -value(rows)) if callable(value) else -value
        if node.key in ARITHMETIC:
            left, right = self._number(node.this), self._number(node.expression)
            return _calculated(node.key, left, right)
        raise Elsewhere


def _calculated(kind: str, left: Number, right: Number) -> Number:
    """Computes with two numbers.

    Raises:
      Elsewhere: both are whole and are divided, or their result is larger than 64 bits hold.
    """
    if isinstance(left, int) and isinstance(right, int):
        if kind not in ("add", "sub", "mul"):
            raise Elsewhere
        whole = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}[kind](left, right)
        if not -(1 << 63) <= whole < 1 << 63:
            raise Elsewhere
        return whole
    if callable(left) or callable(right):
        return lambda rows: _result(kind, _at(left, rows), _at(right, rows))
    return float(_result(kind, left, right))


def _result(kind: str, first: Any, second: Any) -> Any:
    """Computes with two fractions, or columns of them.

    Raises:
      Elsewhere: a result is no number though both are, as of 0 / 0: Lance gives it a place by its
        sign.
    """
    first, second = np.float64(first), np.float64(second)
    result = _CALCULATED[kind](first, second)
    if (np.isnan(result) != (np.isnan(first) | np.isnan(second))).any():
        raise Elsewhere
    return result


def _compared(compare: Callable, left: Number, right: Number) -> Test:
    if not callable(left) and not callable(right):
        if isinstance(left, float) or isinstance(right, float):
            left, right = float(left), float(right)
        return _always(bool(compare(left, right)))
    # A whole number is compared as the fraction nearest to it.
    return lambda rows: compare(np.float64(_at(left, rows)), np.float64(_at(right, rows)))


def _among(number: Callable, values: Float64[np.ndarray, "v"], truth: bool, rows: slice) -> Mask:
    """Says of which rows a number is among some values, or surely is not."""
    numbers = number(rows)
    found = np.isin(numbers, values)
    return found if truth else ~(found | np.isnan(numbers))


def _at(number: Number, rows: slice) -> Any:
    return number(rows) if callable(number) else number


def _literal(node: "Expression") -> int | float:
    """Gives a number that is written down, after its signs.

    Raises:
      Elsewhere: it is too large for 64 bits, and Lance chooses what becomes of it.
    """
    if node.key == "neg":
        return -_literal(bare(node.this))
    text = number_of(node.this)
    if not text.isdecimal():
        return float(text)
    if int(text) >= 1 << 63:
        raise Elsewhere
    return int(text)


def _scalar(node: "Expression") -> pa.Scalar:
    """Gives a text, a truth or a whole number that is written down."""
    if node.key == "boolean":
        return pa.scalar(bool(node.this))
    if _is_text(node):
        return pa.scalar(node.this)
    number = _literal(node) if _is_literal_number(node) else None
    if not isinstance(number, int):
        raise Elsewhere
    return pa.scalar(number, pa.int64())


def _is_literal_number(node: "Expression") -> bool:
    while node.key == "neg":
        node = bare(node.this)
    return node.key == "literal" and not node.is_string


def _is_text(node: "Expression") -> bool:
    return node.key == "literal" and node.is_string


def _is_field(node: "Expression", name: str) -> bool:
    return node.key == "column" and node.name.lower() == name


def _all_ascii(values: pa.Array) -> bool:
    return bool(_call("all", _call("string_is_ascii", values)).as_py() is not False)


def _of_column(column: Coded, function: str, *arguments: Any) -> Test:
    """Makes the test whether a function holds of a row's value."""
    return column.test(_call(function, column.values, *arguments))


def _joined(tests: Sequence[Test], *, all_of: bool) -> Test:
    """Makes the test whether all of some tests are met, or any of them."""
    join = np.logical_and if all_of else np.logical_or

    def joined(rows: slice) -> Mask:
        met = tests[0](rows)
        for test in tests[1:]:
            met = join(met, test(rows))
        return met

    return joined


def _opposite(test: Test) -> Test:
    return lambda rows: ~test(rows)


def _always(truth: bool) -> Test:
    return lambda rows: np.full(rows.stop - rows.start, truth)


def _is_nan(values: Float64[np.ndarray, "M"], rows: slice) -> Mask:
    return np.isnan(values[rows])


def _row_by_row(function: str, first: Coded, second: Coded, rows: slice) -> Mask:
    """Says for which rows a function holds of their values in two columns."""
    holds = _call(function, first.taken(rows), second.taken(rows))
    return _call("coalesce", holds, pa.scalar(False)).to_numpy(zero_copy_only=False)


def _call(name: str, *arguments: Any) -> Any:
    return pc.call_function(name, list(arguments))
