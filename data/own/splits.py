"""Which of one's own clips are trained on, and which choose and judge a model."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from data.raw import SPLITS
from stvh_jax.names import natural_key
from stvh_jax.video.labels import Label

# What validation and test each have of the videos, or of the labelled time of each video; without
# labels there is no test.
SHARE = 0.15
# How far from its place, as a share of the labelled time, a cut may be so as to divide no label.
_NEAR = 0.05
# So many ways to divide the videos are tried.
_TRIES = 200


def by_video(labels: Sequence[Label], seed: int) -> dict[str, str]:
    """Draws the split of each labelled video; there are at least three.

    Of many draws that is taken in which most activities can be trained, then validated and tested.
    """
    activities: dict[str, set[str]] = {}
    for label in labels:
        activities.setdefault(label.video, set()).add(label.activity)
    videos = sorted(activities, key=natural_key)
    held_out = max(1, round(SHARE * len(videos)))
    best, most = {}, (-1, -1, -1)
    for attempt in range(_TRIES):
        drawn = np.random.default_rng([seed, attempt]).permutation(len(videos))
        order = [videos[place] for place in drawn]
        parts = order[2 * held_out :], order[:held_out], order[held_out : 2 * held_out]
        covered = tuple(len(set().union(*(activities[one] for one in part))) for part in parts)
        if covered > most:
            best = {video: split for split, part in zip(SPLITS, parts) for video in part}
            most = covered
    return best


def without_labels(videos: Iterable[str], seed: int) -> dict[str, str]:
    """Draws the split of each of some videos without labels: training or validation."""
    ordered = sorted(videos, key=natural_key)
    drawn = np.random.default_rng(seed).permutation(len(ordered))
    held_out = {ordered[place] for place in drawn[: max(1, round(SHARE * len(ordered)))]}
    return {video: SPLITS[video in held_out] for video in ordered}


def cuts(labels: Iterable[Label]) -> tuple[float, float]:
    """Finds where training ends and where test begins among the labels of a video, in seconds.

    The cuts divide its labelled time, between two labels where one ends near enough.
    """
    spans = _union(labels)
    total = sum(stop - start for start, stop in spans)
    return _cut(spans, total, 1 - 2 * SHARE), _cut(spans, total, 1 - SHARE)


def _union(labels: Iterable[Label]) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    for start, stop in sorted((label.start, label.stop) for label in labels):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((start, stop))
    return spans


def _cut(spans: Sequence[tuple[float, float]], total: float, share: float) -> float:
    before, exact, between = 0.0, spans[-1][1], []
    for (start, stop), (following, _) in itertools.pairwise([*spans, (spans[-1][1], 0.0)]):
        if before < share * total <= before + stop - start:
            exact = start + share * total - before
        before += stop - start
        between.append((abs(before / total - share), (stop + following) / 2))
    nearest = min(between[:-1], default=(1.0, 0.0))
    return nearest[1] if nearest[0] <= _NEAR else exact


def in_time(start: float, stop: float, cut: tuple[float, float], gap: float) -> str:
    """Says to which split a window belongs; "" if it is too near to another.

    Args:
      start: of the window, in seconds.
      stop: its end.
      cut: what `cuts` gives.
      gap: the seconds between two splits.
    """
    ends = (-np.inf, *cut, np.inf)
    for split, (first, last) in zip(SPLITS, itertools.pairwise(ends)):
        if start >= first + gap / 2 and stop <= last - gap / 2:
            return split
    return ""


def is_apart(start: float, stop: float, spans: Float[np.ndarray, "n 2"], gap: float) -> bool:
    """Says whether a window lies at least `gap` seconds from every span of starts and stops."""
    return not ((spans[:, 0] < stop + gap) & (spans[:, 1] > start - gap)).any()
