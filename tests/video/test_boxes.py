import itertools

import numpy as np
import pytest

from stvh_jax.video import boxes as geometry


def rectangle(box):
    """Lists the cells of a box of whole numbers."""
    y_min, x_min, y_max, x_max = map(int, box)
    return set(itertools.product(range(y_min, y_max), range(x_min, x_max)))


def some_boxes(rng, count, size=9):
    corners = np.sort(rng.integers(0, size, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float32)


def test_overlaps_are_those_of_sets_of_cells():
    rng = np.random.default_rng(0)
    first, second = some_boxes(rng, 20), some_boxes(rng, 15)
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        one, other = rectangle(a), rectangle(b)
        expected = len(one & other) / len(one | other) if one | other else 0
        assert geometry.overlaps(first, second)[i, j] == pytest.approx(expected)
    np.testing.assert_array_equal(geometry.areas(first), [len(rectangle(a)) for a in first])


def test_boxes_inside_out_have_no_area():
    boxes = np.array([[5, 5, 1, 1], [0, 0, 9, 9]], np.float32)
    np.testing.assert_array_equal(geometry.areas(boxes), [0, 81])
    np.testing.assert_array_equal(geometry.overlaps(boxes, boxes), [[0, 0], [0, 1]])


@pytest.mark.parametrize("most", [0, 0.3, 0.6, 1])
def test_repeats_are_those_of_a_loop(most):
    rng = np.random.default_rng(1)
    for _ in range(20):
        boxes = some_boxes(rng, 12)
        scores = rng.integers(0, 5, 12).astype(np.float32)
        kept = []
        for i in sorted(range(12), key=lambda i: (-scores[i], i)):
            if all(geometry.overlaps(boxes[[i]], boxes[[j]])[0, 0] <= most for j in kept):
                kept.append(i)
        np.testing.assert_array_equal(geometry.without_repeats(boxes, scores, most), kept)


def test_no_boxes_are_no_boxes():
    none = np.empty((0, 4), np.float32)
    assert geometry.overlaps(none, none).shape == (0, 0)
    assert geometry.without_repeats(none, np.empty(0, np.float32), 0.5).shape == (0,)
