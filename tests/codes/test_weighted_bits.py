"""Search by a weight of each bit, against a plain sum of every distance."""

import faiss
import numpy as np
import pytest

from stvh_jax.codes import weighted_bits
from stvh_jax.codes.weighted_bits import ScannedCodes, WeightedCode
from stvh_jax.errors import UserError


def by_hand(codes, query, k=None, limit=None, without=(), among=None):
    """Sorts all rows by (distance, row)."""
    bits, own = np.unpackbits(codes, axis=1), np.unpackbits(query.code)
    distances = [int(query.weights[row != own].sum()) for row in bits]
    rows = [row for row in range(len(codes)) if not any(a <= row < b for a, b in without)]
    rows = [row for row in rows if among is None or among[row]]
    rows = sorted(rows, key=lambda row: (distances[row], row))
    if limit is not None:
        rows = [row for row in rows if distances[row] <= limit]
    found = rows if k is None else rows[:k]
    last = distances[found[-1]] if found else None
    return found, [distances[row] for row in found], sum(distances[row] == last for row in rows)


def check(found, expected):
    rows, distances, ties = expected
    assert found.rows.tolist() == rows
    assert found.distances.tolist() == distances
    assert found.ties == ties


@pytest.fixture(params=["few", "scanned"])
def scanned(request, monkeypatch):
    """Rows are scanned from a few on, or all are compared."""
    if request.param == "scanned":
        monkeypatch.setattr(weighted_bits, "_FEW", 8)
        monkeypatch.setattr(weighted_bits, "_CANDIDATES", 16)


@pytest.mark.parametrize("bits", [8, 24, 64, 128, 256])
@pytest.mark.parametrize("kind", ["real", "whole", "few bits", "one bit"])
def test_the_nearest_are_found(scanned, bits, kind):
    rng = np.random.default_rng([bits, len(kind)])
    codes = rng.integers(0, 256, (1000, bits // 8), np.uint8)
    codes[500:] = codes[:500] ^ (rng.random((500, bits // 8)) < 0.1)  # some nearly, some equal
    weights = {
        "real": np.round(2**30 * rng.random(bits) / bits),
        "whole": rng.integers(0, 4, bits),
        "few bits": rng.integers(0, 100, bits) * (rng.random(bits) < 0.2),
        "one bit": np.arange(bits) == 5,
    }[kind].astype(np.int64)
    searched = ScannedCodes(codes)
    for row in (0, 400, 999):
        query = WeightedCode(codes[row], weights)
        for k in (1, 10, 400, 2000):
            check(searched.nearest(query, k), by_hand(codes, query, k))
        limit = int(weights.sum() // 4)
        check(searched.nearest(query, None, limit=limit), by_hand(codes, query, None, limit))
        check(searched.nearest(query, 7, limit=limit), by_hand(codes, query, 7, limit))
        without = [(0, 20), (row, row + 1)] if row > 20 else [(0, 300), (500, 999)]
        check(
            searched.nearest(query, 10, without=without),
            by_hand(codes, query, 10, without=without),
        )
        among = rng.random(len(codes)) < 0.3
        check(
            searched.nearest(query, 10, without=without, among=among),
            by_hand(codes, query, 10, without=without, among=among),
        )


def test_hamming_distance_is_that_of_ones():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (20_000, 16), np.uint8)
    flat = faiss.IndexBinaryFlat(128)
    flat.add(codes)
    query = rng.integers(0, 256, (1, 16), np.uint8)
    distances, _ = flat.search(query, 50)
    found = ScannedCodes(codes).nearest(WeightedCode(query[0], np.ones(128, np.int64)), 50)
    np.testing.assert_array_equal(found.distances, distances[0])


def test_few_rows_are_compared_in_full():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 256, (100_000, 16), np.uint8)
    searched, compared = ScannedCodes(codes), []

    class Counted(WeightedCode):
        def distances(self, codes):
            compared.append(len(codes))
            return super().distances(codes)

    query = Counted(codes[7], np.round(1000 * rng.random(128)).astype(np.int64))
    searched.nearest(query, 10)
    assert sum(compared) < 1000


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_are_searched_as_one(threads, monkeypatch):
    monkeypatch.setattr(weighted_bits, "_FEW", 8)
    monkeypatch.setattr(weighted_bits, "_ROWS_OF_A_PIECE", 700)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        rng = np.random.default_rng(5)
        codes = rng.integers(0, 256, (3000, 4), np.uint8)
        codes[1000:2000] = codes[rng.integers(0, 1000, 1000)]  # equals, in several pieces
        query = WeightedCode(codes[3], rng.integers(0, 9, 32))
        searched = ScannedCodes(codes)
        for k in (1, 10, 60):
            check(searched.nearest(query, k), by_hand(codes, query, k))
        assert len(searched._pieces) == 5
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("at", [[0], [3000], [600, 600, 601], [599], [1, 700, 2999], [5] * 900])
def test_new_rows_are_packed_with_those_beside_them(at, monkeypatch):
    monkeypatch.setattr(weighted_bits, "_FEW", 8)
    monkeypatch.setattr(weighted_bits, "_ROWS_OF_A_PIECE", 700)
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 256, (3000, 4), np.uint8)
    query = WeightedCode(codes[3], rng.integers(1, 9, 32))
    searched = ScannedCodes(codes)
    searched.nearest(query, 5)
    new = rng.integers(0, 256, (len(at), 4), np.uint8)
    new[-1] = codes[3]
    whole = np.insert(codes, at, new, axis=0)
    later = searched.with_rows(whole, np.array(at))
    kept = {id(piece) for piece in searched._pieces} & {id(piece) for piece in later._pieces}
    assert len(kept) >= 5 - len(set(at))
    assert sum(piece.rows for piece in later._pieces) == len(whole)
    for k in (1, 10, 60):
        check(later.nearest(query, k), by_hand(whole, query, k))
        check(searched.nearest(query, k), by_hand(codes, query, k))


def test_rounding_is_within_its_bound():
    """What FAISS adds up is no farther from the truth than is reckoned with."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 256, (5000, 16), np.uint8)
    (piece,) = weighted_bits._packed(codes)
    index = piece.index
    signs = 2.0 * np.unpackbits(codes, axis=1) - 1
    for spread in (0.1, 1, 4):
        weights = np.exp(spread * rng.standard_normal(128)).astype(np.float32)
        asked = weighted_bits._as_scanned(weights)[None]
        similarities, rows = index.search(asked, 2000)
        error = np.abs(similarities[0] - (signs @ weights)[rows[0]]).max()
        assert error < weighted_bits._largest_rounding(index, asked)


@pytest.mark.parametrize(
    ("code", "weights", "message"),
    [
        (np.zeros(2, np.uint8), np.ones(15, np.int64), "15 weights for a code of 16 bits"),
        (np.zeros(2, np.uint8), -np.ones(16, np.int64), "must be 0 or more"),
        (np.zeros(2, np.uint8), np.full(16, 1 << 40), "not add up to 2^40"),
    ],
)
def test_what_is_no_query_is_refused(code, weights, message):
    with pytest.raises(UserError, match=message.replace("^", r"\^")):
        WeightedCode(code, weights)


def test_what_makes_no_search_is_refused():
    searched = ScannedCodes(np.zeros((3, 2), np.uint8))
    with pytest.raises(UserError, match="give k, how many rows"):
        searched.nearest(WeightedCode(np.zeros(2, np.uint8), np.ones(16, np.int64)), None)
    with pytest.raises(UserError, match="cannot be compared"):
        searched.nearest(WeightedCode(np.zeros(4, np.uint8), np.ones(32, np.int64)), 1)
