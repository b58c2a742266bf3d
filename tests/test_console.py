"""The line by which a program ends."""

import pytest

from stvh_jax.console import error_line
from stvh_jax.errors import UserError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("no such file", "error: no such file"),
        ("two\nlines\r\x1b[31m", "error: two lines  [31m"),
        ("a  b.png", "error: a  b.png"),
        ("x" * 200_000 + "; do this", "error: " + "x" * 500 + " ... " + "x" * 491 + "; do this"),
    ],
    ids=["plain", "lines", "spaces", "long"],
)
def test_an_error_is_one_line_of_bounded_length(message, line):
    assert error_line(message) == line
    assert f"error: {UserError(message)}" == line
