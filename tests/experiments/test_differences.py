"""How sure a difference is, against SciPy and values by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments.differences import Difference, paired_bootstrap, query_interval, table


def test_of_two_queries_the_interval_is_as_by_hand():
    # The mean of two draws is 0, 1/2 or 1, with the probabilities 1/4, 1/2 and 1/4.
    assert paired_bootstrap(np.array([0.0, 1.0])) == (0.0, 1.0)
    assert paired_bootstrap(np.full(5, 0.25)) == (0.25, 0.25)


def test_the_interval_is_that_of_scipy():
    random = np.random.default_rng(3)
    first, second = random.beta(4, 2, 211), random.beta(4, 2.5, 211)
    ours = paired_bootstrap(first - second)
    theirs = stats.bootstrap(
        (first, second),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(7),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.003)


def values(correct, clips=("a", "b", "c")):
    return {"match": np.array(["m"] * 3), "clip": np.array(clips), "ap@10": np.array(correct)}


def test_only_the_same_queries_are_compared_and_only_those_with_a_value():
    first, second = values([1.0, 1.0, np.nan]), values([0.5, 0.5, np.nan])
    assert query_interval([first], [second], "ap@10") == (50.0, 50.0)
    # The mean over two seeds.
    assert query_interval([first, second], [second], "ap@10") == (25.0, 25.0)
    assert query_interval([first], [values([1.0, 1.0, 1.0], "abd")], "ap@10") is None
    assert query_interval([first], [], "ap@10") is None
    assert query_interval([values([np.nan] * 3)], [first], "ap@10") is None


def test_over_the_seeds_the_interval_is_students():
    one = Difference("a", "b", "accuracy", [1.0, 2.0, 3.0])
    # t of 2 degrees of freedom at 97.5 % is 4.303; the standard error is 1 / sqrt(3).
    assert one.seed_interval == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert one.sign == 0
    assert Difference("a", "b", "accuracy", [1.9, 2.0, 2.1]).sign == 1
    assert Difference("a", "b", "accuracy", [-1.9, -2.0, -2.1]).sign == -1
    assert Difference("a", "b", "accuracy", [1.9, 2.0, 2.1], interval=(-0.1, 4.0)).sign == 0


def test_one_seed_without_queries_decides_nothing():
    one = Difference("a", "b", "accuracy", [85.0])
    assert not one.is_bounded and one.sign == 0
    assert table([one]).rows == [["a less b", "accuracy", "–", "+85.0", "–", "–"]]
    bounded = Difference("a", "b", "mAP@10", [85.0], paper=1.5, interval=(80.0, 90.0))
    assert bounded.sign == 1
    assert table([bounded]).rows[0][2:] == ["+1.50", "+85.0", "+80.0 to +90.0", "–"]
