"""A person who is not seen has the box of the nearest frame in which they are."""

import numpy as np

from stvh_jax.sightings import nearest_seen


def test_the_nearest_frame_fills_a_gap_and_the_earlier_on_a_tie():
    rng = np.random.default_rng(0)
    for _ in range(20):
        frames, people = rng.integers(1, 9, 2)
        boxes = rng.random((frames, people, 4))
        seen = rng.random((frames, people)) < 0.4
        seen[rng.integers(frames, size=people), np.arange(people)] = True
        boxes[~seen] = np.nan
        filled = nearest_seen(boxes, seen)
        for frame in range(frames):
            for person in range(people):
                candidates = np.flatnonzero(seen[:, person])
                best = min(candidates, key=lambda each: (abs(each - frame), each))
                np.testing.assert_array_equal(filled[frame, person], boxes[best, person])
