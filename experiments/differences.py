"""How sure a difference between two forms of a model is: over the queries, and over the seeds."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from stvh_jax.reporting.tables import Table

_DRAWS = 10_000
# Draws made at a time, to bound the memory.
_CHUNK = 500
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Difference:
    """A measure of one form of a model less that of another, in points (percent).

    Attributes:
      more: the label of the first form.
      less: the label of the form that it is compared with.
      metric: the measure.
      by_seed: the difference in each seed that both were run with.
      paper: the same difference between the paper's figures; None if it has none.
      interval: where the difference of their means over the seeds lies with 95 % when the queries
        are drawn anew; None if their evaluations do not keep the values of each query.
    """

    more: str
    less: str
    metric: str
    by_seed: Sequence[float]
    paper: float | None = None
    interval: Sequence[float] | None = None

    @property
    def mean(self) -> float:
        """The mean over the seeds; NaN without any."""
        return statistics.fmean(self.by_seed) if self.by_seed else float("nan")

    @property
    def seed_interval(self) -> tuple[float, float] | None:
        """Where the mean over all seeds lies with 95 % by the t distribution; None for one seed."""
        if len(self.by_seed) < 2:
            return None
        degrees = len(self.by_seed) - 1
        half = stats.t.ppf((1 + _LEVEL) / 2, degrees) * stats.sem(self.by_seed)
        return self.mean - half, self.mean + half

    @property
    def is_bounded(self) -> bool:
        """Whether there is an interval."""
        return self.interval is not None or self.seed_interval is not None

    @property
    def sign(self) -> int:
        """+1 or -1 if every interval that there is lies on that side of 0; 0 if not, or if none."""
        intervals = [one for one in (self.interval, self.seed_interval) if one is not None]
        if intervals and all(low > 0 for low, _ in intervals):
            return 1
        return -1 if intervals and all(high < 0 for _, high in intervals) else 0

    def to_json(self) -> dict[str, Any]:
        """Gives the attributes as plain values."""
        return dataclasses.asdict(self)


def paired_bootstrap(differences: Float[np.ndarray, "Q"], *, seed: int = 0) -> tuple[float, float]:
    """Computes the 95 % interval of the mean of paired differences when the pairs are drawn anew.

    Each of 10 000 draws takes Q pairs with replacement, the same queries for both models; the
    interval is between the 2.5th and the 97.5th percentile of their means.

    Args:
      differences: the first model's value of each query less the second's.
      seed: of the draws.
    """
    random = np.random.default_rng(seed)
    size = len(differences)
    means = [
        random.multinomial(size, np.full(size, 1 / size), size=_CHUNK) @ differences / size
        for _ in range(_DRAWS // _CHUNK)
    ]
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def query_interval(
    more: Sequence[Mapping[str, np.ndarray]], less: Sequence[Mapping[str, np.ndarray]], name: str
) -> tuple[float, float] | None:
    """Computes the interval of a difference over the queries, in points.

    Args:
      more: for each seed, the values of each query, from the first form's evaluations.
      less: the same of the other form.
      name: which of the values are compared.

    Returns:
      None if there is nothing to compare, or not the same queries.
    """
    parts = [*more, *less]
    if not more or not less:
        return None
    for part in parts[1:]:
        for key in ("match", "clip"):
            if not np.array_equal(part[key], parts[0][key]):
                return None
    values = [np.mean([part[name] for part in form], axis=0) for form in (more, less)]
    difference = values[0] - values[1]
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return None
    low, high = paired_bootstrap(100 * difference)
    return low, high


def table(differences: Sequence[Difference]) -> Table:
    """Lists differences: the mean over the seeds and both intervals."""
    header = [
        "difference, in points",
        "of",
        "paper",
        "ours",
        "95 % over queries",
        "95 % over seeds",
    ]
    rows = [
        [
            f"{one.more} less {one.less}",
            one.metric,
            "–" if one.paper is None else f"{one.paper:+.2f}",
            f"{one.mean:+.1f}" if one.by_seed else "–",
            _bounds(one.interval),
            _bounds(one.seed_interval),
        ]
        for one in differences
    ]
    return Table(header, rows)


def _bounds(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}"
