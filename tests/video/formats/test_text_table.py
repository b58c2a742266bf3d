"""Tables of numbers are read a part at a time, whatever the parts are."""

import tracemalloc

import numpy as np
import pytest

from stvh_jax.errors import Damaged
from stvh_jax.video.formats import text_table
from stvh_jax.video.formats.text_table import parse_table


@pytest.mark.parametrize("size", [32, 100, 10**6])
@pytest.mark.parametrize(
    ("separator", "point"), [(",", "."), (";", ","), ("; ", "."), ("\t", "."), (" ", ".")]
)
def test_the_size_of_the_parts_makes_no_difference(monkeypatch, size, separator, point):
    values = np.random.default_rng(0).integers(0, 4000, (60, 4)) / 4
    rows = [[f"{value:.2f}".replace(".", point) for value in row] for row in values]
    text = "a header\n" + "\n\n".join(separator.join(row) for row in rows) + "\n"
    monkeypatch.setattr(text_table, "_CHUNK", size)
    table = parse_table(text, 3, skipped=1)
    np.testing.assert_array_equal(table.values, values[:, :3])
    np.testing.assert_array_equal(table.counts, 4)
    np.testing.assert_array_equal(table.lines, 2 + 2 * np.arange(60))
    with pytest.raises(Damaged, match="line 122: 'x' is not a number"):
        parse_table(f"{text}\nx{separator}2", 3, skipped=1)


def test_empty_cells_are_seen_where_parts_begin(monkeypatch):
    monkeypatch.setattr(text_table, "_CHUNK", 4)
    table = parse_table(",1\n2,\n,\n3,,4\n", 3)
    nan = np.nan
    np.testing.assert_array_equal(table.values, [[nan, 1, nan], [2, nan, nan], [3, nan, 4]])
    assert table.lines.tolist() == [1, 2, 4]


def test_a_long_table_takes_little_more_memory_than_its_numbers(monkeypatch):
    monkeypatch.setattr(text_table, "_CHUNK", 1 << 14)
    text = "".join(f"{frame},7,100.25,200.5,40,80\n" for frame in range(40_000))
    tracemalloc.start()
    try:
        table = parse_table(text, 6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = table.values.nbytes + table.counts.nbytes + table.lines.nbytes
    assert len(table.lines) == 40_000 and held < peak < 1.4 * held
