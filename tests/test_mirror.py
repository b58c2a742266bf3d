import numpy as np

from data.volleyball.constants import ACTIVITIES
from stvh_jax.mirror import mirror_boxes, mirror_classes


def test_mirroring_twice_changes_nothing():
    boxes = np.random.default_rng(0).random((3, 5, 4), np.float32)
    # 1 - x rounds once to float32's spacing below 1.
    np.testing.assert_allclose(mirror_boxes(mirror_boxes(boxes)), boxes, rtol=0, atol=2**-24)
    image = mirror_classes(ACTIVITIES)
    np.testing.assert_array_equal(image[image], np.arange(8))
    assert (image != np.arange(8)).all()


def test_classes_are_mirrored_by_name():
    names = ["r_pass", "standing", "l_set", "l_pass", "r_set", "roll"]
    np.testing.assert_array_equal(mirror_classes(names), [3, 1, 4, 0, 2, 5])
