"""Rankings by real features and by boxes, against loops and against Hamming distances."""

import numpy as np
import pytest

from stvh_jax.codes.packing import pack
from stvh_jax.evaluation import feature_rankings as subject
from stvh_jax.evaluation import ranking
from stvh_jax.evaluation.metrics import rank_by_label
from stvh_jax.evaluation.read_outs import cosine, nearness

RNG = np.random.default_rng(3)
QUERIES, BASE = RNG.normal(size=(13, 7)), RNG.normal(size=(61, 7))
OWN, LABELS = RNG.integers(-1, 4, 13), RNG.integers(-1, 3, 61)  # nothing is of the last class


def judge_by_loops(similarity, hidden):
    """Judges every query by sorting, the textbook way; without ties."""
    found = {name: [] for name in ("hit@1", "hit@5", "hit@10", "hit@20", "precision@10", "map@10")}
    for row, own in enumerate(OWN):
        places = [p for p in range(len(LABELS)) if LABELS[p] >= 0 and not hidden[row, p]]
        right = [LABELS[p] == own for p in sorted(places, key=lambda p: -similarity[row, p])]
        if own < 0 or not any(right):
            continue
        for k in (1, 5, 10, 20):
            found[f"hit@{k}"].append(any(right[:k]))
        found["precision@10"].append(sum(right[:10]) / 10)
        precisions = [sum(right[: i + 1]) / (i + 1) for i in range(10) if right[i]]
        found["map@10"].append(sum(precisions) / min(10, sum(right)))
    return {name: np.mean(values) for name, values in found.items()}


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("rows", [4, 256])
def test_what_is_found_first(hide, rows, monkeypatch):
    monkeypatch.setattr(subject, "_ROWS", rows)
    similarity = cosine(QUERIES, BASE)
    hidden = RNG.random(similarity.shape) < (0.5 if hide else 0)
    ranked = subject.rank_by_similarity(similarity, OWN, LABELS, left_out=hidden if hide else None)
    assert set(ranked.labels.tolist()) == {0, 1, 2}
    expected = judge_by_loops(similarity, hidden)
    assert subject.found_first(ranked.groups) == pytest.approx(expected)


@pytest.mark.parametrize("bits", [8, 48])
def test_bits_are_ranked_as_by_hamming_distances(bits):
    own, base = (RNG.choice([-1.0, 1.0], (size, bits)) for size in (13, 61))
    ranked = subject.rank_by_similarity(cosine(own, base), OWN, LABELS)
    packed = rank_by_label(pack(own), pack(base), OWN, LABELS)
    np.testing.assert_array_equal(ranked.labels, packed.labels)
    for k in (1, 10, subject.FIRST):
        for measure in (
            ranking.hit_at_k, ranking.precision_at_k, ranking.average_precision_at_k,
            ranking.average_precision_over_hits,
        ):  # fmt: skip
            np.testing.assert_allclose(measure(ranked.groups, k), measure(packed.groups, k))


def test_a_base_without_labels_judges_nothing():
    ranked = subject.rank_by_similarity(cosine(QUERIES, BASE), OWN, np.full(61, -1))
    assert np.isnan(list(subject.found_first(ranked.groups).values())).all()


def test_boxes_are_sorted_from_left_to_right():
    boxes = np.zeros((1, 2, 3, 4), np.float32)
    boxes[0, 1] = [[0.1, 0.6, 0.3, 0.8], [0.9, 0.9, 0.9, 0.9], [0.2, 0.1, 0.6, 0.3]]
    found = subject.sorted_boxes(boxes, np.array([[True, False, True]]), key_frame=1)
    expected = [[0.4, 0.2, 0.4, 0.2, 0.2, 0.7, 0.2, 0.2, 0, 0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_neither_order_nor_padding_moves_a_clip():
    corner = RNG.uniform(0, 0.5, (6, 1, 5, 2))
    boxes = np.concatenate([corner, corner + RNG.uniform(0.1, 0.3, corner.shape)], axis=-1)
    mask = np.arange(5) < RNG.integers(1, 6, (6, 1))
    plain = subject.sorted_boxes(boxes, mask, key_frame=0)
    order = RNG.permutation(5)
    boxes = np.where(mask[:, None, :, None], boxes, np.nan)
    moved = subject.sorted_boxes(boxes[:, :, order], mask[:, order], key_frame=0)
    np.testing.assert_array_equal(plain, moved)
    distances = nearness(plain, moved)
    np.testing.assert_array_equal(distances.argmax(axis=1), np.arange(6))
    expected = [[-np.sqrt(((one - other) ** 2).sum()) for other in moved] for one in plain]
    np.testing.assert_allclose(distances, expected)
