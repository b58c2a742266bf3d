"""Read-outs of frozen features, against scikit-learn, loops and figures by hand."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

from stvh_jax.evaluation import few_labels, read_outs

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 4, 120)
CENTRES = RNG.normal(size=(4, 6))
FEATURES = CENTRES[LABELS] + RNG.normal(size=(120, 6))


def by_sklearn(features, labels, strength):
    fitted = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-9, max_iter=10000)
    return fitted.fit(features, labels)


@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_the_linear_read_out_is_a_logistic_regression(strength):
    found = read_outs.fit_linear(FEATURES, LABELS, num_classes=4, strengths=[strength])
    expected = by_sklearn(FEATURES, LABELS, strength)
    np.testing.assert_allclose(found.kernel, expected.coef_.T, atol=2e-4)
    scores = found.scores(FEATURES)
    centred = scores - scores.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred, expected.decision_function(FEATURES), atol=1e-3)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_labelled_clips_choose_the_strength(grouped):
    groups = RNG.integers(0, 11, 120) if grouped else None
    folds = read_outs._folds(LABELS, groups)
    assert set(folds.tolist()) == set(range(5))
    if grouped:
        assert all(len(set(folds[groups == group])) == 1 for group in range(11))
    strengths = (10.0, 1.0, 0.1, 0.01, 1e-3)
    losses = []
    for strength in strengths:
        lost = 0.0
        for train, held in PredefinedSplit(folds).split():
            fitted = by_sklearn(FEATURES[train], LABELS[train], strength)
            assert len(fitted.classes_) == 4
            log_p = fitted.predict_log_proba(FEATURES[held])
            lost -= sum(row[label] for row, label in zip(log_p, LABELS[held]))
        losses.append(lost)
    chosen = read_outs.choose_strength(FEATURES, LABELS, groups=groups, strengths=strengths)
    assert chosen == strengths[int(np.argmin(losses))]
    assert (
        chosen
        == read_outs.fit_linear(
            FEATURES, LABELS, num_classes=4, groups=groups, strengths=strengths
        ).strength
    )


def test_one_clip_per_class_cannot_choose():
    found = read_outs.fit_linear(np.eye(3), np.array([4, 0, 2]), num_classes=6)
    assert found.strength == read_outs.UNCHOSEN
    np.testing.assert_array_equal(found.scores(np.eye(3)).argmax(axis=1), [4, 0, 2])
    np.testing.assert_array_equal(np.isfinite(found.bias), [True, False, True, False, True, False])


def test_features_are_standardised_by_the_base_alone():
    base = np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]])
    found = read_outs.standardised(np.array([[3.0, 0.1], [7.0, 0.4]]), base)
    np.testing.assert_allclose(found, [[0, 0], [4 / np.sqrt(8 / 3), 0.3]], atol=1e-12)


def test_neighbours_vote_by_the_mean_over_all_orders_of_equals():
    similarity = np.array([[0.9, 0.5, 0.5, 0.5, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    labels = np.array([2, 0, 1, 1, 0])
    expected = np.zeros((2, 3))
    for row, of_query in enumerate(similarity):
        orders = list(itertools.permutations(range(5)))
        for order in orders:
            for place in sorted(order, key=lambda p: -of_query[p])[:3]:
                weight = np.exp((of_query[place] - of_query.max()) / 0.5)
                expected[row, labels[place]] += weight / len(orders)
    votes = read_outs.neighbour_votes(similarity, labels, num_classes=3, k=3, temperature=0.5)
    np.testing.assert_allclose(votes, expected)
    # Of more than there are, all vote.
    votes = read_outs.neighbour_votes(similarity[1:], labels, num_classes=3, temperature=0.5)
    np.testing.assert_allclose(votes, [[2, 2, 1]])
    np.testing.assert_array_equal(read_outs.rightness(votes, np.array([0])), [0.5])
    np.testing.assert_array_equal(read_outs.rightness(votes, np.array([2])), [0])


def test_cosines_against_a_loop():
    own, base = FEATURES[:3], np.concatenate([FEATURES[3:6], np.zeros((1, 6))])
    expected = [
        [sum(a * b) / np.sqrt(sum(a * a) * sum(b * b)) if b.any() else 0 for b in base] for a in own
    ]
    np.testing.assert_allclose(read_outs.cosine(own, base), expected)


def test_few_labelled_clips_are_among_more():
    labels = np.array([0, 1, -1] * 20 + [2, 2, 2])
    drawn = [few_labels.labelled_subset(labels, count, 7) for count in (1, 5, 10, None)]
    for fewer, more in itertools.pairwise(drawn):
        assert set(fewer) < set(more) and (np.diff(fewer) > 0).all()
    assert [np.bincount(labels[places]).tolist() for places in drawn] == [
        [1, 1, 1], [5, 5, 3], [10, 10, 3], [20, 20, 3],
    ]  # fmt: skip
    assert few_labels.labelled_subset(labels, 5, 7).tolist() == drawn[1].tolist()
    assert few_labels.labelled_subset(labels, 5, 8).tolist() != drawn[1].tolist()
    assert len(few_labels.labelled_subset(np.full(4, -1), 5, 0)) == 0


def test_more_labels_read_more():
    base_labels = np.where(np.arange(100) % 7, LABELS[:100], -1)
    own = np.append(LABELS[100:], -1)
    queries = np.concatenate([FEATURES[100:], np.full((1, 6), 99.0)])
    curve = few_labels.label_curve(
        queries, FEATURES[:100], own, base_labels, per_class=(1, None), draws=6, seed=1
    )
    assert list(curve) == ["linear", "neighbours"]
    for of_read_out in curve.values():
        few, every = of_read_out[1], of_read_out[None]
        assert len(few.accuracy) == len(few.recall) == 6 and len(every.accuracy) == 1
        assert np.mean(few.accuracy) < every.accuracy[0]
    # All labels: one logistic regression, whose accuracy can be counted.
    known = base_labels >= 0
    mean, spread = FEATURES[:100].mean(axis=0), FEATURES[:100].std(axis=0)
    base, test = ((each - mean) / spread for each in (FEATURES[:100], FEATURES[100:]))
    strength = read_outs.choose_strength(base[known], base_labels[known])
    predicted = by_sklearn(base[known], base_labels[known], strength).predict(test)
    right = predicted == own[:-1]
    assert curve["linear"][None].accuracy == [pytest.approx(right.mean())]
    by_class = [right[own[:-1] == label].mean() for label in range(4)]
    assert curve["linear"][None].recall == [pytest.approx(np.mean(by_class))]
    alone = few_labels.linear_accuracy(queries, FEATURES[:100], own, base_labels)
    assert alone == curve["linear"][None].accuracy[0]
