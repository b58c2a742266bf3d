"""Visual bits fitted to an archive: its directions, rotated towards bits."""

import numpy as np

from stvh_jax.codes.visual_maps import fit_adaptation

SIZE = 24


def test_adapting_takes_principal_directions_and_rotates_them_towards_bits():
    rng = np.random.RandomState(1)
    # Four far clusters at the corners of a square that is turned: 2 bits tell them apart.
    turn = np.linalg.qr(rng.randn(SIZE, SIZE))[0]
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) @ [[0.8, 0.6], [-0.6, 0.8]]
    places = np.pad(10 * corners, ((0, 0), (0, SIZE - 2)))
    embedded = (np.repeat(places, 30, axis=0) + rng.randn(120, SIZE)) @ turn + 3
    fitted = fit_adaptation(embedded, 2)
    projection, offset = fitted.projection, fitted.offset
    np.testing.assert_allclose(projection.T @ projection, np.eye(2), atol=1e-6)
    bits = embedded @ projection + offset >= 0
    of_cluster = [np.unique(bits[30 * c : 30 * c + 30], axis=0) for c in range(4)]
    assert all(len(rows) == 1 for rows in of_cluster)
    assert len(np.unique(np.concatenate(of_cluster), axis=0)) == 4
    np.testing.assert_allclose((embedded @ projection + offset).mean(axis=0), 0, atol=1e-6)


def test_an_archive_with_fewer_directions_than_bits_still_has_all_bits():
    rng = np.random.RandomState(2)
    fitted = fit_adaptation(rng.randn(5, SIZE), 16)
    assert fitted.projection.shape == (SIZE, 16)
    assert fitted.offset.shape == (16,)
    assert np.isfinite(fitted.projection).all()
