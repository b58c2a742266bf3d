"""The fitted maps of visual bits: whitening, the rotation to an archive, and what is learned."""

import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.codes.packing import hamming_distances, pack
from stvh_jax.errors import UserError
from stvh_jax.training import visual_fitting
from stvh_jax.training.visual_fitting import fit, total_whitening, within_whitening

SIZE = 24


def matches_seen(number, clips, seed, *, noise=1.0):
    """Two views of clips, which lie around the places of their matches, wider in some directions.

    The first directions are the widest, and say the least.
    """
    rng = np.random.RandomState(seed)
    places = rng.randn(number, SIZE)
    scatter = noise * np.linspace(3.0, 0.2, SIZE)
    clips_at = np.repeat(places, clips, axis=0) + scatter * rng.randn(number * clips, SIZE)
    views = clips_at[:, None] + 0.3 * scatter * rng.randn(number * clips, 2, SIZE)
    return views.astype(np.float32), np.repeat(np.arange(number), clips).astype(str)


def share_found(codes, matches):
    """The share of clips whose nearest other clip is of their match."""
    distances = hamming_distances(codes, codes) + 10_000 * np.eye(len(codes), dtype=int)
    return (matches[distances.argmin(axis=1)] == matches).mean()


def codes_of(maps, views):
    return pack(maps.embed(views) @ maps.projection + maps.offset >= 0)


def test_within_whitening_makes_the_scatter_within_matches_white():
    views, matches = matches_seen(6, 60, 0)
    pooled = views.mean(axis=1) - views.mean(axis=(0, 1))
    groups = matches.astype(int)
    embedded = pooled @ within_whitening(pooled, groups, SIZE)
    scatter = sum(np.cov(embedded[groups == g].T, bias=True) for g in range(6)) / 6
    largest = np.linalg.eigvalsh(scatter)
    assert largest.max() < 1.01
    # The floor holds the narrowest directions down, and no others.
    assert np.median(largest) > 0.9


def test_total_whitening_makes_the_scatter_white():
    rng = np.random.RandomState(0)
    rows = rng.randn(400, 5) * [1, 2, 3, 4, 5] @ np.linalg.qr(rng.randn(5, 5))[0]
    rows -= rows.mean(axis=0)
    covariance = np.cov((rows @ total_whitening(rows, 5)).T, bias=True)
    np.testing.assert_allclose(covariance, np.eye(5), atol=0.05)


def test_features_that_clips_do_not_have_are_left_at_zero():
    views, matches = matches_seen(4, 5, 0)
    maps = fit(views, matches, supervision="match", bits=8, features=SIZE, steps=3)
    assert maps.whitening.shape == (SIZE, SIZE)
    few = fit(views[:6], matches[:6], supervision="match", bits=8, features=SIZE, steps=3)
    assert not few.whitening[:, 6:].any()
    assert all(np.isfinite(array).all() for array in (few.whitening, few.projection, few.offset))


def test_bits_fitted_to_some_matches_find_others_better_than_random_ones():
    views, matches = matches_seen(12, 30, 3)
    others, names = matches_seen(10, 20, 4)
    found = {
        supervision: share_found(
            codes_of(
                fit(views, matches, supervision=supervision, bits=32, features=SIZE, steps=300),
                others,
            ),
            names,
        )
        for supervision in ("match", "instance", "random")
    }
    assert found["match"] > found["random"] + 0.1
    assert found["instance"] > found["random"] + 0.05


def test_without_labels_the_names_of_matches_change_nothing():
    views, matches = matches_seen(4, 8, 5)
    one, other = (
        fit(views, names, supervision="instance", bits=8, features=SIZE, steps=5)
        for names in (matches, matches[::-1])
    )
    np.testing.assert_array_equal(one.projection, other.projection)
    np.testing.assert_array_equal(one.whitening, other.whitening)


def test_a_random_projection_is_of_standardised_features():
    views, matches = matches_seen(3, 10, 6)
    maps = fit(views, matches, supervision="random", bits=4000, features=SIZE)
    pooled = views.mean(axis=1)
    standard = (pooled - pooled.mean(axis=0)) / np.sqrt(pooled.var(axis=0) + 1e-5)
    np.testing.assert_allclose(maps.embed(views), standard, rtol=1e-4, atol=1e-4)
    # Two bits differ as often as the angle between their clips says.
    signs = standard @ maps.projection >= 0
    one, other = standard[0], standard[1]
    angle = np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert (signs[0] != signs[1]).mean() == pytest.approx(angle / np.pi, abs=0.03)


def test_the_same_seed_fits_the_same():
    views, matches = matches_seen(4, 8, 7)
    options = {"supervision": "match", "bits": 8, "features": SIZE, "steps": 4}
    one, same = (fit(views, matches, seed=1, **options) for _ in range(2))
    other = fit(views, matches, seed=2, **options)
    np.testing.assert_array_equal(one.projection, same.projection)
    assert (one.projection != other.projection).any()


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (np.full((4, 1, 3), np.nan), "is not finite"),
        (np.zeros((1, 1, 3)), "fewer than two"),
        (np.ones((4, 1, 3)), "show the same"),
    ],
)
@pytest.mark.parametrize("supervision", ["match", "instance"])
def test_what_cannot_be_fitted_is_one_line(views, words, supervision):
    names = np.array(list("aabb"))[: len(views)]
    with pytest.raises(UserError, match=words):
        fit(views, names, supervision=supervision, bits=8, features=3, steps=1)


def test_the_loss_is_that_of_loops():
    rng = np.random.RandomState(8)
    members, projection = rng.randn(3, 2, 5), rng.randn(5, 4)
    offset = rng.randn(4)
    actual = visual_fitting._contrast(
        {"projection": projection.astype(np.float32), "offset": offset.astype(np.float32)},
        jnp.asarray(members, jnp.float32),
    )
    values = members.reshape(6, 5) @ projection + offset
    relaxed = np.tanh(values / np.sqrt((values**2).mean()))
    total = 0.0
    for i in range(6):
        query = values[i] / np.linalg.norm(values[i])
        scores = {j: query @ np.sign(values[j]) / 2 / 0.03 for j in range(6) if j != i}
        partner = i ^ 1
        total -= scores[partner] - np.log(sum(np.exp(score) for score in scores.values()))
    correlation = relaxed.T @ relaxed / 6
    across = sum(correlation[a, b] ** 2 for a in range(4) for b in range(4) if a != b) / 16
    assert actual == pytest.approx(total / 6 + 4 * across, rel=1e-4)
