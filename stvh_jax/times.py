"""Times in a video as people write them: h:mm:ss.s."""

import re

from stvh_jax.errors import UserError, shown

# Hours and minutes, or minutes alone, before the seconds; each at most so long.
_CLOCK = re.compile(
    r"(?:(?:([0-9]{1,6}):)?([0-9]{1,6}):)?([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
)


def clock(seconds: float | int) -> str:
    """Gives a time as h:mm:ss.s."""
    minutes, rest = divmod(round(10 * seconds) / 10, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:04.1f}"


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
