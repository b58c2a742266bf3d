"""The baseline's description of a clip, and that it learns."""

import numpy as np
import pytest

from benchmarks import boosting
from benchmarks.boosting import choose, describe_clip, predict, read
from tests.helpers.fakes import FakeDataset

pytestmark = pytest.mark.slow


def random_boxes(seed, frames=10, actors=5):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 0.5, (1, actors, 2)) + random.uniform(0, 0.1, (frames, actors, 2))
    return np.concatenate([corner, corner + random.uniform(0.05, 0.3, corner.shape)], axis=-1)


def test_neither_order_nor_padding_changes_the_description():
    boxes = random_boxes(0)
    expected = describe_clip(boxes, np.ones(5, bool))
    order = np.array([3, 0, 4, 1, 2])
    got = describe_clip(boxes[:, order], np.ones(5, bool))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    padded = np.concatenate([boxes, np.full((10, 3, 4), np.nan)], axis=1)
    got = describe_clip(padded, np.arange(8) < 5)
    np.testing.assert_array_equal(got, expected)


def test_every_clip_has_as_many_numbers():
    sizes = set()
    for frames in (1, 2, 10):
        for actors in (1, 2, 3, 13):
            described = describe_clip(random_boxes(1, frames, actors), np.ones(actors, bool))
            assert np.isfinite(described).all()
            sizes.add(described.shape)
    assert len(sizes) == 1


def test_motion_shows_in_it_and_a_moving_camera_in_less():
    boxes = np.repeat(random_boxes(2, frames=1), 10, axis=0)
    still = describe_clip(boxes, np.ones(5, bool))
    moved = boxes.copy()
    moved[:, 0] += 0.02 * np.arange(10)[:, None]
    one = describe_clip(moved, np.ones(5, bool))
    everybody = describe_clip(boxes + 0.02 * np.arange(10)[:, None, None], np.ones(5, bool))
    assert not np.array_equal(still, one) and not np.array_equal(one, everybody)


def test_it_learns_what_shows_in_the_boxes(monkeypatch):
    monkeypatch.setattr(boosting, "LEAVES", (4, 8))
    monkeypatch.setattr(boosting, "MOST_TREES", 50)
    dataset = FakeDataset(sizes=(160, 60, 60), frames=2)
    train, validation, test = (read(dataset, split) for split in dataset.splits)
    accuracy, _, trees, model = choose(train, validation, seed=0)
    predicted = predict(model, trees, test[0])
    # Four activities that show in where the boxes are.
    assert accuracy == (predict(model, trees, validation[0]) == validation[1]).mean()
    assert accuracy > 0.9 and (predicted == test[1]).mean() > 0.9
