import itertools
import pathlib

import numpy as np
import pytest

from stvh_jax.codes import packing as hash_codes
from stvh_jax.evaluation import metrics, ranking

DATA = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "volleyball"


def judge(*codes_and_labels, ks=(5, 10, 20, 50), **options):
    """Judge codes by their labels."""
    ranked = metrics.rank_by_label(*codes_and_labels, **options)
    return metrics.retrieval_metrics(ranked.groups, ks=ks)


def judge_ranking(relevance, k, num_relevant):
    """Judge one order of the whole base, the textbook way."""
    hits = np.cumsum(relevance)[:k]
    precisions = hits / np.arange(1, len(hits) + 1)
    return (precisions * relevance[:k]).sum() / min(k, num_relevant)


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
        drawn = [judge_ranking(relevant[o], k, relevant.sum()) for o in orders]
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

    values = judge(
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
    values = judge(packed, packed, labels, labels, ks=(5, 50))
    variants = ("", "/over_k", "/over_hits", "/best_tie_order", "/worst_tie_order")
    expected = {f"map@{k}{variant}" for k in (5, 50) for variant in variants}
    expected |= {"precision@50", "map"}
    expected |= {f"{name}@{k}" for name in ("hit", "precision") for k in (1, 2, 3, 5, 10)}
    expected |= {
        f"{name}_hamming_radius_{radius}"
        for name in ("precision", "share_nonempty")
        for radius in (0, 1, 2)
    }
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
        return judge(packed, packed, labels, labels, ks=(5,), query_ids=ids, base_ids=ids)

    whole = values()
    monkeypatch.setattr(ranking, "_CHUNK_PAIRS", 100)
    assert values() == whole


def test_perfect_codes_find_everything_but_themselves():
    signs = np.repeat(2 * np.eye(3, 8) - 1, [4, 5, 1], axis=0)
    labels = np.repeat([0, 1, 2], [4, 5, 1])
    # All have one key frame, and only the query itself is left out.
    ids = np.stack([np.zeros(10, int), np.arange(10), np.zeros(10, int)], axis=1)
    packed = hash_codes.pack(signs)
    alone = judge(packed, packed, labels, labels, ks=(3,), query_ids=ids, base_ids=ids)
    # The third class has one clip, which finds no other: it is not judged.
    assert alone["map@3"] == pytest.approx(1)
    assert alone["map"] == pytest.approx(1)
    last = slice(9, 10)
    nobody = judge(
        packed[last], packed, labels[last], labels, ks=(3,), query_ids=ids[last], base_ids=ids
    )
    assert all(np.isnan(value) for value in nobody.values())


@pytest.mark.parametrize(
    "options", [{"query_ids": np.zeros((2, 3), int)}, {"exclude_within_frames": 41}]
)
def test_half_given_ids_are_refused(options):
    packed, labels = np.zeros((2, 1), np.uint8), np.zeros(2, int)
    with pytest.raises(ValueError, match="ids"):
        judge(packed, packed, labels, labels, **options)


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
    values = judge(
        same_code, same_code, labels, labels, ks=(len(ids),),
        query_ids=ids, base_ids=ids, exclude_within_frames=41,
    )  # fmt: skip
    found = 0
    for match, _, frame in ids.tolist():
        found += sum(1 for m, _, f in ids.tolist() if m == match and abs(f - frame) >= 41)
    assert values[f"precision@{len(ids)}"] == pytest.approx(found / len(ids) ** 2)


def test_curves_and_class_means_against_a_loop():
    packed, signs = random_codes(8, 53, 16)
    labels = np.random.default_rng(8).integers(-1, 3, 53)
    labels[0] = 3  # The only clip of its class is not judged.
    ids = np.stack([np.zeros(53, int), np.arange(53), np.arange(53)], axis=1)
    ranked = metrics.rank_by_label(
        packed[:19], packed, labels[:19], labels, query_ids=ids[:19], base_ids=ids
    )
    curves = metrics.retrieval_curves(ranked.groups)
    assert curves["n"][:5] == [1, 2, 3, 4, 5]
    assert curves["n"][-1] == (labels >= 0).sum() - 1
    rng = np.random.default_rng(9)
    precision, recall, by_class = [], [], {0: [], 1: [], 2: []}
    for q in range(19):
        kept = np.flatnonzero((labels >= 0) & (np.arange(53) != q))
        relevant = labels[kept] == labels[q]
        if labels[q] < 0 or not relevant.any():
            continue
        distances = (signs[q] != signs[kept]).sum(axis=1)
        orders = [relevant[np.lexsort((rng.random(len(kept)), distances))] for _ in range(400)]
        hits = np.mean(np.cumsum(orders, axis=1), axis=0)[np.array(curves["n"]) - 1]
        precision.append(hits / curves["n"])
        recall.append(hits / relevant.sum())
        whole = [judge_ranking(order, len(order), relevant.sum()) for order in orders]
        by_class[labels[q]].append(np.mean(whole))
    # Of 400 orders; the standard error of each is a few thousandths.
    np.testing.assert_allclose(curves["precision"], np.mean(precision, axis=0), atol=0.015)
    np.testing.assert_allclose(curves["recall"], np.mean(recall, axis=0), atol=0.015)
    assert curves["recall"][-1] == pytest.approx(1)
    means = metrics.map_by_class(ranked, 4)
    assert means[:3] == pytest.approx([np.mean(by_class[label]) for label in range(3)], abs=0.015)
    assert np.isnan(means[3])


def test_curves_of_nothing_are_empty():
    packed = np.zeros((2, 1), np.uint8)
    ranked = metrics.rank_by_label(packed, packed, np.array([0, 1]), np.array([2, 3]))
    assert metrics.retrieval_curves(ranked.groups) == {"n": [], "precision": [], "recall": []}
    assert np.isnan(metrics.map_by_class(ranked, 2)).all()


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


@pytest.mark.parametrize("weights", [None, np.arange(24) % 5 / 3])
def test_class_distances_against_a_loop(weights):
    packed, signs = random_codes(6, 23, 24)
    labels = np.random.default_rng(6).integers(-1, 3, 23)
    labels[labels == 2] = 1
    labels[7] = 2  # A class of one clip has no distance to itself; a fourth has no clip.
    distances = metrics.class_distances(packed, labels, 4, weights)
    of_bits = np.ones(24) if weights is None else weights
    for a, b in itertools.product(range(4), range(4)):
        pairs = [
            of_bits[signs[i] != signs[j]].sum()
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


def test_pieces_of_the_queries_give_what_all_of_them_give(monkeypatch):
    codes, _ = random_codes(0, 60, 32)
    labels = np.arange(60) % 4
    ranked = metrics.rank_by_label(codes[:11], codes, labels[:11], labels)

    def everything():
        return (
            metrics.retrieval_metrics(ranked.groups),
            metrics.retrieval_curves(ranked.groups),
            metrics.map_by_class(ranked, 4),
        )

    whole = everything()
    monkeypatch.setattr(ranking, "_PIECE", 4)
    assert [len(piece.counts) for piece in ranked.groups.pieces()] == [4, 4, 3]
    assert everything() == whole
