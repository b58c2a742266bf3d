"""Who is in a window, against a loop."""

import numpy as np
import pytest

from stvh_jax.video.people import TrackedPeople, people_of
from stvh_jax.video.tracks import UNTRACKED, Tracks


def made_tracks(rng, frames=40, people=9, share=0.5, untracked=0):
    rows = [(f, p) for f in range(frames) for p in range(people) if rng.random() < share]
    rows += [(int(rng.integers(frames)), UNTRACKED) for _ in range(untracked)]
    rows = np.array(sorted(rows, key=lambda row: row[0]), np.int64).reshape(-1, 2)
    low = rng.uniform(0, 0.7, (len(rows), 2))
    boxes = np.concatenate([low, low + rng.uniform(0.01, 0.4, low.shape)], 1).astype(np.float32)
    return Tracks(rows[:, 0], rows[:, 1] * 7, boxes, np.ones(len(rows), np.float32))


def by_hand(tracks, frames, most, inside=lambda x, y: True):
    boxes = {(f, p): b for f, p, b in zip(tracks.frames.tolist(), tracks.people.tolist(),
                                          tracks.boxes)}  # fmt: skip
    key, found = len(frames) // 2, []
    for person in sorted({p for f, p in boxes if f in frames and p != UNTRACKED}):
        places = [t for t, f in enumerate(frames) if (f, person) in boxes]
        nearest = [min(places, key=lambda s: (abs(s - t), s)) for t in range(len(frames))]
        filled = [boxes[frames[s], person] for s in nearest]
        y_min, x_min, y_max, x_max = filled[key]
        if inside((x_min + x_max) / 2, min(y_max, 1)):
            area = (y_max - y_min) * (x_max - x_min)
            found.append((key not in places, -len(places), -area, person, filled))
    chosen = sorted(sorted(found, key=lambda each: each[:4])[:most], key=lambda each: each[3])
    return [each[4] for each in chosen], max(0, len(found) - most)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("region", [None, [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]])
def test_people_are_those_of_a_loop(seed, region):
    rng = np.random.default_rng(seed)
    tracks = made_tracks(rng, share=rng.choice([0.03, 0.3, 0.9]), untracked=seed % 3)
    tracks.people[tracks.people == 7 * UNTRACKED] = UNTRACKED
    people = TrackedPeople.of(tracks)
    for _ in range(10):
        frames = np.sort(rng.integers(0, 45, rng.integers(1, 12)))
        most = int(rng.integers(1, 8))
        boxes, left_out = people_of(
            people, frames, most=most, region=None if region is None else np.array(region) * 1.0
        )
        expected, more = by_hand(
            tracks, frames.tolist(), most, (lambda x, y: y >= 0.5) if region else lambda x, y: True
        )
        assert boxes.shape == (len(frames), len(expected), 4) and left_out == more
        for place, each in enumerate(expected):
            np.testing.assert_array_equal(boxes[:, place], each)


def test_boxes_of_nobody_count_where_nobody_was_followed():
    rng = np.random.default_rng(0)
    tracks = made_tracks(rng, share=0, untracked=60)
    tracks.people[:] = UNTRACKED
    people = TrackedPeople.of(tracks)
    for start in range(30):
        frames = np.arange(start, start + 5)
        boxes, left_out = people_of(people, frames, most=2)
        at_key = tracks.boxes[tracks.frames == start + 2]
        assert boxes.shape[1] + left_out == len(at_key) and boxes.shape[1] <= 2
        if not left_out:
            np.testing.assert_array_equal(boxes, np.broadcast_to(at_key, (5, *at_key.shape)))


def test_nobody_at_all():
    empty = made_tracks(np.random.default_rng(0), share=0)
    boxes, left_out = people_of(TrackedPeople.of(empty), np.arange(5), most=3)
    assert boxes.shape == (5, 0, 4) and left_out == 0
    one = Tracks(np.array([2**62]), np.array([3]), np.ones((1, 4), np.float32),
                 np.ones(1, np.float32))  # fmt: skip
    assert people_of(TrackedPeople.of(one), np.arange(5), most=3)[0].shape == (5, 0, 4)
    boxes, _ = people_of(TrackedPeople.of(one), np.array([1, 2**62]), most=3)
    assert boxes.shape == (2, 1, 4)
