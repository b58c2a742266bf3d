"""Conditions mean over columns in memory what they mean to Lance, or are left to it."""

import dataclasses

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.retrieval.lance.columns import Column, column_of, compact
from stvh_jax.retrieval.lance.conditions import Elsewhere, rows_that_meet
from stvh_jax.retrieval.where import read

ROWS = pa.table(
    {
        "x": pa.array([0.0, -0.0, float("inf"), 1.5, None, -2.0, 1e308]),
        "text": pa.array(["a", "B", "é", None, "k\n", "a\\", ""]),
        "flag": pa.array([True, False, None, True, False, None, True]),
        "whole": pa.array([0, -1, None, 1 << 60, 3, 4, -(1 << 63)], pa.int64()),
        "single": pa.array([0.5, None, 0.1, 3, 4, 5, 6], pa.float32()),
        "nothing": pa.nulls(7, pa.string()),
    }
)
IN_MEMORY = [
    "x = 0", "x <> 0", "x < 0", "NOT x < 0", "x IN (0, 7)", "x NOT IN (0, 1)", "x NOT IN (0, NULL)",
    "x IN (0, NULL)", "x IN (-2, 1.5e0)", "x > 1e300", "x = x", "x <> x", "- x = 0",
    "x BETWEEN 0 AND 1", "x NOT BETWEEN 0 AND 1", "(0 - 1) * x <= 0", "x * 10 > 1e308",
    "x + 1 > 2 * x", "x / 2 = 0.75", "1 < x", "(1 + 2) * x < 1", "1 = 1", "1 < 0.5",
    "x IS NULL", "x IS NOT NULL", "(x > 1) IS NULL", "(x > 1) IS TRUE", "(x > 1) IS NOT FALSE",
    "text LIKE 'k_'", "text LIKE '%a%'", "text LIKE '_'", "text NOT LIKE '_'", "text LIKE ''",
    "text < 'b'", "'a' = text", "'b' > text", "NOT text = 'a'", "text IN ('a', 'é', 'no')",
    "text NOT IN ('a', NULL)", "text NOT IN ('a', 'b')", "text = nothing",
    "text BETWEEN 'B' AND 'a'",
    "text >= text", "'a' = 'b'", "nothing IS NULL", "nothing = 'a' OR TRUE", "FALSE", "NOT TRUE",
    "flag IS TRUE", "flag IS NOT TRUE", "flag = TRUE", "flag <> TRUE", "NOT flag = FALSE",
    "flag IS NULL", "whole = 3", "whole > 0", "NOT whole >= -1", "3 = whole", "whole IS NOT NULL",
    "nothing ILIKE 'A%'", "whole <= 4 AND (x > 0 OR NOT (text = 'B' AND flag IS FALSE))",
]  # fmt: skip
LEFT_TO_LANCE = [
    "x / 0 > 1", "(x - x) = 0", "x % 0 > 5", "x % 2 = 1.5", "(1 / 2) * x < 1",
    "x > 9223372036854775808",
    "text LIKE 'a\\'", "text ILIKE 'b'", "x = NULL", "NULL IS NULL", "x + NULL > 1",
    "(x > 1) = TRUE",
    "whole + 1 = 4", "whole IN (3, 4)", "flag IN (TRUE)", "flag < TRUE", "single > 0.1", "text = 1",
    "x = '0'", "whole = 1.0", "x = TRUE", "text < x", "length(text) = 1", "x IS TRUE",
    "CAST(x AS VARCHAR) = '1.5'", "5 % 3 = 2", "9223372036854775807 + 1 > x", "x LIKE '1%'",
]  # fmt: skip


@dataclasses.dataclass
class Clips:
    """The rows in memory."""

    fields: pa.Schema = ROWS.schema

    def __len__(self) -> int:
        return len(ROWS)

    def column(self, name: str) -> Column:
        # In pieces, of which the last holds new values.
        chunks = [compact(ROWS[name].chunk(0).slice(*part)) for part in ((0, 4), (4, 3))]
        return column_of(chunks, ROWS.schema.field(name).type)

    def named(self, clips):
        raise AssertionError("there are no names of clips")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    connection = lancedb.connect(tmp_path_factory.mktemp("conditions"))
    return connection.create_table("rows", ROWS.append_column("row", pa.array(range(len(ROWS)))))


@pytest.mark.parametrize("where", IN_MEMORY)
def test_what_is_met_is_what_lance_finds(table, where):
    tree, sql = read(where, ROWS.column_names)
    found = table.search().where(sql).select(["row"]).to_arrow()["row"].to_pylist()
    assert np.flatnonzero(rows_that_meet(tree, Clips())).tolist() == found
    tree, sql = read(f"NOT ({where})", ROWS.column_names)
    found = table.search().where(sql).select(["row"]).to_arrow()["row"].to_pylist()
    assert np.flatnonzero(rows_that_meet(tree, Clips())).tolist() == found


@pytest.mark.parametrize("where", LEFT_TO_LANCE)
def test_what_lance_does_in_a_way_of_its_own_is_left_to_it(where):
    with pytest.raises(Elsewhere):
        rows_that_meet(read(where, ROWS.column_names)[0], Clips())
