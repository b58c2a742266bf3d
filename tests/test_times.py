"""Times are written as on a clock, and read back."""

import datetime

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.times import clock_milliseconds, clock_seconds, clock_tenths, seconds


@pytest.mark.parametrize(
    ("time", "text"),
    [(0, "0:00:00.0"), (59.96, "0:01:00.0"), (3599.94, "0:59:59.9"), (3600, "1:00:00.0")],
)
def test_times_are_written_as_on_a_clock(time, text):
    assert clock_tenths(time) == text


def test_seconds_are_rounded_down_and_thousandths_to_the_nearest():
    assert clock_seconds(751.9) == "0:12:31"
    assert clock_seconds(3737) == "1:02:17"
    assert clock_seconds(3737, separator="-") == "1-02-17"
    assert clock_milliseconds(751.9996) == "0:12:32.000"


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
    assert seconds(clock_tenths(time)) == pytest.approx(time, abs=1e-9)
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
