"""Conditions mean what SQL's mean, and one that cannot be evaluated is refused in one line."""

import itertools
import operator
import random
import re

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.lance.conditions import Elsewhere, rows_that_meet
from stvh_jax.retrieval.record import RECORD
from stvh_jax.retrieval.where import DEEPEST, MOST_CHARACTERS, as_sql

NUMBERS, TEXTS = ("start", "stop", "confidence"), ("match", "clip", "activity", "media")
SIGNS = {
    "=": operator.eq, "==": operator.eq, "<>": operator.ne, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Gives an index of a few clips, some fields unknown, and their records."""
    values = itertools.product(["1", "2", "it's"], [None, 0.0, 1.5, 2.0], [None, "a_b", "axb", "A"])
    records = [
        {
            "match": match,
            "clip": str(number),
            "start": start,
            "stop": None if start is None else start + number % 3,
            "confidence": None if number % 5 == 0 else number % 4 / 4,
            "activity": activity,
            "media": None if number % 7 == 0 else f"{match}/{number % 4}.mp4",
        }
        for number, (match, start, activity) in enumerate(values)
    ]
    index = Index.create(tmp_path_factory.mktemp("where") / "index", bits=8, stored_foci=(0,))
    columns = {name: [record[name] for record in records] for name in records[0]}
    index.add(np.zeros((len(records), 1), np.uint8), **columns)
    return index, records


def unknown(function):
    """Makes a function that is not known where one of its arguments is not."""
    return lambda *values: None if None in values else function(*values)


def both(left, right):
    return False if False in (left, right) else (None if None in (left, right) else True)


def not_(value):
    return None if value is None else not value


def pattern(text, like):
    parts = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(parts.get(c) or re.escape(c) for c in like), text))


class Drawn:
    """Draws conditions: gives each as SQL, and as a function of a record: true, false or None."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def condition(self, depth):
        kind = self.random.choice(["and", "or", "not", "and"] if depth else ["leaf"])
        if kind == "leaf":
            return self.random.choice(
                [self.comparison, self.in_list, self.between, self.like, self.null, self.whole]
            )()
        first = self.condition(self.random.randrange(depth))
        if kind == "not":
            return f"NOT ({first[0]})", lambda record: not_(first[1](record))
        second = self.condition(depth - 1)
        sql = f"({first[0]}) {kind.upper()} ({second[0]})"
        if kind == "and":
            return sql, lambda record: both(first[1](record), second[1](record))
        return sql, lambda record: not_(both(not_(first[1](record)), not_(second[1](record))))

    def number(self, depth=2):
        if not depth or self.random.random() < 0.4:
            if self.random.random() < 0.5:
                name = self.random.choice(NUMBERS)
                return name, lambda record: record[name]
            value = self.random.choice([0, 1, 2, 0.5, 1.5, 0.25])
            return str(value), lambda record: value
        left, right = self.number(depth - 1), self.number(depth - 1)
        sign, function = self.random.choice(
            [("+", operator.add), ("-", operator.sub), ("*", operator.mul)]
        )
        function = unknown(function)
        sql = f"({left[0]}) {sign} ({right[0]})"
        return sql, lambda record: function(left[1](record), right[1](record))

    def text(self):
        if self.random.random() < 0.5:
            name = self.random.choice(TEXTS)
            return name, lambda record: record[name]
        value = self.random.choice(["1", "2", "it's", "a_b", "A", ""])
        quotes = value.replace("'", "''")
        return f"'{quotes}'", lambda record: value

    def comparison(self):
        make = self.random.choice([self.number, self.text])
        left, right, sign = make(), make(), self.random.choice(list(SIGNS))
        function = unknown(SIGNS[sign])
        sql = f"{left[0]} {sign} {right[0]}"
        return sql, lambda record: function(left[1](record), right[1](record))

    def in_list(self):
        name = self.random.choice(TEXTS)
        values = self.random.sample(["1", "2", "it's", "a_b", "A", "7", "17"], 3)
        listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        return self.negated(
            f"{name} {{}}IN ({listed})", lambda r: unknown(lambda value: value in values)(r[name])
        )

    def between(self):
        value, low, high = self.number(1), self.number(0), self.number(0)
        return self.negated(
            f"({value[0]}) {{}}BETWEEN {low[0]} AND {high[0]}",
            lambda r: both(
                unknown(operator.ge)(value[1](r), low[1](r)),
                unknown(operator.le)(value[1](r), high[1](r)),
            ),
        )

    def like(self):
        name, like = self.random.choice(TEXTS), self.random.choice(["a%", "_", "%x%", "%", "A"])
        return self.negated(
            f"{name} {{}}LIKE '{like}'", lambda r: unknown(lambda v: pattern(v, like))(r[name])
        )

    def null(self):
        name = self.random.choice(NUMBERS + TEXTS)
        negative = self.random.random() < 0.5
        sql = f"{name} IS {'NOT ' if negative else ''}NULL"
        return sql, lambda record: (record[name] is None) != negative

    def whole(self):
        rest = self.random.randrange(3)
        return f"CAST(clip AS BIGINT) % 3 = {rest}", lambda record: int(record["clip"]) % 3 == rest

    def negated(self, sql, function):
        if self.random.random() < 0.5:
            return sql.format(""), function
        return sql.format("NOT "), lambda record: not_(function(record))


@pytest.mark.parametrize("seed", range(8))
def test_conditions_mean_what_sql_means(clips, seed, monkeypatch):
    """The search evaluates them over columns in memory, `count` by Lance."""
    index, records = clips
    drawn, elsewhere = Drawn(seed), []

    def met(tree, clips):
        try:
            return rows_that_meet(tree, clips)
        except Elsewhere:
            elsewhere.append(tree.sql())
            raise

    monkeypatch.setattr("stvh_jax.retrieval.lance.snapshot.rows_that_meet", met)
    monkeypatch.setattr("stvh_jax.retrieval.lance.conditions._ROWS", 7)
    for _ in range(30):
        sql, holds = drawn.condition(drawn.random.randrange(4))
        wanted = [record["clip"] for record in records if holds(record) is True]
        (hits,) = index.search(np.zeros((1, 1), np.uint8), k=len(records), where=sql)
        assert sorted(hit.clip for hit in hits) == sorted(wanted), sql
        assert index.count(sql) == len(wanted), sql
    assert all("CAST" in sql for sql in elsewhere)


def test_other_conditions(clips):
    index, records = clips
    for where, holds in {
        "(start > 1) IS NOT TRUE": lambda r: r["start"] is None or r["start"] <= 1,
        "lower(activity) = 'a'": lambda r: r["activity"] == "A",
        "UPPER(\"activity\") ILIKE 'A_b'": lambda r: r["activity"] in ("a_b", "axb"),
        "length(clip) = 2 AND MATCH = 'it''s'": lambda r: len(r["clip"]) > 1 and r["match"] > "2",
        "start IN (1.5, 2e0)": lambda r: r["start"] in (1.5, 2.0),
        "-start < -.5": lambda r: r["start"] is not None and r["start"] > 0.5,
        "start / 2 > 0.75": lambda r: r["start"] == 2.0,
        "start < 99999999999999999999999": lambda r: r["start"] is not None,
        "activity NOT IN ('A', NULL)": lambda r: False,
        "start = NULL OR TRUE": lambda r: True,
        "TRY_CAST(match AS BIGINT) = 1": lambda r: r["match"] == "1",
        "CAST(start AS VARCHAR) = '1.5'": lambda r: r["start"] == 1.5,
    }.items():
        wanted = [record["clip"] for record in records if holds(record)]
        (hits,) = index.search(np.zeros((1, 1), np.uint8), k=len(records), where=where)
        assert sorted(hit.clip for hit in hits) == sorted(wanted), where
        assert index.count(where) == len(wanted), where


def test_long_conditions(clips):
    """A chain of a thousand sums, or of some 20,000 ORs, ended the process without a word."""
    index, records = clips
    assert index.count(" OR ".join(["clip = '7'"] * 7000)) == 1
    assert index.count(" AND ".join(["clip <> '7'"] * 1500)) == len(records) - 1
    assert index.count("(" * 30 + "clip = '7'" + " OR clip = '8')" * 30) == 2
    many = ", ".join(f"'{number}'" for number in range(10, 9000))
    assert index.count(f"clip IN ({many})") == len(records) - 10


def test_the_deepest_condition_of_every_kind_is_evaluated(clips):
    index, _ = clips
    levels = DEEPEST - 2
    for where in (
        "(NOT " * levels + "start = 1" + ")" * levels,
        "(start > 1 AND (start > 0 OR " * (levels // 2) + "start > 1" + "))" * (levels // 2),
        "start" + " + 1" * levels + " > 1",
        "start < " + "(1 + " * levels + "1" + ")" * levels,
        "- (" * levels + "start" + ")" * levels + " > 1",
        "CAST(" * levels + "start" + " AS DOUBLE)" * levels + " > 1",
    ):
        assert 0 <= index.count(where) <= 48
        deeper = where.replace("start > 1", "NOT start > 1").replace("start", "(1 * start)")
        with pytest.raises(UserError, match="nested"):
            index.count(f"NOT ({deeper})")


REFUSED = {
    "long": ("x" * (MOST_CHARACTERS + 1), "it has 131073 characters, 131072 are the most"),
    "many ORs": (" OR ".join(["clip = '12345'"] * 50000), "characters, 131072 are the most"),
    "a long sum": ("clip" + "+1" * 1000 + " > 2", "nested more than 16 levels deep"),
    "brackets": ("(" * 2000 + "start = 1" + ")" * 2000, "nested too deeply"),
    "NOTs": ("NOT " * 2000 + "start = 1", "nested too deeply"),
    "signs": ("- " * 2000 + "start = 1", "nested too deeply"),
    "dots": ("a." * 2000 + "b = 1", "nested more than 16 levels deep"),
    "cases": ("CASE WHEN " * 1000, "'CASE' is not allowed in a condition"),
    "a long name": ("x" * 100000, "a comparison .* is missing at 'x{99}\\.\\.\\.;"),
    "another column": ("code_0 IS NULL", "there is no field 'code_0'"),
    "another table": ("t.match = '1'", "'t.match' is not allowed"),
    "a query": ("match = (SELECT 1)", "'SELECT' is not allowed"),
    "two": ("match = '1'; DROP TABLE clips", "';' is not allowed"),
    "a comment": ("match = '1' /* x */", r"'/\*' is not allowed"),
    "a function": ("random() > 1", "'RAND\\(\\)' is not allowed"),
    "an unknown function": ("f(match) = '1'", "'F\\(match\\)' is not allowed"),
    "a type": ("CAST(start AS DATE) = 1", "'DATE' is not allowed"),
    "a cut type": ("CAST(start AS VARCHAR(3)) = 'x'", r"'VARCHAR\(3\)' is not allowed"),
    "nothing in a list": ("match IN ()", "IN needs values"),
    "an escape": ("match LIKE 'a!%' ESCAPE '!'", "'ESCAPE' is not allowed"),
    "a number": ("start > 1e999", "'1e999' is too large"),
    "half a pair": ("match = '\ud800'", "characters that are no text"),
    "a template": ("{{ match }} = '1'", "'{' is not allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(clips, case):
    where, message = REFUSED[case]
    for call in (clips[0].count, clips[0].delete):
        with pytest.raises(UserError, match=message) as error:
            call(where)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 700


def test_noise_is_a_condition_or_refused():
    """Whatever words stand side by side, no other error is raised."""
    words = (
        "match start 'a' 1 .5 ( ( ) ) , = < <> + - * / % AND OR NOT IN IS NULL TRUE LIKE BETWEEN "
        "CAST AS BIGINT lower ; -- ' \" ` @ $ :: || [ { x EXISTS"
    )
    words = words.split()
    drawn = random.Random(0)
    accepted = 0
    for _ in range(3000):
        where = " ".join(drawn.choices(words, k=drawn.randrange(1, 12)))
        try:
            as_sql(where, RECORD.names)
            accepted += 1
        except UserError as error:
            assert str(error).startswith("where ")
            assert "\n" not in str(error)
    assert accepted
