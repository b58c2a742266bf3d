"""Annotated people and tracks, paired by their overlap."""

import itertools

import numpy as np
import pytest

from data.tracks import Tracks, box_iou, match_tracks


def iou(first, second):
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return height * width / (areas[0] + areas[1] - height * width)


def random_boxes(generator, count):
    corner = generator.uniform(0, 0.6, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(0.1, 0.4, (count, 2))], axis=-1)


def still_tracks(boxes, clip, frames=10):
    first = clip - 5
    return Tracks(
        np.arange(first, first + frames),
        np.repeat(boxes[None], frames, axis=0),
        np.ones((frames, len(boxes)), bool),
    )


def match(key_boxes, tracks, **options):
    return match_tracks(key_boxes, tracks, range(45, 55), key_frame=50, **options)


def test_iou_is_that_of_each_pair():
    generator = np.random.default_rng(0)
    first, second = random_boxes(generator, 5), random_boxes(generator, 7)
    expected = [[iou(a, b) for b in second] for a in first]
    assert np.count_nonzero(expected) > 5
    np.testing.assert_allclose(box_iou(first, second), expected, rtol=1e-12)


def test_iou_of_empty_boxes_is_zero():
    empty = np.array([[0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(box_iou(empty, empty), [[0.0]])


@pytest.mark.parametrize("people", [2, 3, 5])
def test_matching_has_the_greatest_sum_of_overlaps(people):
    generator = np.random.default_rng(people)
    for _ in range(20):
        key_boxes, track_boxes = random_boxes(generator, people), random_boxes(generator, 5)
        boxes, tracked = match(key_boxes, still_tracks(track_boxes, 50))
        got = sum(iou(*pair) for pair in zip(key_boxes[tracked], boxes[5][tracked]))
        best = max(
            sum(
                overlap
                for i, j in enumerate(places)
                if (overlap := iou(key_boxes[i], track_boxes[j])) > 0.3
            )
            for places in itertools.permutations(range(5), people)
        )
        assert got == pytest.approx(best, rel=1e-12)
        used = [tuple(box) for box in boxes[5][tracked]]
        assert len(set(used)) == len(used)
        np.testing.assert_array_equal(boxes[:, ~tracked], [key_boxes[~tracked]] * 10)


def test_order_of_tracks_means_nothing():
    generator = np.random.default_rng(1)
    key_boxes = random_boxes(generator, 7)
    tracks = still_tracks(key_boxes + generator.normal(0, 0.005, (7, 4)), 50)
    order = generator.permutation(7)
    shuffled = Tracks(tracks.frames, tracks.boxes[:, order], tracks.visible[:, order])
    boxes, tracked = match(key_boxes, tracks)
    assert tracked.all()
    again, _ = match(key_boxes, shuffled)
    np.testing.assert_array_equal(again, boxes)


def test_frames_without_a_box_hold_the_nearest_one():
    key_boxes = np.array([[0.1, 0.1, 0.3, 0.3]])
    frames = np.array([40, 47, 50, 53])
    boxes = np.array([key_boxes + 0.01 * place for place in range(4)])
    visible = np.array([[True], [True], [False], [True]])
    got, tracked = match(key_boxes, Tracks(frames, boxes, visible))
    assert tracked.all()
    # Frames 45..54; frame 50 is hidden and as far from 47 as from 53: the earlier one.
    nearest = [1, 1, 1, 1, 1, 1, 3, 3, 3, 3]
    np.testing.assert_array_equal(got, boxes[nearest])


def test_slight_overlap_is_no_match():
    key_boxes = np.array([[0.0, 0.0, 0.4, 0.4]])
    other = np.array([[0.2, 0.0, 0.6, 0.4]])  # IoU 1/3
    tracks = still_tracks(other, 50)
    assert match(key_boxes, tracks, min_iou=0.33)[1].all()
    boxes, tracked = match(key_boxes, tracks, min_iou=0.34)
    assert not tracked.any()
    np.testing.assert_array_equal(boxes, [key_boxes] * 10)


def test_an_overlap_must_exceed_the_least_one():
    key_boxes = np.array([[0.0, 0.0, 0.5, 1.0]])
    tracks = still_tracks(np.array([[0.25, 0.0, 0.5, 1.0]]), 50)  # IoU 1/2, exactly
    assert not match(key_boxes, tracks, min_iou=0.5)[1].any()
    assert match(key_boxes, tracks, min_iou=0.499)[1].all()


def test_who_is_seen_outside_the_clip_alone_is_nobody():
    key_boxes = np.array([[0.1, 0.1, 0.3, 0.3]])
    frames = np.array([44, 55, 56])
    tracks = Tracks(frames, np.repeat(key_boxes[None], 3, axis=0), np.ones((3, 1), bool))
    boxes, tracked = match(key_boxes, tracks)
    assert not tracked.any()
    np.testing.assert_array_equal(boxes, [key_boxes] * 10)
