"""The natural order of names, against a comparison of their characters one by one."""

import functools
import itertools

import numpy as np
import pytest

from stvh_jax.names import as_name, natural_key, natural_numbers, printable

NAMES = [
    "2",
    "10",
    "9",
    "007",
    "07",
    "7",
    "0",
    "00",
    "",
    "a",
    "a2",
    "a10",
    "a02",
    "a2b",
    "a2b10",
    "a2b9",
    "a-2",
    "a-10",
    "-5",
    "-10",
    "seq2",
    "seq10",
    "seq",
    "Seq3",
    "٣",
    "é1",
    "1e5",
    "10a",
    "9" * 30,
    "8" * 31,
    "0" * 20,
    "12345678901234567",
    "x" + "1" * 5000,
]


def compare(first, second):
    """Walks through two names side by side; whole runs of digits are compared as numbers."""
    one, other = (
        [
            ("".join(run), digits)
            for digits, run in itertools.groupby(name, "0123456789".__contains__)
        ]
        for name in (first, second)
    )
    for (a, a_digits), (b, b_digits) in zip(one, other):
        if a_digits and b_digits:
            width = max(len(a), len(b))
            if a.zfill(width) != b.zfill(width):
                return -1 if a.zfill(width) < b.zfill(width) else 1
        elif a_digits != b_digits:
            return -1 if a_digits else 1  # a number stands before any text
        elif a != b:
            # "a" before "ab", and "a2" before "ab".
            return -1 if a < b else 1
    if len(one) != len(other):
        return -1 if len(one) < len(other) else 1
    if len(first) != len(second):
        return 1 if len(first) < len(second) else -1
    return (first > second) - (first < second)


def test_natural_order():
    random = np.random.default_rng(0)
    expected = sorted(NAMES, key=functools.cmp_to_key(compare))
    assert sorted(random.permutation(NAMES).tolist(), key=natural_key) == expected
    assert expected.index("2") < expected.index("10") < expected.index("seq2")
    assert expected.index("seq2") < expected.index("seq10")


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        [name for name in NAMES if name.isascii() and name.isdigit() and len(name) <= 17],
        ["10", "10", "9", "3", "010"],
        [],
    ],
)
def test_numbers_are_in_natural_order(names):
    for given in (names, np.array(names, str)):
        numbers = natural_numbers(given).tolist()
        for (one, a), (other, b) in itertools.product(zip(names, numbers), repeat=2):
            assert (a < b) == (natural_key(one) < natural_key(other))
            assert (a == b) == (one == other)


def test_numbers_become_names():
    assert [as_name(value) for value in (7, np.int32(7), "7", np.str_("a"))] == ["7", "7", "7", "a"]
    assert type(as_name(np.str_("a"))) is str
    for bad in (2.5, None, "", float("nan"), b"7"):
        with pytest.raises(TypeError):
            as_name(bad)


def test_names_for_a_terminal():
    assert printable("a\n\x1b[31mb\0\x9b\u2028") == "a\\n\\x1b[31mb\\x00\\x9b\\u2028"
    assert printable("Bühne 東京") == "Bühne 東京"


def test_numbers_of_any_length_are_ordered():
    """Python converts no number of more than 4300 digits."""
    long = ["9" * 4400, "1" + "0" * 4400, "7", "a" + "1" * 5000]
    assert natural_numbers(long).tolist() == [1, 2, 0, 3]
    assert natural_numbers(long[:2]).tolist() == [0, 1]
