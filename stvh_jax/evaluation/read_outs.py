"""What can be read of a class from features that stay as they are, by those who know few classes.

Features are real numbers, such as h, or bits as -1 and +1. A linear read-out is a multinomial
logistic regression; the other read-out lets the nearest labelled clips vote. NumPy and SciPy only,
and nothing is drawn at random.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, logsumexp

# The strengths of L2 among which the labelled clips choose, the strongest first.
STRENGTHS = tuple(10 ** (halves / 2) for halves in range(1, -9, -1))
# What is taken where they cannot: nothing can be held out of one clip per class.
UNCHOSEN = 0.1
_FOLDS = 5
# By how much of itself the loss must still fall for a fit to go on: where fits are compared, which
# is most of the time, less will do.
_FINE, _ROUGH = 1e-10, 1e-7

# Those of the usual nearest-neighbour read-out of frozen features; chosen before any was measured.
NEIGHBOURS = 20
TEMPERATURE = 0.07


@dataclasses.dataclass(frozen=True, eq=False)
class LinearReadOut:
    """Reads the scores of G classes from D features.

    Attributes:
      kernel: `[D, G]`.
      bias: `[G]`; minus infinity for a class that no labelled clip had.
      strength: the strength of L2 that it was fitted with.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float

    def scores(self, features: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "M G"]:
        """Gives the logits of the classes."""
        return features @ self.kernel + self.bias


def standardised(
    features: Float[np.ndarray, "M D"], base: Float[np.ndarray, "B D"]
) -> Float[np.ndarray, "M D"]:
    """Moves and scales features so that those of the base have mean 0 and variance 1.

    A feature that is the same in the whole base is only moved.
    """
    spread = base.std(axis=0, dtype=np.float64)
    moved = features - base.mean(axis=0, dtype=np.float64)
    # The spread of equal numbers is not quite 0 after rounding.
    return moved / np.where(spread > 1e-9 * np.abs(base).max(axis=0, initial=0), spread, 1.0)


def fit_linear(
    features: Float[np.ndarray, "M D"],
    labels: Int[np.ndarray, "M"],
    *,
    num_classes: int,
    groups: Shaped[np.ndarray, "M"] | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearReadOut:
    r"""Fits a multinomial logistic regression, and chooses its strength of L2 on these clips alone.

    $$\frac1M \sum_m -\log p_m(y_m) + \frac{\lambda}{2} \lVert W \rVert^2$$

    The strength is the one whose fits on four fifths of the clips lose least on the rest (mean of
    -log p), the stronger of equals. Clips of one group are never on both sides.

    Args:
      features: of labelled clips, standardised.
      labels: their classes, 0..G-1.
      num_classes: G; some classes may have no clip.
      groups: what may not be on both sides, such as the match of each clip.
      strengths: those to choose from, the strongest first.
    """
    strength = choose_strength(features, labels, groups=groups, strengths=strengths)
    present, targets = np.unique(labels, return_inverse=True)
    weights = _fit(features, targets, len(present), strength)
    kernel, bias = np.zeros((features.shape[1], num_classes)), np.full(num_classes, -np.inf)
    kernel[:, present], bias[present] = weights[:-1], weights[-1]
    return LinearReadOut(kernel, bias, strength)


def choose_strength(
    features: Float[np.ndarray, "M D"],
    labels: Int[np.ndarray, "M"],
    *,
    groups: Shaped[np.ndarray, "M"] | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Chooses the strength of L2 by cross-validation, see `fit_linear`.

    A clip counts if the others have one of its class. `UNCHOSEN` is taken if there is no such clip,
    or only one strength is given.
    """
    if len(strengths) == 1:
        return strengths[0]
    losses, counted = np.zeros(len(strengths)), 0
    folds = _folds(labels, groups)
    for fold in range(folds.max() + 1):
        out = folds == fold
        present, targets = np.unique(labels[~out], return_inverse=True)
        out &= np.isin(labels, present)
        if len(present) < 2 or not out.any():
            continue
        right, weights = np.searchsorted(present, labels[out]), None
        for place, strength in enumerate(strengths):
            weights = _fit(
                features[folds != fold], targets, len(present), strength, weights, fall=_ROUGH
            )
            log_p = log_softmax(features[out] @ weights[:-1] + weights[-1], axis=1)
            losses[place] -= log_p[np.arange(len(right)), right].sum()
        counted += len(right)
    return strengths[int(losses.argmin())] if counted else UNCHOSEN


def _folds(
    labels: Int[np.ndarray, "M"], groups: Shaped[np.ndarray, "M"] | None
) -> Int[np.ndarray, "M"]:
    """Deals clips to folds: whole groups, the largest first, to the fold with the fewest clips.

    Without two groups the clips of each class are dealt in turn.
    """
    names, of_clip = np.unique(
        np.zeros(len(labels)) if groups is None else groups, return_inverse=True
    )
    if len(names) < 2:
        order, folds = np.argsort(labels, kind="stable"), np.empty(len(labels), int)
        folds[order] = np.arange(len(labels)) % _FOLDS
        return folds
    sizes, of_group = np.bincount(of_clip), np.empty(len(names), int)
    filled = np.zeros(min(_FOLDS, len(names)))
    for group in np.argsort(-sizes, kind="stable"):
        of_group[group] = filled.argmin()
        filled[of_group[group]] += sizes[group]
    return of_group[of_clip]


def _fit(
    features, targets, classes: int, strength: float, start=None, *, fall: float = _FINE
) -> np.ndarray:
    """Gives the kernel and, as the last row, the bias; `targets` are 0..classes-1, each present."""
    rows, size = np.arange(len(targets)), features.shape[1]
    one_hot = np.zeros((len(targets), classes))
    one_hot[rows, targets] = 1.0

    def loss(flat):
        weights = flat.reshape(size + 1, classes)
        scores = features @ weights[:-1] + weights[-1]
        total = np.asarray(logsumexp(scores, axis=1, keepdims=True))
        errors = (np.exp(scores - total) - one_hot) / len(targets)
        gradient = np.concatenate([features.T @ errors, errors.sum(axis=0, keepdims=True)])
        gradient[:-1] += strength * weights[:-1]
        missed = (total[:, 0] - scores[rows, targets]).mean()
        return missed + strength / 2 * (weights[:-1] ** 2).sum(), gradient.ravel()

    first = np.zeros((size + 1, classes)) if start is None else start
    options = {"maxiter": 1000, "ftol": fall, "gtol": 1e-6}
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(size + 1, classes)


def cosine(
    queries: Float[np.ndarray, "Q D"], base: Float[np.ndarray, "M D"]
) -> Float[np.ndarray, "Q M"]:
    """Gives the cosine of every two features; of bits as -1 and +1, 1 - 2 d / K, d of Hamming.

    Bits at equal distances have equal cosines, exactly. Features without a direction have 0.
    """
    queries, base = queries.astype(np.float64), base.astype(np.float64)
    # The products of bits are whole numbers, and these are rounded alike after the division alone.
    lengths = [np.linalg.norm(each, axis=1) for each in (queries, base)]
    lengths = [np.where(length > 0, length, 1.0) for length in lengths]
    return queries @ base.T / lengths[0][:, None] / lengths[1]


def nearness(
    queries: Float[np.ndarray, "Q D"], base: Float[np.ndarray, "M D"]
) -> Float[np.ndarray, "Q M"]:
    """Gives the Euclidean distance of every two features, negative, so that the nearest is most."""
    return -cdist(queries, base)


def neighbour_votes(
    similarity: Float[np.ndarray, "Q M"],
    labels: Int[np.ndarray, "M"],
    *,
    num_classes: int,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Float[np.ndarray, "Q G"]:
    """Lets the k most similar labelled clips vote for their classes, with exp(similarity / t).

    Of clips that are equally similar some may be among the k and others not: each then has its
    share of a vote, which is the mean over all orders of equals.

    Args:
      similarity: of each query and each labelled clip, as from `cosine` or `nearness`.
      labels: of the clips, 0..G-1.
      num_classes: G.
      k: how many vote; all, where there are fewer.
      temperature: t, in the unit of the similarity.

    Returns:
      The votes of each class; the most similar clip has one.
    """
    k = min(k, similarity.shape[1])
    last = -np.partition(-similarity, k - 1, axis=1)[:, k - 1 : k]
    nearer, at = similarity > last, similarity == last
    shares = nearer + at * (k - nearer.sum(axis=1, keepdims=True)) / at.sum(axis=1, keepdims=True)
    nearest = similarity.max(axis=1, keepdims=True)
    votes = shares * np.exp((similarity - nearest) / temperature)
    return votes @ (labels[:, None] == np.arange(num_classes)).astype(np.float64)


def rightness(
    scores: Float[np.ndarray, "Q G"], labels: Int[np.ndarray, "Q"]
) -> Float[np.ndarray, "Q"]:
    """Gives how probably each query's class is the one of the highest score, equals being drawn."""
    best = scores.max(axis=1, keepdims=True)
    first = scores >= best - 1e-9 * np.abs(best)  # sums of the same votes in another order
    return first[np.arange(len(labels)), labels] / first.sum(axis=1)
