"""Groups of codes that are alike: spherical k-means on their signs, weighed as a focus weighs bits.

A code is the unit vector x of its signs, each times the square root of what its bit weighs, so that
(1 - x . y) / 2 is the weighted share of the bits in which two codes differ. The centre of a group
is the direction of its mean, and each code is of the group whose centre is nearest.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

# Codes that are unpacked at a time.
_ROWS = 1 << 15
# Groups are fitted to so many codes, drawn at random; their number is chosen with fewer of them.
_FITTED, _TRIED = 1 << 13, 1 << 11
# How often k-means begins anew, and how long each goes on at most.
_STARTS, _STARTS_TRIED, _STEPS = 8, 2, 50
# Where the number of groups is left out, it is one of these.
NUMBERS = range(2, 17)

# How many points are drawn for each centre to begin with.
_CANDIDATES = 4

Points = Float32[np.ndarray, "M D"]
Away = Float64[np.ndarray, "M G"]


@dataclasses.dataclass(frozen=True, eq=False)
class WeighedCodes:
    """Codes, and what their bits weigh.

    Attributes:
      parts: packed codes `[M, bytes]` and the weights `[K]` of their bits, of one focus or of two
        that are blended.
    """

    parts: Sequence[tuple[UInt8[np.ndarray, "M bytes"], Float64[np.ndarray, "K"]]]

    def __len__(self) -> int:
        """Counts the codes."""
        return len(self.parts[0][0])

    def points(self, rows: slice | Int64[np.ndarray, "m"]) -> Points:
        """Gives some codes as unit vectors; bits that weigh nothing are left out."""
        total = sum(float(weights.sum()) for _, weights in self.parts)
        columns = []
        for codes, weights in self.parts:
            bits = np.flatnonzero(weights)
            signs = np.unpackbits(codes[rows], axis=1)[:, bits].astype(np.float32)
            columns.append((2 * signs - 1) * np.sqrt(weights[bits] / total).astype(np.float32))
        return np.concatenate(columns, axis=1)

    def blocks(self) -> Iterator[tuple[slice, Points]]:
        """Gives all codes as unit vectors, some at a time."""
        for start in range(0, len(self), _ROWS):
            rows = slice(start, start + _ROWS)
            yield rows, self.points(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """Codes by their groups, the largest group first.

    Attributes:
      labels: the group of each code, from 0.
      nearness: how near each is to the centre of its group: x . centre, up to 1.
      means: the mean vector of each group.
      silhouette: of the sample by which the number of groups was chosen: from -1 to 1, the more
        the better the groups stand apart; None where it was given.
    """

    labels: Int64[np.ndarray, "M"]
    nearness: Float32[np.ndarray, "M"]
    means: Float64[np.ndarray, "G D"]
    silhouette: float | None = None

    def members(self) -> list[Int64[np.ndarray, "m"]]:
        """Gives the codes of each group by their rows."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=len(self.means)))
        return np.split(order, ends)[:-1]


def different(codes: WeighedCodes, *, seed: int = 0) -> int:
    """Counts how many different codes there are among those that groups are fitted to."""
    points = codes.points(_drawn(len(codes), _FITTED, seed))
    return len(np.unique(np.packbits(points > 0, axis=1), axis=0))


def group(codes: WeighedCodes, number: int | None = None, *, seed: int = 0) -> Grouping:
    """Puts codes into groups.

    The same codes, number and seed make the same groups.

    Args:
      codes: one or more.
      number: how many groups, up to the number of `different` codes; None for that one of `NUMBERS`
        with the largest silhouette.
      seed: what is drawn at random depends on it.
    """
    points = codes.points(_drawn(len(codes), _FITTED, seed))
    silhouette = None
    if number is None:
        number, silhouette = _chosen(points, different(codes, seed=seed), seed)
    centres = _fitted(points, number, starts=_STARTS, seed=seed)
    labels = np.empty(len(codes), np.int64)
    nearness = np.empty(len(codes), np.float32)
    sums = np.zeros(centres.shape)
    for rows, block in codes.blocks():
        labels[rows], nearness[rows] = _assigned(block, centres)
        sums += _sums(block, labels[rows], number)
    counts = np.bincount(labels, minlength=number)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    places = np.empty(number, np.int64)
    places[order] = np.arange(len(order))
    means = sums[order] / counts[order, None]
    return Grouping(places[labels], nearness, means, silhouette)


def silhouette_of(points: Points, labels: Int64[np.ndarray, "M"]) -> float:
    """Computes the mean silhouette: how much farther the next group is than the own, 0 for alone.

    Args:
      points: unit vectors; two are (1 - x . y) / 2 apart.
      labels: the group of each, from 0; two groups or more.
    """
    number = int(labels.max()) + 1
    counts = np.bincount(labels, minlength=number)
    # The mean distance from a group is that from its mean vector.
    means = (_sums(points, labels, number) / counts[:, None]).astype(np.float32)
    away = 1 - _products(points, means)
    rows = np.arange(len(points))
    own = away[rows, labels] * counts[labels] / np.maximum(counts[labels] - 1, 1)
    away[rows, labels] = np.inf
    nearest = away.min(axis=1)
    larger = np.maximum(np.maximum(own, nearest), np.finfo(np.float32).tiny)
    return float(np.where(counts[labels] > 1, (nearest - own) / larger, 0).mean())


def _drawn(count: int, most: int, seed: int) -> Int64[np.ndarray, "m"]:
    """Draws rows, all of them where they are few, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _chosen(points: Points, most: int, seed: int) -> tuple[int, float | None]:
    """Chooses the number of groups."""
    tried = points[_drawn(len(points), _TRIED, seed)]
    best, number = -np.inf, 1
    for candidate in NUMBERS:
        if candidate > min(most, len(tried) - 1):
            break
        centres = _fitted(tried, candidate, starts=_STARTS_TRIED, seed=seed)
        labels = np.unique(_assigned(tried, centres)[0], return_inverse=True)[1]
        score = silhouette_of(tried, labels) if labels.max() else -np.inf
        if score > best:
            best, number = score, candidate
    return number, best if np.isfinite(best) else None


def _fitted(points: Points, number: int, *, starts: int, seed: int) -> Float32[np.ndarray, "G D"]:
    """Finds the centres of groups: of several starts, those that the points are nearest to."""
    best, found = -np.inf, points[:1]
    for start in range(starts):
        random = np.random.default_rng([seed, number, start])
        centres = _begun(points, number, random)
        total = before = -np.inf
        for _ in range(_STEPS):
            labels, nearness = _assigned(points, centres)
            total = float(nearness.sum(dtype=np.float64))
            if total <= before * (1 + 1e-7):
                break
            before = total
            sums = _sums(points, labels, number)
            lengths = np.linalg.norm(sums, axis=1)
            # A group without points, or whose points cancel out, begins anew at the worst placed.
            lost = np.flatnonzero(lengths < 1e-6)
            sums[lost] = points[np.argsort(nearness, kind="stable")[: len(lost)]]
            lengths[lost] = 1
            centres = (sums / lengths[:, None]).astype(np.float32)
        if total > best:
            best, found = total, centres
    return found


def _begun(points: Points, number: int, random: np.random.Generator) -> Float32[np.ndarray, "G D"]:
    """Draws the first centres as k-means++ does: far from one another, as far as points are.

    Of a few that are drawn for each, that one is taken to which the others are nearest.
    """
    chosen = [int(random.integers(len(points)))]
    away = _away(points, chosen)[:, 0]
    while len(chosen) < number and away.any():
        drawn = random.choice(len(points), _CANDIDATES, p=away / away.sum())
        then = np.minimum(away[:, None], _away(points, drawn))
        best = int(then.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        away = then[:, best]
    # Where no others are different, some are chosen again.
    repeats = [chosen[place % len(chosen)] for place in range(number)]
    return points[repeats]


def _assigned(
    points: Points, centres: Float32[np.ndarray, "G D"]
) -> tuple[Int64[np.ndarray, "M"], Float32[np.ndarray, "M"]]:
    """Gives each point its nearest centre, the first of equally near ones, and how near it is."""
    nearness = _products(points, centres)
    labels = nearness.argmax(axis=1)
    return labels, nearness[np.arange(len(points)), labels]


def _sums(
    points: Points, labels: Int64[np.ndarray, "M"], number: int
) -> Float64[np.ndarray, "G D"]:
    """Adds up the points of each group."""
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=number))
    parts = np.split(order, ends)[:-1]
    return np.stack([points[part].sum(axis=0, dtype=np.float64) for part in parts])


def _away(points: Points, places: Sequence[int] | Int64[np.ndarray, "G"]) -> Away:
    """Gives how far points are from some of them, exactly 0 where they are the same."""
    away = 1 - _products(points, points[places]).astype(np.float64)
    return np.where(away < 1e-6, 0, away)


def _products(points: Points, others: Float32[np.ndarray, "G D"]) -> Float32[np.ndarray, "M G"]:
    """Multiplies each point with each of some others.

    Not by BLAS, whose last digits depend on how many threads it has, and whose threads wait for
    one another where other programs compute, too.
    """
    return np.einsum("md,gd->mg", points, others)
