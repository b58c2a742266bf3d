"""Times are written as on a clock, and read back."""

import datetime

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.times import clock, seconds


@pytest.mark.parametrize(
    ("time", "text"),
    [(0, "0:00:00.0"), (59.96, "0:01:00.0"), (3599.94, "0:59:59.9"), (3600, "1:00:00.0")],
)
def test_times_are_written_as_on_a_clock(time, text):
    assert clock(time) == text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1:02:03.5", 3723.5),
        ("12:31", 751),
        ("75.5", 75.5),
        ("0", 0),
        (" 7200 ", 7200),
        ("90:00", 5400),
        ("100:00:00", 360000),
        ("0:5", 5),
        (".5", 0.5),
    ],
)
def test_times_are_read(text, time):
    assert seconds(text) == time


@pytest.mark.parametrize("time", np.random.default_rng(0).integers(0, 10**6, 50) / 10)
def test_what_is_written_is_read_back(time):
    assert seconds(clock(time)) == pytest.approx(time, abs=1e-9)
    day = datetime.timedelta(seconds=float(time) % 86400)
    assert seconds(str(day)) == pytest.approx(day.total_seconds())


@pytest.mark.parametrize(
    "text",
    ["", "1:2:3:4", "-1", "1:-2", "1e3", "nan", "inf", "1:60", "1:60:00", "1.5:00", "٣", "1 2",
     "9" * 5000, "1:", ":", "."],
)  # fmt: skip
def test_what_is_no_time_is_said(text):
    with pytest.raises(UserError, match="is not a time") as error:
        seconds(text)
    assert "\n" not in str(error.value)
