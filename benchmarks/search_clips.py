"""The clips that the benchmark of the search draws, and what finds them without an index."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from stvh_jax.codes.filter_matrix import FilterMatrix

# The focus whose codes are stored, one that is derived, and one between two that are.
STORED, DERIVED, BETWEEN = 4, 2.0, 2.3
MATCHES = 55
MATCH = "7"
# Conditions by the share of the clips that meet them; the clips of a match are side by side, those
# of the others scattered.
CONDITIONS = {
    "1/55": f"match = '{MATCH}'",
    "50 %": "activity = 'left'",
    "90 %": "split = 'train'",
}
# Clips drawn and added at a time.
BATCH = 10**6
# Rows that NumPy compares at a time: all that it touches stays in a core's own cache.
CHUNK = 1 << 14


def filter_matrix(bits: int) -> FilterMatrix:
    """Draws a binary F of one matrix for all steps."""
    factor = np.random.default_rng(bits).integers(0, 2, (1, bits, bits)) * 2 - 1
    return FilterMatrix(factor, STORED)


def drawn(clips: int, bits: int, distinct: int | None) -> Iterator[tuple[np.ndarray, dict]]:
    """Draws clips a batch at a time, the same ones each time: packed codes and records.

    Args:
      clips: how many.
      bits: of a code.
      distinct: how many different codes there are; None for any.
    """
    few = np.random.default_rng(bits).integers(0, 256, (distinct or 0, bits // 8), np.uint8)
    for start in range(0, clips, BATCH):
        random = np.random.default_rng((clips, bits, start))
        clip = np.arange(start, min(start + BATCH, clips))
        codes = random.integers(0, 256, (len(clip), bits // 8), np.uint8)
        if distinct:
            codes = few[random.integers(distinct, size=len(clip))]
        yield (
            codes,
            {
                "match": (clip * MATCHES // clips).astype(str),
                "clip": clip,
                "activity": np.where(random.random(len(clip)) < 0.5, "left", "right"),
                "split": np.where(random.random(len(clip)) < 0.9, "train", "test"),
            },
        )


def masks(records: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Says which clips each of `CONDITIONS` lets through."""
    return {
        "1/55": records["match"] == MATCH,
        "50 %": records["activity"] == "left",
        "90 %": records["split"] == "train",
    }


@dataclasses.dataclass(frozen=True)
class Clips:
    """All clips of an index in memory: packed codes of the stored focus, and conditions met."""

    codes: np.ndarray
    masks: dict[str, np.ndarray]

    @classmethod
    def draw(cls, clips: int, bits: int, distinct: int | None = None) -> "Clips":
        """Draws the same clips that `build` puts into an index."""
        codes, passing = zip(
            *((codes, masks(record)) for codes, record in drawn(clips, bits, distinct))
        )
        joined = {share: np.concatenate([one[share] for one in passing]) for share in CONDITIONS}
        return cls(np.concatenate(codes), joined)


def words(codes: np.ndarray) -> np.ndarray:
    """Views codes as 64-bit words."""
    return codes.view(np.uint64)


class NumpyScan:
    """What NumPy alone can do: chunks in a core's cache, nothing allocated, few rows selected."""

    def __init__(self, codes: np.ndarray):
        """Lays out the codes, one contiguous column a word."""
        self._columns = np.ascontiguousarray(words(codes).T)
        self._different = np.empty(CHUNK, np.uint64)
        self._ones = np.empty(CHUNK, np.uint8)
        # Distances that 8 bits hold are selected from twice as fast.
        narrow = codes.shape[1] * 8 <= np.iinfo(np.uint8).max
        self._total = np.empty(CHUNK, np.uint8 if narrow else np.uint16)

    def nearest(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds distances and rows of the k nearest, equals in the order of their rows."""
        distances, rows = np.empty(0, self._total.dtype), np.empty(0, np.int64)
        limit = np.iinfo(self._total.dtype).max
        for start in range(0, self._columns.shape[1], CHUNK):
            total = self._distances(words(query), start)
            # Of equals the first rows count, and they were here first.
            near = np.flatnonzero(total < limit)
            if not len(near):
                continue
            distances = np.concatenate([distances, total[near]])
            rows = np.concatenate([rows, start + near])
            order = np.argsort(distances, kind="stable")[:k]
            distances, rows = distances[order], rows[order]
            if len(rows) == k:
                limit = distances[-1]
        return distances, rows

    def _distances(self, query_words: np.ndarray, start: int) -> np.ndarray:
        size = min(CHUNK, self._columns.shape[1] - start)
        different, ones, total = self._different[:size], self._ones[:size], self._total[:size]
        for place, (column, word) in enumerate(zip(self._columns, query_words)):
            np.bitwise_xor(column[start : start + size], word, out=different)
            np.bitwise_count(different, out=ones if place else total, casting="unsafe")
            if place:
                np.add(total, ones, out=total)
        return total


def brute_force(distances: np.ndarray, passing: np.ndarray, k: int):
    """Gives distances and rows of the k nearest of those that pass, equals by their rows."""
    rows = np.flatnonzero(passing)
    distances = distances[rows]
    k = min(k, len(rows))
    near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
    nearest = near[np.argsort(distances[near], kind="stable")][:k]
    return distances[nearest], rows[nearest]


def derive_by_product(matrix: FilterMatrix, codes: np.ndarray, focus: int) -> np.ndarray:
    """Derives a focus as NumPy can, by products in float32, exact up to 2^24, block by block."""
    factor = matrix.matrices[focus].T.astype(np.float32)
    derived = np.empty_like(codes)
    for start in range(0, len(codes), CHUNK):
        block = codes[start : start + CHUNK]
        values = (np.float32(2) * np.unpackbits(block, axis=1) - np.float32(1)) @ factor
        means = values.mean(axis=1, dtype=np.float64, keepdims=True)
        derived[start : start + CHUNK] = np.packbits(values >= means, axis=1)
    return derived


def weights_of(query: np.ndarray) -> np.ndarray:
    """Draws what each bit weighs of a linear query that is on the side of a code."""
    signs = 2.0 * np.unpackbits(query) - 1
    return signs * np.abs(np.random.default_rng(int(query[0])).standard_normal(len(signs)))


def weighted_apart(query: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Adds up the weights of the bits in which codes differ from a query, in units of a bit."""
    weights = np.abs(weights_of(query))
    total = np.zeros(len(codes))
    for bit, weight in enumerate(weights):
        total += weight * ((codes[:, bit // 8] ^ query[bit // 8]) >> (7 - bit % 8) & 1)
    return total * len(weights) / weights.sum(), 1
