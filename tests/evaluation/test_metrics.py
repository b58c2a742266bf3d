import itertools
import pathlib

import numpy as np
import pytest

from stvh_jax.codes import packing as hash_codes
from stvh_jax.evaluation import metrics

DATA = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "volleyball"
BITS = 8


def judge_ranking(relevance, k, num_relevant):
    """Judge one order of the whole base, the textbook way."""
    hits, total = 0, 0.0
    for i, relevant in enumerate(relevance[:k], start=1):
        if relevant:
            hits += 1
            total += hits / i
    return {
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
    return metrics.tie_groups(
        np.asarray(distances, np.int32)[None],
        np.asarray(relevant, bool)[None],
        bits=BITS,
        excluded=excluded,
    )


def closed_forms(groups, k):
    return {
        "min(k, R)": metrics.average_precision_at_k(groups, k)[0],
        "k": metrics.average_precision_at_k(groups, k, over="k")[0],
        "hits": metrics.average_precision_over_hits(groups, k)[0],
        "precision": metrics.precision_at_k(groups, k)[0],
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
        value = metrics.average_precision_at_k(groups, k, ties=ties)[0]
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
    groups = metrics.tie_groups(distances[None], np.array(relevant, bool)[None], bits=16)
    values = closed_forms(groups, 5)
    assert values["k"] == pytest.approx((1 + 2 / 3) / 5)
    assert values["min(k, R)"] == pytest.approx((1 + 2 / 3) / 4)
    assert values["hits"] == pytest.approx((1 + 2 / 3) / 2)
    full = metrics.average_precision_at_k(groups, 10)[0]
    assert full == pytest.approx((1 + 2 / 3 + 3 / 6 + 4 / 10) / 4)


def test_queries_do_not_mix():
    rng = np.random.default_rng(0)
    distances = rng.integers(0, BITS + 1, (7, 53))
    relevant = rng.random((7, 53)) < rng.random((7, 1))
    excluded = rng.random((7, 53)) < 0.2
    together = metrics.tie_groups(distances, relevant, bits=BITS, excluded=excluded)
    for q in range(7):
        kept = ~excluded[q]
        alone = one_query(distances[q][kept], relevant[q][kept])
        for k in (1, 5, 60):
            for function in (
                metrics.average_precision_at_k,
                metrics.average_precision_over_hits,
                metrics.precision_at_k,
            ):
                assert function(together, k)[q] == pytest.approx(function(alone, k)[0], abs=1e-12)


def test_histograms_count_by_distance():
    groups = one_query([0, 8, 2, 2, 2], [1, 1, 0, 1, 1], excluded=np.arange(5) == 4)
    np.testing.assert_array_equal(groups.counts, [[1, 0, 2, 0, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(groups.relevant, [[1, 0, 1, 0, 0, 0, 0, 0, 1]])


def test_query_excluded_from_everything():
    groups = one_query([1, 1, 3], [1, 0, 1], excluded=[True, True, True])
    assert closed_forms(groups, 5) == {"min(k, R)": 0, "k": 0, "hits": 0, "precision": 0}


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match="k = 0"):
        metrics.average_precision_at_k(one_query([1], [1]), 0)


def random_codes(seed, clips, bits, centres=5):
    """Make codes in tight clusters, so that they tie."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], (centres, bits))[rng.integers(0, centres, clips)]
    flipped = np.where(rng.random(signs.shape) < 0.05, -signs, signs)
    return hash_codes.pack(flipped), flipped


def brute_retrieval(query_signs, base_signs, query_labels, base_labels, k, allowed):
    """Judge every query in a loop: mean AP@k over a thousand random tie orders, and P@H<=2."""
    rng = np.random.default_rng(99)
    values, radius, nonempty = [], [], []
    for q in range(len(query_signs)):
        kept = [m for m in range(len(base_signs)) if allowed(q, m) and base_labels[m] >= 0]
        relevant = np.array([base_labels[m] == query_labels[q] for m in kept], bool)
        if query_labels[q] < 0 or not relevant.any():
            continue
        distances = np.array([(query_signs[q] != base_signs[m]).sum() for m in kept])
        orders = [np.lexsort((rng.random(len(kept)), distances)) for _ in range(1000)]
        drawn = [judge_ranking(relevant[o], k, relevant.sum())["min(k, R)"] for o in orders]
        values.append((np.mean(drawn), np.var(drawn) / len(drawn)))
        ball = distances <= 2
        radius.append(relevant[ball].mean() if ball.any() else 0.0)
        nonempty.append(ball.any())
    means, variances = np.array(values).T
    error = np.sqrt(variances.sum()) / len(values)
    return means.mean(), error, np.mean(radius), np.mean(nonempty)


@pytest.mark.parametrize("within", [None, 10])
def test_retrieval_metrics_against_a_loop(within):
    rng = np.random.default_rng(4)
    packed, signs = random_codes(4, 61, 32)
    labels = rng.integers(-1, 4, 61)
    # Some clips have the same key frame as another of their match.
    ids = np.stack(
        [rng.integers(0, 3, 61), rng.permutation(61), 5 * rng.integers(0, 23, 61)], axis=1
    )

    def allowed(q, m):
        near = abs(ids[q, 2] - ids[m, 2]) < (within or 0)
        return not (ids[q, 0] == ids[m, 0] and (ids[q, 1] == ids[m, 1] or near))

    values = metrics.retrieval_metrics(
        packed[:29], packed, labels[:29], labels, ks=(7,),
        query_ids=ids[:29], base_ids=ids, exclude_within_frames=within,
    )  # fmt: skip
    mean, error, radius, nonempty = brute_retrieval(
        signs[:29], signs, labels[:29], labels, 7, allowed
    )
    assert abs(values["map@7"] - mean) <= 4 * error
    assert values["precision_hamming_radius_2"] == pytest.approx(radius)
    assert values["share_nonempty_hamming_radius_2"] == pytest.approx(nonempty)
    assert 0 < nonempty < 1
    assert values["map@7/worst_tie_order"] < values["map@7"] < values["map@7/best_tie_order"]


def test_keys_and_ranges():
    packed, _ = random_codes(1, 47, 16)
    labels = np.random.default_rng(1).integers(0, 3, 47)
    values = metrics.retrieval_metrics(packed, packed, labels, labels, ks=(5, 50))
    variants = ("", "/over_k", "/over_hits", "/best_tie_order", "/worst_tie_order")
    expected = {f"map@{k}{variant}" for k in (5, 50) for variant in variants}
    expected |= {"precision@5", "precision@50", "map"}
    expected |= {"precision_hamming_radius_2", "share_nonempty_hamming_radius_2"}
    assert set(values) == expected
    assert all(type(value) is float and 0 <= value <= 1 for value in values.values())
    # Some 16 of 47 clips are relevant: k = 50 ranks them all, over the same R as the full ranking.
    assert values["map@50"] == pytest.approx(values["map"])
    assert values["map@50/over_k"] < values["map@50"]


def test_retrieval_does_not_depend_on_the_chunks(monkeypatch):
    packed, _ = random_codes(2, 41, 16)
    labels = np.random.default_rng(2).integers(0, 3, 41)
    ids = np.stack([labels, np.arange(41), np.arange(41)], axis=1)

    def values():
        return metrics.retrieval_metrics(
            packed, packed, labels, labels, ks=(5,), query_ids=ids, base_ids=ids
        )

    whole = values()
    monkeypatch.setattr(metrics, "_CHUNK_PAIRS", 100)
    assert values() == whole


def test_perfect_codes_find_everything_but_themselves():
    signs = np.repeat(2 * np.eye(3, 8) - 1, [4, 5, 1], axis=0)
    labels = np.repeat([0, 1, 2], [4, 5, 1])
    # All have one key frame, and only the query itself is left out.
    ids = np.stack([np.zeros(10, int), np.arange(10), np.zeros(10, int)], axis=1)
    packed = hash_codes.pack(signs)
    alone = metrics.retrieval_metrics(
        packed, packed, labels, labels, ks=(3,), query_ids=ids, base_ids=ids
    )
    # The third class has one clip, which finds no other: it is not judged.
    assert alone["map@3"] == pytest.approx(1)
    assert alone["map"] == pytest.approx(1)
    last = slice(9, 10)
    nobody = metrics.retrieval_metrics(
        packed[last], packed, labels[last], labels, ks=(3,), query_ids=ids[last], base_ids=ids
    )
    assert all(np.isnan(value) for value in nobody.values())


@pytest.mark.parametrize(
    "options", [{"query_ids": np.zeros((2, 3), int)}, {"exclude_within_frames": 41}]
)
def test_half_given_ids_are_refused(options):
    packed, labels = np.zeros((2, 1), np.uint8), np.zeros(2, int)
    with pytest.raises(ValueError, match="ids"):
        metrics.retrieval_metrics(packed, packed, labels, labels, **options)


@pytest.mark.skipif(not DATA.exists(), reason="real data not present")
def test_temporal_neighbours_of_real_clips_are_left_out():
    ids = []
    for match in (1, 7, 39):
        lines = (DATA / "videos" / str(match) / "annotations.txt").read_text().splitlines()
        ids += [(match, int(line.split(".")[0])) for line in lines if line.strip()]
    ids = np.array(sorted(ids))[:, [0, 1, 1]]
    neighbours = sum(
        1 for a, b in itertools.pairwise(ids.tolist()) if a[0] == b[0] and b[1] - a[1] < 41
    )
    assert neighbours > 0
    # With one code for all, what the full ranking retrieves counts the clips that are left.
    same_code = np.zeros((len(ids), 1), np.uint8)
    labels = ids[:, 0]
    values = metrics.retrieval_metrics(
        same_code, same_code, labels, labels, ks=(len(ids),),
        query_ids=ids, base_ids=ids, exclude_within_frames=41,
    )  # fmt: skip
    found = 0
    for match, _, frame in ids.tolist():
        found += sum(1 for m, _, f in ids.tolist() if m == match and abs(f - frame) >= 41)
    assert values[f"precision@{len(ids)}"] == pytest.approx(found / len(ids) ** 2)


def test_classification_by_hand():
    actual = np.array([0, 0, 0, 1, 1, 3, -1, 3])
    predicted = np.array([0, 0, 1, 1, 1, 0, 2, 3])
    values = metrics.classification_metrics(predicted, actual, 4)
    assert values["accuracy"] == pytest.approx(5 / 7)
    assert values["mean_per_class_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    np.testing.assert_array_equal(values["confusion_matrix"], expected)


def test_masked_predictions_change_nothing():
    rng = np.random.default_rng(3)
    actual, predicted = rng.integers(-1, 5, (2, 7, 11))
    predicted = np.abs(predicted)
    mask = rng.random((7, 11)) < 0.6
    masked = metrics.classification_metrics(predicted, actual, 5, mask=mask)
    deleted = metrics.classification_metrics(predicted[mask], actual[mask], 5)
    np.testing.assert_array_equal(masked["confusion_matrix"], deleted["confusion_matrix"])
    assert masked["accuracy"] == deleted["accuracy"]
    garbage = np.where(mask, predicted, 77)
    again = metrics.classification_metrics(garbage, actual, 5, mask=mask)
    assert again["mean_per_class_accuracy"] == deleted["mean_per_class_accuracy"]


def test_nothing_to_classify_is_nan():
    values = metrics.classification_metrics(np.array([1]), np.array([-1]), 2)
    assert np.isnan(values["accuracy"])
    assert np.isnan(values["mean_per_class_accuracy"])
    assert values["confusion_matrix"].sum() == 0


@pytest.mark.parametrize(("predicted", "actual"), [(4, 0), (-1, 0), (0, 4)])
def test_impossible_class_is_refused(predicted, actual):
    with pytest.raises(ValueError, match="outside 0..3"):
        metrics.classification_metrics(np.array([predicted]), np.array([actual]), 4)


def test_class_distances_against_a_loop():
    packed, signs = random_codes(6, 23, 24)
    labels = np.random.default_rng(6).integers(-1, 3, 23)
    labels[labels == 2] = 1
    labels[7] = 2  # A class of one clip has no distance to itself; a fourth has no clip.
    distances = metrics.class_distances(packed, labels, 4)
    for a, b in itertools.product(range(4), range(4)):
        pairs = [
            (signs[i] != signs[j]).sum()
            for i in range(23)
            for j in range(23)
            if i != j and labels[i] == a and labels[j] == b
        ]
        expected = np.mean(pairs) if pairs else np.nan
        np.testing.assert_allclose(distances[a, b], expected, rtol=1e-12)
    assert np.isnan(distances[2, 2])


def test_code_health_by_hand():
    signs = np.ones((5, 8))
    signs[:2, 0] = -1
    signs[4, 1] = -1
    health = metrics.code_health(hash_codes.pack(signs))
    assert health["bit_balance"] == pytest.approx((1 / 5 + 3 / 5 + 6 * 1) / 8)
    assert health["distinct_codes"] == 3
    assert health["collision_rate"] == pytest.approx(4 / 5)
