"""How well classes are read from features when few clips of the base are labelled."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from stvh_jax.evaluation.metrics import mean
from stvh_jax.evaluation.read_outs import (
    cosine,
    fit_linear,
    neighbour_votes,
    rightness,
    standardised,
)
from stvh_jax.unknown import UNKNOWN

# Labelled clips of each class; and how often they are drawn anew.
PER_CLASS = (1, 5, 10, 50)
DRAWS = 10

Similarity = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How well a read-out names the classes of the test clips; shares in 0..1, one per draw.

    Attributes:
      accuracy: the share of clips.
      recall: the mean over the classes of the share of their clips.
    """

    accuracy: list[float]
    recall: list[float]


def labelled_subset(
    labels: Int[np.ndarray, "M"], per_class: int | None, seed: int | Sequence[int]
) -> Int[np.ndarray, "n"]:
    """Draws some clips of each class, fewer where a class has fewer.

    With one seed, the clips drawn for a small number are among those drawn for a larger one.

    Args:
      labels: `UNKNOWN` is never drawn.
      per_class: how many of each class; None for all.
      seed: of the draw.

    Returns:
      The places of the clips, in order.
    """
    random = np.random.default_rng(seed)
    known = np.unique(labels[labels != UNKNOWN])
    of_class = [random.permutation(np.flatnonzero(labels == label)) for label in known]
    return np.sort(np.concatenate([np.empty(0, int), *(each[:per_class] for each in of_class)]))


def label_curve(
    queries: Float[np.ndarray, "Q D"],
    base: Float[np.ndarray, "M D"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    groups: Shaped[np.ndarray, "M"] | None = None,
    similarity: Similarity = cosine,
    per_class: Iterable[int | None] = (*PER_CLASS, None),
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, dict[int | None, Reading]]:
    """Reads the classes of the test clips by some labelled clips of the base.

    Clips of class `UNKNOWN` are left out on both sides. Features are standardised by the whole base
    for the linear read-out, which needs no label, and stay as they are for the neighbours.

    Args:
      queries: features of the test clips, none of which is in the base.
      base: features of the base clips.
      query_labels: the classes of the test clips.
      base_labels: the classes of the base clips.
      groups: see `read_outs.fit_linear`; of the base clips.
      similarity: of features, for the neighbours.
      per_class: how many labelled clips of each class; None for all, which are drawn once.
      draws: how often others are drawn.
      seed: of the first draw; any features of the same base are judged by the same draws.

    Returns:
      By read-out, "linear" or "neighbours", and by labels of each class.
    """
    judged = query_labels != UNKNOWN
    actual, classes = query_labels[judged], _count_classes(query_labels, base_labels)
    similar = similarity(queries[judged], base)
    own, others = standardised(queries[judged], base), standardised(base, base)
    found: dict[str, dict[int | None, Reading]] = {"linear": {}, "neighbours": {}}
    for count in per_class:
        right = {name: [] for name in found}
        for draw in range(1 if count is None else draws):
            places = labelled_subset(base_labels, count, [seed, draw])
            labels = base_labels[places]
            linear = fit_linear(
                others[places],
                labels,
                num_classes=classes,
                groups=None if groups is None else groups[places],
            )
            votes = neighbour_votes(similar[:, places], labels, num_classes=classes)
            right["linear"].append(rightness(linear.scores(own), actual))
            right["neighbours"].append(rightness(votes, actual))
        for name, of_draws in right.items():
            found[name][count] = Reading(
                accuracy=[mean(each) for each in of_draws],
                recall=[_mean_by_class(each, actual) for each in of_draws],
            )
    return found


def linear_accuracy(
    queries: Float[np.ndarray, "Q D"],
    base: Float[np.ndarray, "M D"],
    query_labels: Int[np.ndarray, "Q"],
    base_labels: Int[np.ndarray, "M"],
    *,
    groups: Shaped[np.ndarray, "M"] | None = None,
) -> float:
    """Gives the accuracy of the linear read-out that knows all labels of the base."""
    judged, known = query_labels != UNKNOWN, base_labels != UNKNOWN
    readout = fit_linear(
        standardised(base[known], base),
        base_labels[known],
        num_classes=_count_classes(query_labels, base_labels),
        groups=None if groups is None else groups[known],
    )
    scores = readout.scores(standardised(queries[judged], base))
    return mean(rightness(scores, query_labels[judged]))


def _count_classes(some: Int[np.ndarray, "Q"], others: Int[np.ndarray, "M"]) -> int:
    return 1 + max(int(each.max(initial=UNKNOWN)) for each in (some, others))


def _mean_by_class(values: Float[np.ndarray, "Q"], labels: Int[np.ndarray, "Q"]) -> float:
    """Averages over the classes the means of their clips; NaN without clips."""
    return mean(np.array([values[labels == label].mean() for label in np.unique(labels)]))
