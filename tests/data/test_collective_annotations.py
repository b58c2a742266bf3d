"""Annotations, labels and tracks of the Collective Activity sets, as their files have them."""

import numpy as np
import pytest

from data.collective_activity import constants
from data.collective_activity import raw as subject
from data.collective_activity.annotations import (
    KeyFrame,
    majority,
    scan_collective_annotations,
)
from data.collective_activity.tracks import parse_collective_tracks
from data.collective_activity_extended import raw as extended
from stvh_jax.errors import Damaged
from tests.helpers.collective_files import (
    CROSSING,
    DANCING,
    JOGGING,
    NA,
    QUEUEING,
    TALKING,
    WAITING,
    WALKING,
    track_text,
)


def key_frame(*numbers):
    return KeyFrame(1, np.zeros((len(numbers), 4)), numbers, line=1)


# --- annotations -------------------------------------------------------------------------------


def write(folder, text, name="annotations.txt"):
    path = folder / name
    path.write_text(text)
    return path


def test_rows_become_the_people_of_key_frames(tmp_path):
    text = "011\t9\t8\t7\t6\t2\t-1\n001\t-4\t20\t30\t40\t6\t-1\n\n011\t1\t2\t3\t4\t1\t5\n"
    # Rows between the key frames are passed over, whatever they say; so is a byte-order mark.
    path = write(tmp_path, "\ufeff" + text + "005\t1\t2\t0\t4\t9\t-1")
    frames, problems = scan_collective_annotations(path, num_classes=6)
    assert not problems
    assert [(frame.frame, frame.classes, frame.line) for frame in frames] == [
        (1, (6,), 2),
        (11, (2, 1), 1),
    ]
    np.testing.assert_array_equal(frames[0].boxes, [[20, -4, 60, 26]])
    np.testing.assert_array_equal(frames[1].boxes, [[8, 9, 14, 16], [2, 1, 6, 4]])


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("1 2 3 4 5 2", "expected 7 fields, found 6"),
        ("1 2 3 4 5 2 -1 8", "expected 7 fields, found 8"),
        ("1 2 3 four 5 2 -1", "expected numbers"),
        ("1 2 3 nan 5 2 -1", "not finite"),
        ("1 2 3 0 5 2 -1", "no positive width and height"),
        ("1 2 3 4 5 7 -1", "unknown class 7; known: 1 to 6"),
        ("1 2 3 4 5 0 -1", "unknown class 0"),
        ("1 2 3 4 5 2.5 -1", "unknown class 2.5"),
        ("0 2 3 4 5 2 -1", "frame 0 is not a whole number from 1 on"),
        ("1.5 2 3 4 5 2 -1", "frame 1.5 is not a whole number"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_kept(tmp_path, row, cause):
    good = "1\t2\t3\t4\t5\t2\t-1\n"
    path = write(tmp_path, good + row.replace(" ", "\t") + "\n" + good)
    frames, problems = scan_collective_annotations(path, num_classes=6)
    assert [frame.classes for frame in frames] == [(2, 2)]
    (problem,) = problems
    assert str(problem).startswith(f"{path}:2: ") and cause in str(problem)


def test_extended_classes_are_known_where_they_belong(tmp_path):
    path = write(tmp_path, "1\t2\t3\t4\t5\t8\t-1\n")
    assert len(scan_collective_annotations(path, num_classes=8)[0]) == 1
    assert len(scan_collective_annotations(path, num_classes=6)[1]) == 1


@pytest.mark.parametrize(
    ("names", "winner"),
    [("", None), ("a", "a"), ("abb", "b"), ("abba", "a"), ("baab", "b"), ("cabab", "a")],
)
def test_the_first_of_the_most_frequent_wins(names, winner):
    assert majority(names) == winner


# --- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "four", "five"),
    [
        ((WAITING,), "waiting", "waiting"),
        ((NA, NA, TALKING), "talking", "talking"),
        ((CROSSING, WALKING, WAITING, WAITING, WAITING), "waiting", "waiting"),
        # Merging before the vote: two who move against two who wait, the first listed wins.
        ((CROSSING, WAITING, WAITING, WALKING), "moving", "waiting"),
        ((WAITING, CROSSING, WALKING), "moving", "waiting"),
        ((QUEUEING, TALKING), "queueing", "queueing"),
        ((TALKING, QUEUEING), "talking", "talking"),
    ],
)
def test_the_majority_without_na_is_the_activity(numbers, four, five):
    for classes, activity in (("four", four), ("five", five)):
        clip = subject.label_four_or_five(key_frame(*numbers), classes=classes)
        assert clip.activity == activity
        names = [constants.CLASSES[number - 1] for number in numbers]
        if classes == "four":
            names = ["moving" if n in ("crossing", "walking") else n for n in names]
        assert clip.actions == tuple(names)


def test_a_clip_of_nobody_but_na_has_no_label():
    assert subject.label_four_or_five(key_frame(NA, NA), classes="four") is None
    assert extended.label_six(key_frame(NA), walkers="na") is None


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        # (activity, actions) by drop_clips, na, drop_people.
        ((WALKING, WALKING, TALKING), (None, ("talking", "na na talking"), ("talking", "talking"))),
        ((WALKING, TALKING, TALKING), ("talking", "na talking talking")),
        ((WALKING, TALKING), (None, ("talking", "na talking"), ("talking", "talking"))),
        ((TALKING, WALKING), ("talking", "talking na")),
        ((WALKING,), (None, None, None)),
        ((DANCING, JOGGING, JOGGING), ("jogging", "dancing jogging jogging")),
    ],
)
def test_walkers_of_the_extended_set(numbers, expected):
    if isinstance(expected[1], str):
        activity, actions = expected
        fewer = " ".join(a for a, n in zip(actions.split(), numbers) if n != WALKING)
        expected = (expected, expected, (activity, fewer))
    for walkers, clip in zip(("drop_clips", "na", "drop_people"), expected):
        found = extended.label_six(key_frame(*numbers), walkers=walkers)
        if clip is None:
            assert found is None
        else:
            assert (found.activity, " ".join(found.actions)) == clip
            assert len(found.boxes) == len(found.actions)


def test_removed_walkers_take_their_own_boxes_along():
    boxes = np.arange(12.0).reshape(3, 4)
    clip = extended.label_six(
        KeyFrame(1, boxes, (TALKING, WALKING, TALKING), line=1), walkers="drop_people"
    )
    np.testing.assert_array_equal(clip.boxes, boxes[[0, 2]])


# --- tracks ------------------------------------------------------------------------------------


def test_tracks_of_a_sequence(tmp_path):
    text = track_text([{3: (1, 2, 3, 4), 4: (2, 2, 3, 4)}, {4: (-5, 6, 7, 8)}])
    tracks = parse_collective_tracks(write(tmp_path, text, "track1.dat"))
    np.testing.assert_array_equal(tracks.frames, [3, 4])
    np.testing.assert_array_equal(tracks.visible, [[True, False], [True, True]])
    np.testing.assert_array_equal(tracks.boxes[0, 0], [2, 1, 6, 4])
    np.testing.assert_array_equal(tracks.boxes[1], [[2, 2, 6, 5], [6, -5, 14, 2]])


GOOD = track_text([{1: (1, 2, 3, 4), 2: (2, 2, 3, 4)}, {2: (5, 6, 7, 8)}])


@pytest.mark.parametrize(
    ("change", "line", "cause"),
    [
        (lambda text: "", 0, "0 targets and 0 boxes"),
        (lambda text: text.replace("Number of Targets 2", "Number of Targets 3"), 14, "3 targets"),
        (lambda text: "\n".join(text.splitlines()[:5]), 5, "the file ends with 1 targets"),
        (lambda text: text.replace("to 2)", "to 5)", 1), 14, "6 boxes are announced"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "2\t2\t2\t3"), 6, "expected 5 numbers"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "2\tx\t2\t3\t4"), 6, "expected numbers"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "1\t2\t2\t3\t4"), 6, "belongs to frame 1"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "3\t2\t2\t3\t4"), 6, "belongs to frame 3"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "1.5\t2\t2\t3\t4"), 6, "belongs to frame 1.5"),
        (lambda text: text.replace("2\t2\t2\t3\t4", "2\t2\t2\t-3\t4"), 6, "no positive width"),
        (lambda text: "<html>\n" + text, 1, "expected numbers, found: <html>"),
    ],
)
def test_a_bad_track_file_is_named_with_its_line(tmp_path, change, line, cause):
    path = write(tmp_path, change(GOOD), "track1.dat")
    with pytest.raises(Damaged) as caught:
        parse_collective_tracks(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert cause in str(caught.value) and "\n" not in str(caught.value)
