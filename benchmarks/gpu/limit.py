"""A plan of measurements within a time limit: the important ones first, and none that cannot end.

Nothing here knows JAX: the process that plans must not take the GPU's memory.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# What is kept for the table and for ending a process.
RESERVE = 5.0
# A measurement that takes so many times its guess is cut off.
PATIENCE = 2.5
# A batch that is twice as large is worth a measurement if the last doubling gained this much.
LEAST_GAIN = 0.03
# Of the device's memory, what a larger batch is expected to fit in.
USABLE = 0.95


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement, made in a process of its own.

    Attributes:
      name: as the table shows it.
      kind: what is measured; those of one kind take about as long as each other.
      guess: seconds it may take, until one of its kind has been measured.
      settings: what the process is told.
      smaller: the name of the measurement with half the batch, or "".
    """

    name: str
    kind: str
    guess: float
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    smaller: str = ""


class Budget:
    """Seconds that are left, and what measurements are likely to take."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._end = clock, clock() + seconds
        self._seen: dict[str, float] = {}

    def left(self) -> float:
        """Gives the seconds that measurements may still take."""
        return self._end - RESERVE - self._clock()

    def predict(self, measurement: Measurement) -> float:
        """Predicts its seconds: those of the longest of its kind so far, or the guess."""
        return self._seen.get(measurement.kind, measurement.guess)

    def learn(self, measurement: Measurement, seconds: float) -> None:
        """Remembers what a measurement took."""
        self._seen[measurement.kind] = max(seconds, self._seen.get(measurement.kind, 0.0))

    def stop(self) -> None:
        """Ends the time now."""
        self._end = self._clock()


def run_plan(
    plan: Iterable[Measurement],
    measure: Callable[[Measurement, Callable[[], float]], dict[str, Any]],
    record: Callable[[dict[str, Any]], None],
    *,
    budget: Budget,
    memory: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Makes the measurements that fit in the time, and records each as soon as it is there.

    Args:
      plan: in the order of importance; what does not fit is left out, and the next one tried.
      measure: `measure(measurement, left)` returns what was found while `left()` was more than 0
        seconds, with a `status`: measured, failed or cut off.
      record: takes what was found, with its name, or why it was not measured.
      budget: what is left of the time.
      memory: bytes of the device, None if it does not say.
      clock: of seconds.
    """
    found: list[dict[str, Any]] = []
    for measurement in plan:
        reason = needless(measurement, found, memory)
        seconds, left = budget.predict(measurement), budget.left()
        if not reason and seconds > left:
            reason = f"no time: it takes about {seconds:.0f} s, {max(left, 0):.0f} s are left"
        if reason:
            outcome = {"name": measurement.name, "status": "skipped", "reason": reason}
        else:
            start = clock()
            named = {"name": measurement.name, "half_the_batch": measurement.smaller}
            end = start + PATIENCE * measurement.guess
            outcome = named | measure(
                measurement, lambda end=end: min(budget.left(), end - clock())
            )
            outcome["took_seconds"] = round(clock() - start, 1)
            if outcome["status"] != "failed":
                budget.learn(measurement, outcome["took_seconds"])
        found.append(outcome)
        record(outcome)


def needless(
    measurement: Measurement, found: Sequence[dict[str, Any]], memory: float | None
) -> str:
    """Says why a larger batch need not be tried, by what smaller ones gave; "" if it should be."""
    by_name = {outcome["name"]: outcome for outcome in found}
    smaller = by_name.get(measurement.smaller)
    if smaller is None:
        return ""
    if smaller["status"] != "measured":
        return f"half the batch was not measured ({smaller['status']})"
    needed = 2 * (smaller.get("peak_bytes") or 0)
    if memory and needed > USABLE * memory:
        return f"it would need about {needed / 2**30:.0f} of {memory / 2**30:.0f} GiB"
    smallest = by_name.get(smaller.get("half_the_batch", ""))
    if smallest and smallest["status"] == "measured":
        gain = smaller["clips_per_second"] / smallest["clips_per_second"] - 1
        if gain < LEAST_GAIN:
            return f"the last doubling of the batch gained {gain:.1%}"
    return ""
