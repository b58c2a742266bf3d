"""Pictures are turned as a display matrix says."""

import itertools

import numpy as np
import pytest

from stvh_jax.video.pictures import Converter, Turn


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


# Luma of green, and the two differences, by the standard that the file names.
GREEN = {"ITU601": (145, 54, 34), "ITU709": (173, 42, 26)}


@pytest.mark.parametrize("standard", GREEN)
@pytest.mark.parametrize("size", [(48, 64), (24, 32), (30, 50), (96, 128)])
def test_colours_are_those_that_the_file_names(standard, size):
    av = pytest.importorskip("av")
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(frame.planes, GREEN[standard]):
        plane.update(bytes([value]) * plane.buffer_size)
    # The number of the standard in H.264: 1 is BT.709, 6 BT.601.
    frame.colorspace = {"ITU709": 1, "ITU601": 6}[standard]
    image = Converter(size, Turn())(frame)
    assert image.shape == (*size, 3)
    assert np.abs(image.astype(int) - [0, 255, 0]).max() <= 3


@pytest.mark.parametrize("luma", [16, 50, 126, 180, 235])
def test_grey_keeps_its_level(luma):
    av = pytest.importorskip("av")
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(frame.planes, (luma, 128, 128)):
        plane.update(bytes([value]) * plane.buffer_size)
    for size in ((48, 64), (24, 32), (40, 40)):
        assert np.abs(Converter(size, Turn())(frame) - (luma - 16) * 255 / 219).max() <= 1
