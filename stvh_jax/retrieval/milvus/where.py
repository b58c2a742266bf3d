"""Conditions in SQL, as LanceDB reads them, translated to Milvus's own expressions.

    where      = condition {OR condition}, AND binds closer, NOT closer still; parentheses
    condition  = field (= | != | <> | < | <= | > | >=) value, or the value first
               | field [NOT] IN (value, ...)
               | field IS [NOT] NULL
    value      = a number, or a text in single quotes, '' for a quote within

Milvus 2.3 has no NULL. What is unknown is stored as a value that stands for it, and, as in SQL, no
comparison with it holds, nor the opposite of one.
"""

import json
import math
import re
from collections.abc import Sequence

import pyarrow as pa

from stvh_jax.errors import UserError
from stvh_jax.retrieval.index_info import listed
from stvh_jax.retrieval.record import RECORD

# What stands for NULL: no time or probability is near this number; an empty text says as
# little as none.
NULL_NUMBER, NULL_TEXT = -(2.0**127), ""

_ALWAYS, _NEVER = "clip == clip", "clip != clip"

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign><>|!=|<=|>=|==|[=<>(),])
    )""",
    re.VERBOSE,
)

_COMPARISONS = {"=": "==", "<>": "!="} | {sign: sign for sign in ("==", "!=", "<", "<=", ">", ">=")}

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

_TURNED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

_KEYWORDS = {"AND", "OR", "NOT", "IN", "IS", "NULL"}


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
      UserError: a word is not understood; says which.
    """
    return _Translation(where, record).result


class _Translation:
    """One condition, read from left to right.

    Every part is translated as it is, or, within NOT, as its opposite: AND becomes OR and = becomes
    !=. So a comparison with NULL, which neither holds nor does its opposite, needs to say only that
    the field is not NULL.
    """

    def __init__(self, where: str, record: pa.Schema):
        self._where, self._record = where, record
        self._tokens = self._split()
        self._place = 0
        self.result = self._alternatives(opposite=False)
        if self._kind is not None:
            raise self._error(f"AND or OR is missing {self._here}")

    def _split(self) -> list[tuple[str | None, str]]:
        """Gives the kind and the text of every token, and an end."""
        tokens, place, text = [], 0, self._where.rstrip()
        while place < len(text):
            token = _TOKEN.match(text, place)
            if token is None or token.lastgroup is None:
                raise self._error(f"{text[place:].split()[0]!r} is not understood")
            tokens.append((token.lastgroup, token[token.lastgroup]))
            place = token.end()
        return [*tokens, (None, "")]

    @property
    def _kind(self) -> str | None:
        return self._tokens[self._place][0]

    @property
    def _token(self) -> str:
        return self._tokens[self._place][1]

    @property
    def _here(self) -> str:
        return "at its end" if self._kind is None else f"before {self._token!r}"

    def _next(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1][1]

    def _takes(self, *expected: str) -> bool:
        """Goes past the next tokens if they are keywords or signs expected."""
        coming = self._tokens[self._place : self._place + len(expected)]
        texts = [token.upper() for kind, token in coming if kind in ("word", "sign")]
        if texts != list(expected):
            return False
        self._place += len(expected)
        return True

    def _needs(self, expected: str) -> None:
        if not self._takes(expected):
            raise self._error(f"{expected} is missing {self._here}")

    def _alternatives(self, opposite: bool) -> str:
        parts = [self._joint(opposite)]
        while self._takes("OR"):
            parts.append(self._joint(opposite))
        return joined(parts, "and" if opposite else "or")

    def _joint(self, opposite: bool) -> str:
        parts = [self._single(opposite)]
        while self._takes("AND"):
            parts.append(self._single(opposite))
        return joined(parts, "or" if opposite else "and")

    def _single(self, opposite: bool) -> str:
        if self._takes("NOT"):
            return self._single(not opposite)
        if self._takes("("):
            inner = self._alternatives(opposite)
            self._needs(")")
            return inner
        if self._kind in ("text", "number"):
            return self._value_first(opposite)
        field = self._field()
        if self._takes("IS", "NOT", "NULL"):
            return _null_test(field, opposite)
        if self._takes("IS", "NULL"):
            return _null_test(field, not opposite)
        if self._takes("NOT", "IN"):
            return self._one_of(field, not opposite)
        if self._takes("IN"):
            return self._one_of(field, opposite)
        operator = self._operator()
        return _known(field, operator, self._value(field), opposite)

    def _value_first(self, opposite: bool) -> str:
        place = self._place
        self._next()
        operator, field = self._operator(), self._field()
        after, self._place = self._place, place
        value, self._place = self._value(field), after
        return _known(field, _TURNED[operator], value, opposite)

    def _field(self) -> pa.Field:
        name = self._token.lower()
        if self._kind != "word" or self._token.upper() in _KEYWORDS:
            raise self._error(f"a field is missing {self._here}")
        if name not in self._record.names:
            raise self._error(f"there is no field {self._token!r}")
        self._next()
        return self._record.field(name)

    def _operator(self) -> str:
        if self._token not in _COMPARISONS:
            raise self._error(f"a comparison (=, <, IN, IS NULL) is missing {self._here}")
        return _COMPARISONS[self._next()]

    def _one_of(self, field: pa.Field, opposite: bool) -> str:
        self._needs("(")
        values = [self._value(field)]
        while self._takes(","):
            values.append(self._value(field))
        self._needs(")")
        operator = "not in" if opposite else "in"
        return _known(field, operator, f"[{', '.join(values)}]", opposite=False)

    def _value(self, field: pa.Field) -> str:
        """Reads a value, as Milvus has it, of the field's type."""
        kind, token = self._kind, self._token
        if kind not in ("text", "number"):
            if token.upper() == "NULL":
                raise self._error(f"nothing equals NULL; write {field.name} IS NULL")
            raise self._error(f"a number or a text in single quotes is missing {self._here}")
        self._next()
        if pa.types.is_string(field.type):
            if kind == "number":
                raise self._error(f"{field.name} is a text; write it as '{token}'")
            return quoted(token[1:-1].replace("''", "'"))
        if kind == "text":
            raise self._error(f"{field.name} is a number; write {token} without quotes")
        if pa.types.is_integer(field.type):
            if not re.fullmatch(r"-?\d+", token) or not -(2**63) <= int(token) < 2**63:
                raise self._error(f"{field.name} is a whole number of 64 bits, {token} is not")
            return token
        value = float(token)
        if math.isinf(value):
            raise self._error(f"{token} is too large")
        return repr(value)

    def _error(self, cause: str) -> UserError:
        fields = listed(self._record.names)
        return UserError(f"where {self._where!r}: {cause}; the fields are {fields}")


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
