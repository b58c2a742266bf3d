import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.tracking import link, track
from stvh_jax.video.tracks import UNTRACKED, Tracks

pytest.importorskip("trackers", reason="the extra detect is not installed")


def walking(paths, *, frames=30, hidden=(), numbers=None, score=0.9):
    """Lets people walk: for each frame the boxes of those in sight, and who they are.

    Args:
      paths: for each person, the centre (y, x) at the start and the step in each frame.
      frames: how many there are.
      hidden: (person, frame) that the detector misses.
      numbers: of the frames; counted from 0 if None.
      score: of each box.

    Returns:
      The detections, and the person of each box of all frames.
    """
    found, people = [], []
    for frame in range(frames):
        seen = [each for each in range(len(paths)) if (each, frame) not in hidden]
        # The detector lists them in no constant order.
        seen = seen if frame % 2 else seen[::-1]
        centres = np.array([np.add(paths[i][0], np.multiply(frame, paths[i][1])) for i in seen])
        centres = centres.reshape(-1, 2)
        half = np.array([0.1, 0.03])
        boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
        number = frame if numbers is None else numbers[frame]
        found.append((number, boxes, np.full(len(seen), score, np.float32)))
        people += seen
    return found, np.array(people, int)


def same_partition(found, people):
    """Tells whether two lists name the same people, whatever the names are."""
    pairs = set(zip(found.tolist(), people.tolist(), strict=True))
    return len(pairs) == len(set(found.tolist())) == len(set(people.tolist()))


BESIDE = [((0.5, 0.2), (0, 0.01)), ((0.5, 0.35), (0, 0.01)), ((0.5, 0.9), (0, -0.002))]
CROSSING = [((0.4, 0.2), (0.004, 0.02)), ((0.6, 0.8), (-0.004, -0.02))]


@pytest.mark.parametrize("paths", [BESIDE, CROSSING])
@pytest.mark.parametrize("rate", [5, 25, 29.97])
def test_nobody_is_swapped(paths, rate):
    detections, people = walking(paths)
    tracks = track(detections, rate=rate)
    assert same_partition(tracks.people, people)
    assert tracks.people.min() == 0 and tracks.people.max() == len(paths) - 1


def test_the_boxes_are_those_given_in_their_order():
    detections, _ = walking(CROSSING, hidden={(0, 3), (1, 3), (0, 9)})
    tracks = track(iter(detections), rate=10)
    counts = [len(boxes) for _, boxes, _ in detections]
    np.testing.assert_array_equal(tracks.frames, np.repeat(np.arange(30), counts))
    np.testing.assert_array_equal(tracks.boxes, np.concatenate([d[1] for d in detections]))
    np.testing.assert_array_equal(tracks.confidences, np.concatenate([d[2] for d in detections]))


def test_who_is_missing_for_some_frames_stays_who_they_are():
    detections, people = walking(BESIDE, hidden={(0, frame) for frame in range(10, 16)})
    assert same_partition(track(detections, rate=10).people, people)


def test_who_is_missing_for_two_seconds_comes_back_as_someone_else():
    hidden = {(2, frame) for frame in range(6, 27)}
    detections, people = walking(BESIDE, frames=40, hidden=hidden)
    tracks = track(detections, rate=10)
    before = tracks.people[(people == 2) & (tracks.frames < 6)]
    after = tracks.people[(people == 2) & (tracks.frames >= 27)]
    assert len(set(before)) == len(set(after)) == 1 and before[0] != after[0]
    patient = track(detections, rate=10, patience=4)
    assert same_partition(patient.people, people)


def test_frames_that_are_not_there_are_time_that_passes():
    """Two seconds without frames end everybody; half a second nobody."""
    for missing, expected in ((5, 3), (20, 6)):
        numbers = [frame if frame < 15 else frame + missing for frame in range(30)]
        standing = [((0.5, x), (0, 0)) for x in (0.2, 0.5, 0.8)]
        detections, _ = walking(standing, numbers=numbers)
        tracks = track(detections, rate=10)
        assert len(set(tracks.people)) == expected
        np.testing.assert_array_equal(np.unique(tracks.frames), numbers)


@pytest.mark.parametrize("step", [1, 5, 30])
def test_every_nth_frame_is_as_good_as_every_frame(step):
    hidden = {(2, frame) for frame in range(6, 27)}
    plain = track(walking(BESIDE, frames=40, hidden=hidden)[0], rate=10)
    numbers = [7 + step * frame for frame in range(40)]
    nth = track(walking(BESIDE, frames=40, hidden=hidden, numbers=numbers)[0], rate=10)
    np.testing.assert_array_equal(nth.people, plain.people)
    np.testing.assert_array_equal(nth.frames, 7 + step * plain.frames)


def test_weak_boxes_continue_people_and_begin_none():
    weak, _ = walking(BESIDE, score=0.2)
    assert (track(weak, rate=10).people == UNTRACKED).all()
    strong, people = walking(BESIDE)
    mixed = [each if each[0] < 10 else other for each, other in zip(strong, weak, strict=True)]
    assert same_partition(track(mixed, rate=10).people, people)


def test_a_box_of_one_frame_is_nobody():
    detections, people = walking(BESIDE, hidden={(2, f) for f in range(30) if f != 12})
    tracks = track(detections, rate=10)
    np.testing.assert_array_equal(tracks.people == UNTRACKED, people == 2)


def test_the_same_boxes_give_the_same_people():
    rng = np.random.default_rng(0)
    detections = []
    for number in range(20):
        low = rng.random((15, 2)) * 0.8
        boxes = np.concatenate([low, low + 0.1], axis=1).astype(np.float32)
        detections.append((number, boxes, rng.random(15).astype(np.float32)))
    first, second = (track(detections, rate=25).people for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for number in range(20):  # nobody is in two places
        here = first[number * 15 : number * 15 + 15]
        followed = here[here != UNTRACKED]
        assert len(set(followed)) == len(followed)


def loose(tracks):
    return Tracks(tracks.frames, np.full(len(tracks), UNTRACKED), tracks.boxes, tracks.confidences)


def test_boxes_of_a_detector_are_linked_as_if_they_were_tracked():
    detections, people = walking(CROSSING, hidden={(0, 3), (0, 4)})
    tracks = track(detections, rate=10)
    linked = link(loose(tracks), rate=10)
    np.testing.assert_array_equal(linked.people, tracks.people)
    np.testing.assert_array_equal(linked.frames, tracks.frames)
    np.testing.assert_array_equal(linked.boxes, tracks.boxes)
    assert same_partition(linked.people, people)


def test_linking_leaves_the_people_who_are_followed():
    detections, people = walking(BESIDE)
    tracks = track(detections, rate=10)
    given = np.where(people == 1, 41, UNTRACKED)
    linked = link(Tracks(tracks.frames, given, tracks.boxes, tracks.confidences), rate=10)
    assert same_partition(linked.people, people)
    np.testing.assert_array_equal(linked.people == 41, people == 1)
    assert set(linked.people) == {41, 42, 43}
    again = link(linked, rate=10)
    np.testing.assert_array_equal(again.people, linked.people)


def test_linking_needs_no_order_of_boxes_within_a_frame_but_of_frames():
    detections, _ = walking(BESIDE)
    tracks = loose(track(detections, rate=10))
    backwards = Tracks(*(value[::-1] for value in vars(tracks).values()))
    with pytest.raises(UserError, match="out of order"):
        link(backwards, rate=10)


def test_nothing_is_nobody():
    for detections in ([], [(3, np.empty((0, 4), np.float32), np.empty(0, np.float32))] * 1):
        tracks = track(detections, rate=25)
        assert len(tracks) == 0 and tracks.boxes.shape == (0, 4)
        assert len(link(tracks, rate=25)) == 0


BOX = np.array([[0.1, 0.1, 0.2, 0.2]], np.float32)
SURE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    "detections",
    [
        [(1, BOX, SURE), (1, BOX, SURE)],
        [(5, BOX, SURE), (4, BOX, SURE)],
        [(0, BOX * np.float32(np.nan), SURE)],
        [(0, BOX, SURE * np.float32(np.inf))],
        [(0, BOX, np.ones(2, np.float32))],
    ],
)
def test_odd_detections_are_refused(detections):
    with pytest.raises(UserError, match="frame "):
        track(detections, rate=25)


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0},
        {"rate": float("inf")},
        {"rate": 25, "patience": 0},
        {"rate": 25, "patience": float("nan")},
        {"rate": 25, "begins": 2},
    ],
)
def test_odd_settings_are_refused(settings):
    with pytest.raises(UserError, match="; give "):
        track([(0, BOX, SURE)], **settings)
