"""One stored code for all foci, against loops over its bits."""

import numpy as np
import pytest

from stvh_jax.codes.bit_weights import BitWeights, laid_out, part_of, weighted_distances
from stvh_jax.codes.packing import hamming_distances, pack
from stvh_jax.errors import UserError


def random_codes(count, bits, seed):
    return pack(np.random.RandomState(seed).rand(count, bits) < 0.5)


@pytest.mark.parametrize(("bits", "visual", "layers"), [(128, 32, 3), (128, 48, 3), (64, 56, 5)])
def test_a_focus_weighs_the_mean_differences_of_both_parts(bits, visual, layers):
    weights = laid_out(bits=bits, visual_bits=visual, layers=layers)
    queries, base = random_codes(3, bits, 0), random_codes(5, bits, 1)
    signs = [np.unpackbits(codes, axis=1) for codes in (queries, base)]
    for focus in range(layers + 1):
        distances = weights.distances(queries, base, focus) / weights.unit
        for q in range(3):
            for m in range(5):
                differs = signs[0][q] != signs[1][m]
                activity, shown = differs[: bits - visual].mean(), differs[bits - visual :].mean()
                share = focus / layers
                expected = bits * (share * activity + (1 - share) * shown)
                assert distances[q, m] == pytest.approx(expected)


def test_the_ends_are_the_hamming_distances_of_one_part():
    weights = laid_out(bits=128, visual_bits=32, layers=3)
    queries, base = random_codes(4, 128, 2), random_codes(6, 128, 3)
    for focus, part, size in ((0, slice(12, 16), 32), (3, slice(0, 12), 96)):
        parts = (np.ascontiguousarray(codes[:, part]) for codes in (queries, base))
        expected = hamming_distances(*parts) * 128 / size
        actual = weights.distances(queries, base, focus) / weights.unit
        np.testing.assert_allclose(actual, expected)


def test_between_two_foci_weights_are_blended():
    weights = laid_out(bits=128, visual_bits=32, layers=3)
    np.testing.assert_array_equal(weights.at(100), 100 * weights.weights[1])
    np.testing.assert_array_equal(weights.at(300), 100 * weights.weights[3])
    np.testing.assert_array_equal(
        weights.at(130), 70 * weights.weights[1] + 30 * weights.weights[2]
    )
    assert (weights.at(130).sum() == 100 * weights.unit * 128).all()


def test_any_weights_are_summed_bit_by_bit():
    rng = np.random.RandomState(0)
    weights = rng.randint(0, 4, 24)
    queries, base = random_codes(3, 24, 4), random_codes(5, 24, 5)
    signs = [np.unpackbits(codes, axis=1) for codes in (queries, base)]
    expected = [[(weights * (q != m)).sum() for m in signs[1]] for q in signs[0]]
    np.testing.assert_array_equal(weighted_distances(queries, base, weights), expected)


def test_groups_hold_every_bit_once_and_parts_hold_their_bits():
    rows = np.array([[3, 0, 1, 3, 0, 1, 3, 0] * 2, [1, 2, 1, 1, 2, 1, 1, 2] * 2])
    rows[1, 0] += rows[0].sum() - rows[1].sum()
    scaled = BitWeights(rows * 16)
    assert sorted(np.concatenate(scaled.groups)) == list(range(16))
    codes = random_codes(4, 16, 6)
    signs = np.unpackbits(codes, axis=1)
    for group, bits in enumerate(scaled.groups):
        part = scaled.part(codes, group)
        assert part.flags.c_contiguous and part.shape == (4, 8)
        assert len(np.unique(scaled.weights[:, bits], axis=1).T) == 1
        np.testing.assert_array_equal(np.unpackbits(part, axis=1)[:, : len(bits)], signs[:, bits])
        assert not np.unpackbits(part, axis=1)[:, len(bits) :].any()
    parts = [scaled.part(codes, group) for group in range(len(scaled.groups))]
    np.testing.assert_array_equal(scaled.whole(parts), codes)


def test_a_range_of_bytes_is_cut_out_whole():
    codes = random_codes(3, 32, 7)
    np.testing.assert_array_equal(part_of(codes, np.arange(8, 24)), codes[:, 1:3])


@pytest.mark.parametrize("focus", [0, 1, 2, 3])
def test_spread_codes_have_the_weighted_distances(focus):
    weights = laid_out(bits=128, visual_bits=32, layers=3)
    queries, base = random_codes(3, 128, 8), random_codes(5, 128, 9)
    spread = [weights.spread(codes, focus) for codes in (queries, base)]
    assert spread[0].shape[1] * 8 == {0: 32, 1: 288, 2: 288, 3: 96}[focus]
    factor = np.gcd.reduce(weights.weights[focus])
    expected = weights.distances(queries, base, focus)
    np.testing.assert_array_equal(factor * hamming_distances(*spread), expected)


def test_weights_survive_json():
    weights = laid_out(bits=64, visual_bits=16, layers=3)
    np.testing.assert_array_equal(BitWeights.from_json(weights.to_json()).weights, weights.weights)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(8, int), "bit weights are int64"),
        (np.ones((2, 8)), "bit weights are float64"),
        (np.array([[1] * 8, [2] * 8]), "the sums"),
        (np.array([[-1, 3] * 4, [1] * 8]), "the sums"),
        (np.array([[1] * 12, [1] * 12]), "multiple of 8"),
        (np.array([[1] + [0] * 7, [1] + [0] * 7]), "multiple of their number"),
    ],
)
def test_other_weights_are_refused(weights, words):
    with pytest.raises(UserError, match=words):
        BitWeights(weights)


@pytest.mark.parametrize("visual", [0, 64, 72])
def test_each_part_has_a_bit(visual):
    with pytest.raises(UserError, match="bits are visual; both parts"):
        laid_out(bits=64, visual_bits=visual, layers=3)


@pytest.mark.parametrize("values", [None, "x", [[1], [1, 2]], [[2**70] * 8] * 2])
def test_other_json_is_refused(values):
    with pytest.raises(UserError):
        BitWeights.from_json(values)
