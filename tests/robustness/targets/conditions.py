"""Conditions: well-formed ones against a plain evaluation of them, and broken ones."""

import functools
import operator
import pathlib
from typing import Any

from tests.robustness import material
from tests.robustness.case import Target, expect
from tests.robustness.mutations import JUNK_NUMBERS, JUNK_TEXTS, Random, broken_text

COMPARISONS = {
    "=": operator.eq, "!=": operator.ne, "<>": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
VALUES = {
    "match": ["0", "1", "2", "9", "it's", ""],
    "clip": ["0", "100", "2300"],
    "start": [0, 4, 4.0, 40, -1.5, 1e6],
    "activity": ["r_set", "l_spike", "none"],
    "confidence": [0.2, 0.5, 1],
    "media": ["", "x"],
}
TEMPLATES = (
    "match = '1' {}", "{} = 1", "match IN ({})", "CAST(clip AS {}) > 0", "start > {}", "{}",
    "match LIKE '{}'", "regexp_like(match, '{}')", "repeat('x', {}) = ''", "start = 1 / {}",
    "(SELECT count(*) FROM clips) > {}", "code_1 = {}", "_rowid = {}", "clip = {}", "match = '{}",
    "array_has(code_1, {})", "start BETWEEN 0 AND {}", "now() > {}", "true OR {}", "NOT {}",
)  # fmt: skip


def _condition(random: Random, depth: int) -> Any:
    """Draws a tree: ("and", a, b), ("not", a), ("null", field), or (comparison, field, value)."""
    if depth == 0 or random.random() < 0.2:
        field = random.choice(list(VALUES))
        if random.random() < 0.2:
            return ["null", field]
        if random.random() < 0.2:
            return ["in", field, random.sample(VALUES[field], 2)]
        return [random.choice(list(COMPARISONS)), field, random.choice(VALUES[field])]
    kind = random.choice(["and", "or", "not"])
    return [kind, *(_condition(random, depth - 1) for _ in range(1 if kind == "not" else 2))]


def _sql(tree: Any) -> str:
    kind, *rest = tree
    if kind in ("and", "or"):
        return f"({_sql(rest[0])} {kind.upper()} {_sql(rest[1])})"
    if kind == "not":
        return f"(NOT {_sql(rest[0])})"
    if kind == "null":
        return f"{rest[0]} IS NULL"
    if kind == "in":
        return f"{rest[0]} IN ({', '.join(map(_literal, rest[1]))})"
    return f"{rest[0]} {kind} {_literal(rest[1])}"


def _literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _holds(tree: Any, record: dict) -> bool | None:
    """Evaluates a condition as SQL does: None is not known."""
    kind, *rest = tree
    if kind == "not":
        held = _holds(rest[0], record)
        return None if held is None else not held
    if kind in ("and", "or"):
        held = [_holds(part, record) for part in rest]
        decisive = kind == "or"
        if decisive in held:
            return decisive
        return None if None in held else not decisive
    value = record[rest[0]]
    if kind == "null":
        return value is None
    if value is None:
        return None
    return value in rest[1] if kind == "in" else COMPARISONS[kind](value, rest[1])


def make(random: Random, folder: pathlib.Path):
    kind = random.random()
    if kind < 0.5:
        tree = _condition(random, random.choice([0, 1, 2, 4]))
        return {"where": _sql(tree), "tree": tree}
    if kind < 0.6:
        depth = random.choice([100, 1000, 10_000])
        deep = random.choice(["(" * depth + "match = '1'" + ")" * depth,
                              "NOT " * depth + "match = '1'", " AND ".join(["match = '1'"] * depth),
                              "match = '" + "1" * depth + "'", "-" * depth + "1 = start",
                              f"match IN ({', '.join(['1'] * depth)})"])  # fmt: skip
        return {"where": deep, "tree": None}
    if kind < 0.8:
        text = str(random.choice(random.choice([JUNK_NUMBERS, JUNK_TEXTS])))
        return {"where": random.choice(TEMPLATES).replace("{}", text), "tree": None}
    text = _sql(_condition(random, 2))
    return {"where": broken_text(random, text).decode(errors="surrogateescape"), "tree": None}


@functools.cache
def _index():
    from stvh_jax.retrieval.index import Index

    return Index.open(material.INDEX)


@functools.cache
def _records() -> list[dict]:
    import numpy as np

    index = _index()
    (hits,) = index.search(np.zeros(2, np.uint8), k=None, radius=16)
    return index.get([(hit.match, hit.clip) for hit in hits])[1]


def run(folder: pathlib.Path, case):
    import numpy as np

    where, tree = case["where"], case["tree"]
    counted = _index().count(where)
    (hits,) = _index().search(np.zeros(2, np.uint8), k=None, radius=16, where=where)
    expect(counted == len(hits), f"{where[:300]}: {counted} are counted, {len(hits)} are found")
    if tree is not None:
        right = {(record["match"], record["clip"]) for record in _records() if _holds(tree, record)}
        found = {(hit.match, hit.clip) for hit in hits}
        expect(found == right, f"{where[:300]}: {len(found)} clips, where {len(right)} meet it")


TARGETS = (Target("conditions", make, run),)
