"""What is told of boxes, against loops over the actors."""

import math

import jax
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.models.box_features import describe_boxes_in_detail
from tests.helpers.fakes import random_clips
from tests.helpers.oracles import model_config


def described(boxes, mask):
    return np.asarray(jax.jit(describe_boxes_in_detail)(boxes, mask))


def test_the_detail_is_what_loops_over_the_actors_find():
    clips = random_clips(3, clips=4, frames=2, actors=5)
    actual = described(clips.boxes, clips.actor_mask)
    for b, mask in enumerate(clips.actor_mask):
        for t in range(2):
            middles = [(box[1] + box[3]) / 2 for box in clips.boxes[b, t]]
            for n, (top, left, bottom, right) in enumerate(clips.boxes[b, t].tolist()):
                if not mask[n]:
                    np.testing.assert_array_equal(actual[b, t, n], 0)
                    continue
                left_of = sum(mask[m] and middles[m] < middles[n] for m in range(5))
                expected = [
                    top,
                    bottom,
                    math.log(bottom - top),
                    math.log(right - left),
                    math.log((bottom - top) / (right - left)),
                    math.sin(math.pi * bottom),
                    math.cos(math.pi * bottom),
                    math.sin(2 * math.pi * bottom),
                    math.cos(2 * math.pi * bottom),
                    2 * left_of / mask.sum() - 1,
                    mask.sum() / 10,
                ]
                np.testing.assert_allclose(actual[b, t, n], expected, rtol=1e-4, atol=1e-5)


def test_a_box_without_a_side_is_described_by_finite_numbers():
    boxes = np.array([[[[0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.2]]]], np.float32)
    assert np.isfinite(described(boxes, np.ones((1, 2), bool))).all()


def test_a_model_of_frames_is_not_told_of_boxes_in_detail():
    with pytest.raises(UserError, match="^config.model.detailed_boxes describes boxes alone; set"):
        model_config(source="frames", detailed_boxes=True)
