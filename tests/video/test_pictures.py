"""Pictures are turned as a display matrix says."""

import itertools

import numpy as np
import pytest

from stvh_jax.video.pictures import Turn


@pytest.mark.parametrize(
    "matrix",
    [
        matrix
        for matrix in itertools.product((-1, 0, 1), repeat=4)
        if matrix[0] * matrix[3] - matrix[1] * matrix[2] and 0 in matrix[:2] and 0 in matrix[2:]
    ],
)
def test_points_go_where_the_matrix_sends_them(matrix):
    a, b, c, d = matrix
    turn = Turn.of_matrix((np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14], "i4") << 16).tobytes())
    picture = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    points = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(3) for x in range(5)}
    left, top = (min(point[axis] for point in points) for axis in (0, 1))
    turned = turn(picture)
    assert turned.shape[:2] == turn.size(3, 5) and turned.flags.c_contiguous
    for (x, y), value in points.items():
        np.testing.assert_array_equal(turned[y - top, x - left], value)


def test_a_short_matrix_turns_nothing():
    assert Turn.of_matrix(b"") == Turn()
