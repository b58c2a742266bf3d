"""Times in a video as people write them: h:mm:ss, with or without a fraction."""

import re

from stvh_jax.errors import UserError, shown

# Hours and minutes, or minutes alone, before the seconds; each at most so long.
_CLOCK = re.compile(
    r"(?:(?:([0-9]{1,6}):)?([0-9]{1,6}):)?([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
)


def clock_seconds(seconds: float | int, *, separator: str = ":") -> str:
    """Writes a time as h:mm:ss, rounded down: 751.9 is 0:12:31."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return separator.join([str(hour), f"{minute:02d}", f"{second:02d}"])


def clock_tenths(seconds: float | int) -> str:
    """Writes a time as h:mm:ss.s, rounded to the nearest tenth."""
    tenths = round(10 * seconds)
    return f"{clock_seconds(tenths // 10)}.{tenths % 10}"


def clock_milliseconds(seconds: float | int) -> str:
    """Writes a time as h:mm:ss.mmm, rounded to the nearest thousandth."""
    thousandths = round(1000 * seconds)
    return f"{clock_seconds(thousandths // 1000)}.{thousandths % 1000:03d}"


def seconds(text: str) -> float:
    """Reads a time in a video: `1:02:03.5`, `12:31` or `75.5`.

    Raises:
      UserError: it is no such time, or has 60 or more minutes or seconds after a colon.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{shown(text)} is not a time; give h:mm:ss, m:ss or seconds, for example 1:02:03.5"
        )
    hours, minutes, rest = match.groups(default="0")
    if match[2] is not None and float(rest) >= 60:
        raise UserError(f"{shown(text)} is not a time: it has 60 seconds or more after the colon")
    if match[1] is not None and int(minutes) >= 60:
        raise UserError(f"{shown(text)} is not a time: it has 60 minutes or more after the colon")
    return 3600.0 * int(hours) + 60.0 * int(minutes) + float(rest)
