"""Groups of codes: those that were drawn apart are found, and figures are those of plain loops."""

import numpy as np
import pytest

from stvh_jax.codes.grouping import WeighedCodes, different, group, silhouette_of


def drawn(groups, each, *, bits=64, flips=4, seed=0):
    """Draws codes around some centres, each with a few bits flipped; gives the centre of each."""
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2, (groups, bits), np.uint8)
    truth = np.repeat(np.arange(groups), each)
    codes = centres[truth]
    for code in codes:
        code[random.choice(bits, flips, replace=False)] ^= 1
    order = random.permutation(len(codes))
    return np.packbits(codes[order], axis=1), truth[order]


def plain(codes, weights=None):
    return WeighedCodes([(codes, np.ones(8 * codes.shape[1]) if weights is None else weights)])


@pytest.mark.parametrize("number", [None, 5])
def test_codes_around_five_centres_are_five_groups(number):
    codes, truth = drawn(5, 23)
    found = group(plain(codes), number)
    assert len(found.members()) == 5
    assert {frozenset(truth[rows]) for rows in found.members()} == {
        frozenset([k]) for k in range(5)
    }
    assert (found.silhouette is None) == (number is not None)


def test_the_same_seed_makes_the_same_groups():
    codes, _ = drawn(6, 40, flips=20)
    first, second = group(plain(codes), 7, seed=3), group(plain(codes), 7, seed=3)
    np.testing.assert_array_equal(first.labels, second.labels)
    counts = [len(rows) for rows in first.members()]
    assert counts == sorted(counts, reverse=True) and sum(counts) == len(codes)


def test_each_code_is_of_the_nearest_centre_and_no_step_makes_them_nearer():
    codes, _ = drawn(4, 30, flips=18)
    found = group(plain(codes), 4)
    points = 2.0 * np.unpackbits(codes, axis=1) - 1
    means = np.stack([points[rows].mean(axis=0) for rows in found.members()])
    nearness = points @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(found.labels, nearness.argmax(axis=1))
    np.testing.assert_allclose(found.nearness, nearness.max(axis=1) / 8, rtol=1e-5)
    np.testing.assert_allclose(found.means, means / 8, rtol=1e-5, atol=1e-6)


def test_bits_that_weigh_nothing_do_not_count():
    codes, truth = drawn(3, 20, bits=32)
    noise, other = drawn(2, 30, bits=32, seed=1)
    both = np.concatenate([codes, noise], axis=1)
    for weights, expected in ((np.repeat([1, 0], 32), truth), (np.repeat([0, 3], 32), other)):
        found = group(plain(both, weights.astype(float)), len(set(expected)))
        assert all(len(set(expected[rows])) == 1 for rows in found.members())


def test_the_silhouette_is_that_of_a_loop_over_pairs():
    codes, _ = drawn(3, 9, bits=16, flips=5, seed=4)
    weights = np.arange(16.0)
    labels = np.arange(27) % 3
    labels[labels == 2] = 1
    labels[5] = 2  # a group of one
    points, bits = plain(codes, weights).points(slice(None)), np.unpackbits(codes, axis=1)
    scores = []
    for one in range(27):
        away = [(weights * (bits[one] != other)).sum() for other in bits]
        means = {
            k: np.mean([away[b] for b in range(27) if labels[b] == k and b != one] or [np.nan])
            for k in range(3)
        }
        own = means.pop(labels[one])
        nearest = min(means.values())
        scores.append(0 if np.isnan(own) else (nearest - own) / max(nearest, own))
    assert silhouette_of(points, labels) == pytest.approx(np.mean(scores), abs=1e-5)


def test_of_many_codes_some_are_fitted_and_all_assigned(monkeypatch):
    monkeypatch.setattr("stvh_jax.codes.grouping._FITTED", 64)
    monkeypatch.setattr("stvh_jax.codes.grouping._ROWS", 50)
    codes, truth = drawn(4, 120)
    found = group(plain(codes), 4)
    assert len(found.labels) == 480
    assert all(len(set(truth[rows])) == 1 for rows in found.members())


def test_codes_that_are_few_or_the_same():
    same = plain(np.full((6, 2), 37, np.uint8))
    assert different(same) == 1
    found = group(same)
    assert found.silhouette is None and [len(rows) for rows in found.members()] == [6]
    one = group(plain(np.array([[1, 2]], np.uint8)))
    assert one.labels.tolist() == [0]
    codes = np.array([[0, 0], [0, 0], [255, 255], [255, 0]], np.uint8)
    assert different(plain(codes)) == 3
    assert sorted(map(len, group(plain(codes), 3).members())) == [1, 1, 2]
