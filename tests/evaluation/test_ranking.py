"""Rankings with ties against every order of the ties, or many random ones, judged one by one."""

import itertools

import numpy as np
import pytest

from stvh_jax.evaluation import ranking

BITS = 8


def judge_ranking(relevance, k, num_relevant):
    """Judge one order of the whole base, the textbook way."""
    hits, total = 0, 0.0
    for i, relevant in enumerate(relevance[:k], start=1):
        if relevant:
            hits += 1
            total += hits / i
    return {
        "hit": float(hits > 0),
        "expected hits": hits,
        "min(k, R)": total / min(k, num_relevant) if num_relevant else 0.0,
        "k": total / k,
        "hits": total / hits if hits else 0.0,
        "precision": hits / k,
    }


def every_order(distances, relevant):
    """Yield the relevance of every ranking that sorting by distance may give, each once."""
    groups = [np.flatnonzero(distances == d) for d in np.unique(distances)]
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [bool(relevant[i]) for order in orders for i in order]


def one_query(distances, relevant, excluded=None):
    excluded = None if excluded is None else np.asarray(excluded)[None]
    return ranking.tie_groups(
        np.asarray(distances, np.int32)[None],
        np.asarray(relevant, bool)[None],
        bits=BITS,
        excluded=excluded,
    )


def closed_forms(groups, k):
    return {
        "hit": ranking.hit_at_k(groups, k)[0],
        "expected hits": ranking.expected_hits(groups, k)[0],
        "min(k, R)": ranking.average_precision_at_k(groups, k)[0],
        "k": ranking.average_precision_at_k(groups, k, over="k")[0],
        "hits": ranking.average_precision_over_hits(groups, k)[0],
        "precision": ranking.precision_at_k(groups, k)[0],
    }


TINY = [
    ([3, 3, 3, 3, 3, 3], [1, 0, 1, 0, 0, 1]),  # All tied.
    ([0, 1, 1, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1, 1]),
    ([8, 8, 8, 2, 2, 5], [0, 0, 0, 1, 0, 1]),
    ([1, 4, 4, 4, 4], [1, 0, 0, 0, 1]),
    ([0, 0, 2, 2, 2, 7, 7], [0, 0, 1, 1, 1, 0, 0]),
    ([0, 1, 2, 3, 4], [0, 0, 1, 0, 0]),  # No ties.
    ([2, 2, 2, 6], [0, 0, 0, 0]),  # Nothing relevant.
    ([2, 2, 2, 6, 6], [1, 1, 1, 1, 1]),
    ([4], [1]),
]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize(("distances", "relevant"), TINY)
def test_all_orders_of_ties(distances, relevant, k):
    distances, relevant = np.array(distances), np.array(relevant, bool)
    judged = [judge_ranking(r, k, relevant.sum()) for r in every_order(distances, relevant)]
    groups = one_query(distances, relevant)
    for name, value in closed_forms(groups, k).items():
        assert value == pytest.approx(np.mean([j[name] for j in judged]), abs=1e-12), name
    for ties, extreme in (("best", max), ("worst", min)):
        value = ranking.average_precision_at_k(groups, k, ties=ties)[0]
        assert value == pytest.approx(extreme(j["min(k, R)"] for j in judged), abs=1e-12), ties


@pytest.mark.parametrize("k", [5, 23, 97])
def test_random_orders_of_large_ties(k):
    rng = np.random.default_rng(k)
    distances = rng.integers(0, 4, 83)
    relevant = rng.random(83) < 0.3
    samples = []
    for _ in range(4000):
        order = np.lexsort((rng.random(83), distances))
        samples.append(judge_ranking(relevant[order], k, relevant.sum()))
    for name, value in closed_forms(one_query(distances, relevant), k).items():
        drawn = np.array([sample[name] for sample in samples])
        # Equal up to four standard errors of the mean; exact where no order matters.
        assert abs(value - drawn.mean()) <= 4 * drawn.std() / np.sqrt(len(drawn)) + 1e-12, name


def test_worked_example():
    relevant = [1, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    distances = np.arange(10)
    groups = ranking.tie_groups(distances[None], np.array(relevant, bool)[None], bits=16)
    values = closed_forms(groups, 5)
    assert values["k"] == pytest.approx((1 + 2 / 3) / 5)
    assert values["min(k, R)"] == pytest.approx((1 + 2 / 3) / 4)
    assert values["hits"] == pytest.approx((1 + 2 / 3) / 2)
    full = ranking.average_precision_at_k(groups, 10)[0]
    assert full == pytest.approx((1 + 2 / 3 + 3 / 6 + 4 / 10) / 4)


def test_queries_do_not_mix():
    rng = np.random.default_rng(0)
    distances = rng.integers(0, BITS + 1, (7, 53))
    relevant = rng.random((7, 53)) < rng.random((7, 1))
    excluded = rng.random((7, 53)) < 0.2
    together = ranking.tie_groups(distances, relevant, bits=BITS, excluded=excluded)
    for q in range(7):
        kept = ~excluded[q]
        alone = one_query(distances[q][kept], relevant[q][kept])
        for k in (1, 5, 60):
            for function in (
                ranking.average_precision_at_k,
                ranking.average_precision_over_hits,
                ranking.precision_at_k,
                ranking.hit_at_k,
            ):
                assert function(together, k)[q] == pytest.approx(function(alone, k)[0], abs=1e-12)


def test_histograms_count_by_distance():
    groups = one_query([0, 8, 2, 2, 2], [1, 1, 0, 1, 1], excluded=np.arange(5) == 4)
    np.testing.assert_array_equal(groups.counts, [[1, 0, 2, 0, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(groups.relevant, [[1, 0, 1, 0, 0, 0, 0, 0, 1]])


@pytest.mark.parametrize("graded", [False, True])
def test_the_base_is_counted_some_items_at_a_time(monkeypatch, graded):
    monkeypatch.setattr(ranking, "_CHUNK_ITEMS", 7)
    monkeypatch.setattr(ranking, "_CHUNK_PAIRS", 21)
    rng = np.random.default_rng(0)
    queries, base = (rng.integers(0, 2, (count, BITS)) for count in (10, 40))
    worth = rng.random((10, 40)) if graded else rng.random((10, 40)) < 0.3
    ids = rng.integers(0, 3, (10, 3)), rng.integers(0, 3, (40, 3))
    groups = ranking.count_by_distance(
        np.packbits(queries, axis=1),
        np.packbits(base, axis=1),
        lambda some, items: worth[some, items],
        ids=ids,
        exclude_within_frames=2,
    )
    for q, query in enumerate(queries):
        match, clip, frame = (ids[1] == ids[0][q]).T
        near = abs(ids[1][:, 2] - ids[0][q, 2]) < 2
        kept = ~(match & (clip | near))
        for distance in range(BITS + 1):
            found = kept & ((query != base).sum(axis=1) == distance)
            assert groups.counts[q, distance] == found.sum()
            assert groups.relevant[q, distance] == pytest.approx(worth[q, found].sum())


def test_query_excluded_from_everything():
    groups = one_query([1, 1, 3], [1, 0, 1], excluded=[True, True, True])
    assert closed_forms(groups, 5) == dict.fromkeys(closed_forms(groups, 5), 0)


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match="k = 0"):
        ranking.average_precision_at_k(one_query([1], [1]), 0)


def test_radii_by_hand():
    groups = one_query([0, 0, 1, 3, 3], [1, 0, 1, 0, 1])
    assert [ranking.precision_within(groups, r)[0] for r in (0, 1, 2, 3)] == [
        1 / 2, 2 / 3, 2 / 3, 3 / 5,
    ]  # fmt: skip
    far = one_query([2, 5], [1, 1])
    assert [ranking.precision_within(far, r)[0] for r in (0, 1, 2)] == [0, 0, 1]
    assert [ranking.finds_within(far, r)[0] for r in (0, 1, 2)] == [False, False, True]


def test_graded_relevance_is_averaged_over_every_order():
    distances, relevance = np.array([1, 1, 1, 4, 4]), np.array([0.25, 1, 0, 0.5, 0.75])
    excluded = np.array([False, False, True, False, False])
    groups = ranking.tie_groups(
        distances[None], relevance[None], bits=BITS, excluded=excluded[None]
    )
    # Two items at distance 1 and two at distance 4 are left; three are taken.
    assert ranking.expected_hits(groups, 1)[0] == pytest.approx((0.25 + 1) / 2)
    assert ranking.expected_hits(groups, 3)[0] == pytest.approx(0.25 + 1 + (0.5 + 0.75) / 2)


@pytest.mark.parametrize("largest", [1, 2, 9, 47, 1000, 4829])
def test_positions_of_a_curve(largest):
    positions = ranking.curve_positions(largest)
    assert positions == sorted(set(positions))
    assert (positions[0], positions[-1]) == (1, largest)
    assert len(positions) <= 2 + 10 * np.log10(largest)
    assert {10, 100, 1000} & set(range(largest)) <= set(positions)
    # No gap is wider than a tenth of a power of ten, beside what rounding adds.
    assert all(b <= 1.3 * a + 1 for a, b in itertools.pairwise(positions))
