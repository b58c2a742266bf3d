"""Exact search with a weight for each bit: the nearest rows, in the order of distance, then row.

d(c) = sum_k w_k [c_k != q_k], with whole numbers w_k from 0 on; Hamming distance is that of ones.
FAISS's fast scan (André, Kermarrec, Le Scouarnec, "Cache locality is not enough", VLDB 2015) reads
codes four bits at a time and adds up what a table of 16 rounded numbers says of them. How far the
rounded sums are from d is known from the tables, so that it is also known when the rows it found
must hold the nearest: their distances are then computed in full, and everything else is farther.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from stvh_jax.codes.nearest import Neighbours, Range
from stvh_jax.codes.packing import check_codes
from stvh_jax.errors import UserError

# FAISS makes these when it is imported, where type checkers do not see them as they are.
_IndexPQFastScan: Any = faiss.IndexPQFastScan
_IndexShards: Any = faiss.IndexShards
_NOTHING_AFTER: Any = vars(faiss)["FastScanDistancePostProcessing"]()
# The bits of each of the 256 bytes.
_BITS_OF_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.int64)
# Below so many rows, adding up all distances in full is as fast as a scan.
_FEW = 1 << 13
# The rows that a scan looks for at first, in all and for each that is asked for, and by how many
# times more where these do not hold the nearest for certain; and how many more at the most for
# rows that are left out, which may be the nearest of all.
_CANDIDATES, _FOR_EACH, _MORE, _LEFT_OUT = 64, 4, 8, 1 << 10
# Rows whose distances are added up at a time: what is in between stays in a core's own cache.
_ROWS = 1 << 15
# Rows that FAISS scans together: three quarters of the time of its default of 32.
_SCANNED_TOGETHER = 96
# Rows that are packed at a time, and scanned by one thread.
_ROWS_OF_A_PIECE = 1 << 19
# The largest sum of weights: distances, and sums of them, stay exact in 64 bits.
_MOST_WEIGHT = 1 << 40


@dataclasses.dataclass(frozen=True)
class WeightedCode:
    """What is searched for: a code and what each of its bits weighs.

    Attributes:
      code: packed, `[bytes]`.
      weights: `[K]`, whole numbers from 0 on; those of bits that do not matter are 0.
    """

    code: UInt8[np.ndarray, "bytes"]
    weights: Int64[np.ndarray, "K"]

    def __post_init__(self):
        """Checks them.

        Raises:
          UserError: they do not fit, a weight is negative, or all are too large.
        """
        check_codes(self.code, "query", axes=1)
        if self.weights.shape != (8 * len(self.code),):
            raise UserError(
                f"{len(self.weights)} weights for a code of {8 * len(self.code)} bits; give one "
                "for each"
            )
        if self.weights.min() < 0 or self.total > _MOST_WEIGHT:
            raise UserError("the weights of bits must be 0 or more, and not add up to 2^40")

    @functools.cached_property
    def total(self) -> int:
        """The sum of the weights: the largest distance."""
        return int(self.weights.sum())

    @property
    def signed(self) -> Int64[np.ndarray, "K"]:
        """The weights, negative where the bit is clear."""
        return np.where(np.unpackbits(self.code) == 1, self.weights, -self.weights)

    def distances(self, codes: UInt8[np.ndarray, "M bytes"]) -> Int64[np.ndarray, "M"]:
        """Adds up the weights of the bits in which each code differs."""
        if len(codes) < _FEW:
            # In 64-bit floats, which are exact here: whole numbers take twice the time.
            bits = np.unpackbits(np.bitwise_xor(codes, self.code), axis=1)
            return (bits @ self.weights.astype(np.float64)).astype(np.int64)
        tables = _BITS_OF_BYTES @ self.weights.reshape(-1, 8).T
        total = np.zeros(len(codes), np.int64)
        for start in range(0, len(codes), _ROWS):
            rows = slice(start, start + _ROWS)
            for table, column in zip(tables.T, (codes[rows] ^ self.code).T):
                total[rows] += table[column]
        return total


@dataclasses.dataclass(frozen=True)
class _Piece:
    """So many rows, side by side, as FAISS scans them."""

    rows: int
    index: Any


class ScannedCodes:
    """Packed codes, kept a second time in the order in which FAISS scans them."""

    def __init__(self, codes: UInt8[np.ndarray, "M bytes"]):
        """Takes codes; they are packed anew, once, when the first scan needs it.

        Raises:
          UserError: they are no packed codes.
        """
        check_codes(codes, "codes")
        self.codes = codes
        self._pieces: list[_Piece] | None = None

    def __len__(self) -> int:
        """Counts the codes."""
        return len(self.codes)

    def with_rows(
        self, codes: UInt8[np.ndarray, "rows bytes"], at: Int64[np.ndarray, "m"]
    ) -> "ScannedCodes":
        """Gives the same with new rows between the old; what has none is not packed again.

        Args:
          codes: of all rows, old and new.
          at: before which of the old rows each new one stands, ascending.
        """
        scanned = ScannedCodes(codes)
        if self._pieces is not None:
            ends = np.cumsum([piece.rows for piece in self._pieces])
            ends += np.searchsorted(at, ends, side="right")
            scanned._pieces = [
                new
                for piece, start, stop in zip(self._pieces, [0, *ends[:-1]], ends)
                for new in ([piece] if stop - start == piece.rows else _packed(codes[start:stop]))
            ]
        return scanned

    def nearest(
        self,
        query: WeightedCode,
        k: int | None,
        *,
        limit: int | None = None,
        without: Sequence[Range] = (),
        among: Bool[np.ndarray, "M"] | None = None,
    ) -> Neighbours:
        """Finds the k rows nearest to a query, or all within a distance.

        Args:
          query: what is searched for.
          k: how many; None for all within the limit.
          limit: the largest distance, itself included; None for any.
          without: ranges of rows (start, stop) that are left out, sorted and disjoint.
          among: says which rows are searched; None for all.

        Raises:
          UserError: the query has another length, or neither k nor a limit is given.
        """
        check_codes(query.code[None], "query", like=self.codes)
        if k is None and limit is None:
            raise UserError("give k, how many rows to find, or a largest distance")
        left_out = sum(stop - start for start, stop in without)
        count = max(_CANDIDATES, _FOR_EACH * (k or 0)) + min(left_out, _LEFT_OUT)
        if among is not None:
            count = int(count * len(self) / max(1, np.count_nonzero(among)))
        while len(self) > max(_FEW, _MORE * count):
            rows, beyond = self._scan(query, count)
            rows = _kept(rows, without, among)
            found = _nearest_of(rows, query.distances(self.codes[rows]), k, limit)
            if _is_whole(found, k, limit, beyond):
                return found
            count *= _MORE
        rows = _kept(np.arange(len(self)), without, among)
        return _nearest_of(rows, query.distances(self.codes[rows]), k, limit)

    def _scan(self, query: WeightedCode, count: int) -> tuple[Int64[np.ndarray, "m"], float]:
        """Finds rows by rounded distances.

        Returns:
          The rows, and a distance that no other row is nearer than.
        """
        signed = _as_scanned(query.signed.astype(np.float32))[None]
        # A row's similarity is the weight of all bits less twice its distance.
        similarities, rows = self._index.search(signed, count)
        most = float(similarities[0, -1]) + _largest_rounding(self._first.index, signed)
        # FAISS adds up in 32 bits.
        return rows[0], (query.total - most) / 2 - 1e-6 * query.total

    @property
    def _first(self) -> _Piece:
        if self._pieces is None:
            self._pieces = _packed(self.codes)
        return self._pieces[0]

    @functools.cached_property
    def _index(self) -> Any:
        """All pieces as one; several, of so many rows, are divided among FAISS's threads."""
        first = self._first
        assert self._pieces is not None  # the first is one of them
        if len(self._pieces) == 1:
            return first.index
        bits, threaded = 8 * self.codes.shape[1], faiss.omp_get_max_threads() > 1
        shards = _IndexShards(bits, threaded, True)
        for piece in self._pieces:
            shards.add_shard(piece.index)
        return shards


def _is_whole(found: Neighbours, k: int | None, limit: int | None, beyond: float) -> bool:
    """Says whether everything is found, where nothing else is nearer than `beyond`."""
    if k is not None and len(found.rows) == k:
        return bool(found.distances[-1] < beyond)
    return limit is not None and limit < beyond


def _nearest_of(rows, distances, k: int | None, limit: int | None) -> Neighbours:
    """Picks the nearest of some rows, in the order of distance, then row."""
    if limit is not None:
        rows, distances = rows[distances <= limit], distances[distances <= limit]
    if k is not None and len(rows) > k:
        near = distances <= np.partition(distances, k - 1)[k - 1]
        rows, distances = rows[near], distances[near]
    order = np.lexsort((rows, distances))
    found = Neighbours(rows[order], distances[order], 0)
    return found.cut(len(rows) if k is None else k)


def _kept(
    rows: Int64[np.ndarray, "m"], without: Sequence[Range], among: Bool[np.ndarray, "M"] | None
) -> Int64[np.ndarray, "kept"]:
    """Keeps the rows that are searched."""
    if without:  # sorted and disjoint, so that what is inside one has passed an odd number of edges
        edges = np.array(without, np.int64).ravel()
        rows = rows[np.searchsorted(edges, rows, side="right") % 2 == 0]
    return rows if among is None else rows[among[rows]]


def _packed(codes: UInt8[np.ndarray, "M bytes"]) -> list[_Piece]:
    """Packs codes in pieces of about the same size, so that little is held twice meanwhile."""
    pieces = -(-len(codes) // _ROWS_OF_A_PIECE)
    edges = [len(codes) * place // pieces for place in range(pieces + 1)]
    return [_packed_piece(codes[start:stop]) for start, stop in itertools.pairwise(edges)]


def _packed_piece(codes: UInt8[np.ndarray, "M bytes"]) -> _Piece:
    """Gives FAISS codes, as those of a quantizer that has signs for its centroids."""
    bits = 8 * codes.shape[1]
    signs = 2 * np.unpackbits(np.arange(16, dtype=np.uint8)[:, None], axis=1)[:, 4:] - np.float32(1)
    plain = faiss.IndexPQ(bits, bits // 4, 4, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.tile(signs.ravel(), bits // 4), plain.pq.centroids)
    plain.is_trained = True
    faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), plain.codes)
    plain.ntotal = len(codes)
    # At once: of blocks of more than 32 rows FAISS does not join two indexes rightly.
    return _Piece(len(codes), _IndexPQFastScan(plain, _SCANNED_TOGETHER))


def _largest_rounding(index: Any, query: Float[np.ndarray, "1 K"]) -> float:
    """Gives how far FAISS's similarities may be from the true ones.

    It multiplies what each four bits add by a scale, and rounds it to the nearest whole number.
    """
    parts = query.shape[1] // 4
    rounded, scale = np.empty(16 * parts, np.uint8), np.empty(2, np.float32)
    asked, table, scales = (faiss.swig_ptr(array) for array in (query, rounded, scale))
    index.compute_quantized_LUT(1, asked, table, scales, _NOTHING_AFTER)
    return parts / 2 / float(scale[0])


def _as_scanned(values: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
    """Puts what belongs to bits in FAISS's order: of each byte the lower four bits stand first."""
    return values.reshape(-1, 2, 4)[:, ::-1].ravel()
