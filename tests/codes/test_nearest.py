"""The exact search against brute force: codes with and without many ties, ranges left out."""

import faiss
import numpy as np
import pytest

from stvh_jax.codes.nearest import Term, nearest, weighted_nearest, within
from stvh_jax.errors import UserError

QUERIES = 5
# Codes by how many of them are equal: uniform ones, few distinct ones, all the same, one byte.
CODES = {
    "uniform": lambda random: random.integers(0, 256, (2003, 16), dtype=np.uint8),
    "seven distinct": lambda random: random.integers(0, 256, (7, 8), dtype=np.uint8)[
        random.integers(0, 7, 1999)
    ],
    "all the same": lambda random: np.zeros((1201, 2), np.uint8),
    "one byte": lambda random: random.integers(0, 256, (1511, 1), dtype=np.uint8),
    "odd size": lambda random: random.integers(0, 256, (307, 3), dtype=np.uint8),
    "fewer than k": lambda random: random.integers(0, 256, (6, 8), dtype=np.uint8),
}
LEFT_OUT = [(), [(0, 2)], [(1, 3), (4, 5)], [(0, 6)]]


def brute_force(codes, query, without):
    """Gives the distances and rows of what is searched, in the order of (distance, row)."""
    rows = [row for row in range(len(codes)) if not any(a <= row < b for a, b in without)]
    bits = np.unpackbits(codes, axis=1).astype(int)
    asked = np.unpackbits(query).astype(int)
    return sorted((int(np.abs(bits[row] - asked).sum()), row) for row in rows)


def check(found, wanted, k):
    first = wanted[:k]
    assert list(zip(found.distances.tolist(), found.rows.tolist())) == first
    ties = sum(distance == first[-1][0] for distance, _ in wanted) if first else 0
    assert found.ties == ties


@pytest.mark.parametrize("without", LEFT_OUT, ids=str)
@pytest.mark.parametrize("kind", CODES)
def test_as_brute_force(kind, without):
    random = np.random.default_rng(0)
    codes = CODES[kind](random)
    queries = np.concatenate([codes[:2], random.integers(0, 256, (3, codes.shape[1]), np.uint8)])
    wanted = [brute_force(codes, query, without) for query in queries]
    for k in (1, 11, 53):
        for found, one in zip(nearest(codes, queries, k, without=without), wanted):
            check(found, one, k)
        for query, one in zip(queries, wanted):
            check(nearest(codes, query[None], k, without=without)[0], one, k)
            check(weighted_nearest([Term(codes, query)], k, without=without), one, k)
    for query, one in zip(queries, wanted):
        for radius in (0, 3, 4 * codes.shape[1], 8 * codes.shape[1]):
            near = [pair for pair in one if pair[0] <= radius]
            check(within(codes, query, radius, without=without), near, len(near))
            found = weighted_nearest([Term(codes, query)], None, radius=radius, without=without)
            check(found, near, len(near))


@pytest.mark.parametrize("kind", CODES)
def test_only_some_rows_are_found(kind):
    random = np.random.default_rng(0)
    codes = CODES[kind](random)
    for share in (0, 0.01, 0.5, 1):
        among = random.random(len(codes)) < share
        wanted = [pair for pair in brute_force(codes, codes[0], [(1, 3)]) if among[pair[1]]]
        for k in (1, 11):
            term = Term(codes, codes[0])
            check(weighted_nearest([term], k, without=[(1, 3)], among=among), wanted, k)


def test_a_weighted_sum_of_several_codes():
    random = np.random.default_rng(1)
    # More rows than one chunk.
    first, second = random.integers(0, 4, (2, 70001, 1), dtype=np.uint8)
    query, other = first[5], second[7]
    terms = [Term(first, query, 70), Term(second, other, 30), Term(first, other, 3)]
    bits = [np.unpackbits(term.codes ^ term.query, axis=1).sum(axis=1) for term in terms]
    total = 70 * bits[0].astype(int) + 30 * bits[1].astype(int) + 3 * bits[2].astype(int)
    wanted = [(int(total[row]), int(row)) for row in np.lexsort((np.arange(70001), total))]
    check(weighted_nearest(terms, 13), wanted, 13)
    near = [pair for pair in wanted if pair[0] <= 33]
    check(weighted_nearest(terms, None, radius=33), near, len(near))
    check(weighted_nearest(terms, 9, radius=33), near, 9)
    kept = [pair for pair in wanted if not 10 <= pair[1] < 69000]
    check(weighted_nearest(terms, 17, without=[(10, 69000)]), kept, 17)


def test_large_weights_do_not_overflow():
    codes = np.array([[255, 255], [0, 1], [0, 0]], np.uint8)
    terms = [Term(codes, codes[2], (1 << 31) - 1)] * 3
    found = weighted_nearest(terms, 3)
    check(found, [(3 * ((1 << 31) - 1) * bits, row) for bits, row in ((0, 2), (1, 1), (16, 0))], 3)


def test_read_only_codes_and_one_thread_for_one_query():
    before = faiss.omp_get_max_threads()
    codes = np.arange(64, dtype=np.uint8)[:, None]
    codes.flags.writeable = False
    assert nearest(codes, codes[:1], 3)[0].rows.tolist() == [0, 1, 2]
    assert within(codes, codes[0], 0).rows.tolist() == [0]
    assert weighted_nearest([Term(codes, codes[0])], 1).rows.tolist() == [0]
    assert faiss.omp_get_max_threads() == before


FEW = np.arange(24, dtype=np.uint8).reshape(6, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest(FEW.astype(int), FEW, 1), "codes: int64 (6, 4) are no packed codes"),
        (lambda: nearest(FEW, FEW.astype(float), 1), "queries: float64 (6, 4) are no packed"),
        (lambda: nearest(FEW, FEW[0], 1), "queries: uint8 (4,) are no packed codes"),
        (lambda: nearest(FEW, FEW[:, :3], 1), "queries: codes of 24 bits cannot be compared"),
        (
            lambda: nearest(FEW[:, :2], FEW[:, :2], 1),
            "codes are not contiguous in memory",
        ),
        (lambda: nearest(FEW[::2], FEW, 1), "codes are not contiguous"),
        (lambda: nearest(FEW.tolist(), FEW, 1), "codes: of type list are no packed codes"),
        (lambda: nearest(FEW, FEW, 0), "k is 0; give 1 or more"),
        (lambda: nearest(FEW, FEW, 1, without=[(0, 7)]), "the ranges to leave out are not"),
        (lambda: nearest(FEW, FEW, 1, without=[(3, 4), (1, 2)]), "the ranges to leave out"),
        (
            lambda: within(FEW, FEW[:1], 1),
            "query: uint8 (1, 4) are no packed codes",
        ),
        (lambda: within(FEW, FEW[0], 1, without=[(-1, 2)]), "the ranges to leave out"),
        (lambda: weighted_nearest([], 1), "there are no terms"),
        (
            lambda: weighted_nearest([Term(FEW, FEW[0]), Term(FEW[:2], FEW[0])], 1),
            "the terms have 6 and 2 codes",
        ),
        (lambda: weighted_nearest([Term(FEW, FEW[0, :2])], None), "query: codes of 16 bits"),
    ],
)
def test_what_cannot_be_searched_is_said(call, message, unchecked_shapes):
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_queries_need_not_be_contiguous():
    queries = np.repeat(FEW, 2, axis=1)[:, ::2]
    assert [found.rows.tolist() for found in nearest(FEW, queries, 1)] == [[i] for i in range(6)]
