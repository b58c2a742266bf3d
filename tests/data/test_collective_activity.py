import collections
import json
import re
import shutil

import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.annotations import KeyFrame, majority
from data.check import check_raw
from data.collective_activity import constants
from data.collective_activity import raw as subject
from data.collective_activity.annotations import scan_collective_annotations
from data.collective_activity.collective_activity_dataset_builder import Builder
from data.collective_activity.tracks import parse_collective_tracks
from data.collective_activity_extended import constants as extended_constants
from data.collective_activity_extended import raw as extended
from data.collective_activity_extended.collective_activity_extended_dataset_builder import (
    Builder as ExtendedBuilder,
)
from data.prepared.pipeline import open_dataset
from stvh_jax.errors import UserError
from tests.helpers.collective_files import (
    REAL,
    frame_colours,
    track_text,
    write_sequences,
    write_tracks,
)
from tests.helpers.prepared_sets import examples_of, prepare
from tests.helpers.volleyball_files import SIZE, write_frame

needs_real = pytest.mark.skipif(not REAL.exists(), reason="real data not present")

NA, CROSSING, WAITING, QUEUEING, WALKING, TALKING, DANCING, JOGGING = range(1, 9)
SPLITS = {"train": [1, 2], "validation": [3], "test": [4]}


def people(*numbers):
    """Makes people of these classes who stand apart."""
    return [(2 + 9 * place, 6, 6, 12, number) for place, number in enumerate(numbers)]


def key_frame(*numbers):
    return KeyFrame(1, np.zeros((len(numbers), 4)), numbers, line=1)


@pytest.fixture
def whole(tmp_path):
    """A complete small set in the archive's layout: 20 frames a sequence."""
    return write_sequences(
        tmp_path / "raw",
        {
            1: {1: people(CROSSING, WALKING, WAITING), 11: people(QUEUEING, QUEUEING)},
            2: {1: people(TALKING, NA), 11: people(TALKING)},
            3: {1: people(WAITING)},
            4: {11: people(WALKING, WALKING, NA)},
        },
        splits=SPLITS,
    )


class CollectiveActivityTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on the dummy data."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "validation": 1, "test": 1}


class CollectiveActivityExtendedTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on the dummy data."""

    DATASET_CLASS = ExtendedBuilder
    SPLITS = {"train": 2, "validation": 1, "test": 1}


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
        ("0 2 3 4 5 2 -1", "frame 0 is no number from 1 on"),
        ("1.5 2 3 4 5 2 -1", "frame 1.5 is no number"),
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
    with pytest.raises(UserError) as caught:
        parse_collective_tracks(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert cause in str(caught.value) and "\n" not in str(caught.value)


# --- the folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "ActivityDataset"])
def test_the_folder_or_its_sequences_may_be_given(whole, place):
    raw = subject.open_raw(whole / place)
    assert raw.folder == whole
    assert raw.splits == {"train": (1, 2), "validation": (3,), "test": (4,)}
    assert (raw.count, raw.official) == (6, False)
    assert raw.frame_size(1) == SIZE
    assert raw.num_frames(1) == 20


def test_sequences_may_lie_in_the_given_folder_itself(whole):
    for path in (whole / "ActivityDataset").iterdir():
        path.rename(whole / path.name)
    (whole / "ActivityDataset").rmdir()
    raw = subject.open_raw(whole)
    assert raw.annotation_path(2) == whole / "seq02/annotations.txt"
    assert [clip.clip for clip in raw.scan(2).clips] == [1, 11]


def test_a_folder_without_sequences_is_refused(tmp_path):
    with pytest.raises(UserError, match="found no ActivityDataset/seq<NN>/; give the folder"):
        subject.open_raw(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        json.dumps(SPLITS),
        json.dumps({"key_frames": 1}),
        json.dumps(SPLITS | {"key_frames": 1.5}),
        json.dumps(SPLITS | {"key_frames": 1, "train": "12"}),
        '{"train": [1], "validation": [], "test": [], "key_frames": 1e999}',
    ],
)
def test_malformed_splits_are_refused(whole, content):
    (whole / "splits.json").write_text(content)
    with pytest.raises(UserError, match=r"splits.json: expected .*key_frames"):
        subject.open_raw(whole)


def test_splits_may_lie_with_the_sequences(whole):
    (whole / "splits.json").rename(whole / "ActivityDataset/splits.json")
    assert not subject.open_raw(whole).official


def test_a_split_cannot_be_chosen_beside_one_of_its_own(whole):
    with pytest.raises(UserError, match=r"splits.json deals the sequences out; remove it or leave"):
        subject.open_raw(whole, split="sfu")


def test_a_sequence_in_two_places_is_refused(whole):
    # A folder without annotations is none.
    (whole / "ActivityDataset2/seq01").mkdir(parents=True)
    raw = subject.open_raw(whole)
    assert raw.annotation_path(1) == whole / "ActivityDataset/seq01/annotations.txt"
    shutil.copytree(whole / "ActivityDataset/seq02", whole / "ActivityDataset2/seq02")
    with pytest.raises(UserError, match="seq02 are the same sequence; remove one of them"):
        raw.scan(2)


def test_images_may_show_that_an_official_sequence_is_longer(tmp_path):
    root = write_sequences(tmp_path, {48: {41: people(TALKING)}}, frames=0, second=(48,))
    assert extended.open_raw(root).scan(48).clips == []  # 47 frames
    write_frame(root / "ActivityDataset2/seq48/frame0050.jpg", (0, 0, 0), (9, 9, 9))
    assert len(extended.open_raw(root).scan(48).clips) == 1


def test_tracks_are_those_of_this_folder(whole):
    write_tracks(whole.parent, 1, [dict.fromkeys(range(1, 21), (2, 6, 6, 12))])
    raw = subject.open_raw(whole)
    assert not raw.has_tracks()
    (whole.parent / "ActivityTracks").rename(whole / "tracks")
    raw = subject.open_raw(whole)
    assert raw.boxes(1, raw.scan(1).clips[0])[2].any()


def test_official_sequences_are_known_without_images(tmp_path):
    root = write_sequences(tmp_path, {15: {451: people(TALKING), 461: people(TALKING)}}, frames=0)
    raw = subject.open_raw(root)
    assert (raw.frame_size(15), raw.frame_size(44)) == ((450, 800), (480, 720))
    # The sequence has 464 frames: 451..460 fit, 461..470 do not.
    assert [clip.clip for clip in raw.scan(15).clips] == [451]
    assert raw.scan(15).key_frames == 2
    raw = extended.open_raw(root)
    assert [raw.frame_size(n) for n in (44, 45, 59, 60, 74)] == [
        (480, 720),
        (480, 640),
        (480, 640),
        (720, 1280),
        (720, 1280),
    ]


def test_other_sequences_need_images(tmp_path):
    root = write_sequences(tmp_path, {1: {1: people(TALKING)}}, splits=SPLITS, frames=0)
    with pytest.raises(UserError, match="to tell how long the sequence is"):
        subject.open_raw(root).scan(1)


@pytest.mark.parametrize(
    ("window", "clips", "frames"),
    [("forward", [1, 11], range(11, 21)), ("centred", [11], range(6, 16))],
)
def test_windows(whole, window, clips, frames):
    raw = subject.open_raw(whole, window=window)
    assert [clip.clip for clip in raw.scan(1).clips] == clips
    assert raw.clip_frames(11) == frames
    names = [path.name for path in raw.frame_paths(1, 11)]
    assert names == [f"frame{frame:04d}.jpg" for frame in frames]


def test_named_splits_cover_every_sequence_once():
    for splits, sequences in (
        (constants.SPLITS["din"], 44),
        (constants.SPLITS["sfu"], 44),
        (extended_constants.SPLITS["public"], 74),
    ):
        assert sorted(sum(splits.values(), ())) == list(range(1, sequences + 1))
    assert len(constants.SPLITS["din"]["test"]) == 12
    assert len(constants.SPLITS["sfu"]["test"]) == 13
    assert len(extended_constants.SPLITS["public"]["test"]) == 21


def test_boxes_follow_the_tracks_and_stand_still_without(whole):
    # Tracks in another order than the annotation, and one of somebody who was there before.
    moving = {frame: (2 + frame - 11, 7, 6, 12) for frame in range(11, 17)}
    gone = dict.fromkeys(range(1, 11), (2, 6, 6, 12))
    write_tracks(whole, 1, [gone, moving])
    raw = subject.open_raw(whole)
    clip = raw.scan(1).clips[1]
    boxes, key_boxes, tracked = raw.boxes(1, clip)
    np.testing.assert_array_equal(tracked, [True, False])
    x = boxes[:, :, 1] * SIZE[1]
    # The nearest box where the track has ended.
    np.testing.assert_allclose(x[:, 0], [2, 3, 4, 5, 6, 7, 7, 7, 7, 7], atol=1e-5)
    np.testing.assert_allclose(x[:, 1], [11] * 10, atol=1e-5)
    np.testing.assert_allclose(key_boxes[0] * [*SIZE, *SIZE], [6, 2, 18, 8], atol=1e-5)
    np.testing.assert_allclose(boxes[0, 0] * [*SIZE, *SIZE], [7, 2, 19, 8], atol=1e-5)


def test_boxes_are_cut_off_at_the_frame(tmp_path):
    height, width = SIZE
    crowd = [(-4, -3, 20, 10, WAITING), (width - 5, height - 5, 50, 50, WAITING)]
    root = write_sequences(tmp_path, {1: {1: crowd}}, splits=SPLITS)
    raw = subject.open_raw(root)
    boxes, _, _ = raw.boxes(1, raw.scan(1).clips[0])
    expected = [[0, 0, 7 / height, 16 / width], [1 - 5 / height, 1 - 5 / width, 1, 1]]
    np.testing.assert_allclose(boxes, [expected] * 10, rtol=1e-5, atol=1e-7)


# --- the prepared set --------------------------------------------------------------------------


def config_of(folder, **options):
    config = {
        "name": "collective_activity",
        "variant": "frames",
        "dir": str(folder),
        "image_size": SIZE,
        "num_frames": 10,
        "num_actors": 13,
        "still_boxes": False,
    }
    return ml_collections.ConfigDict(config | options)


def test_prepared_clips_are_the_annotated_ones(whole, tmp_path):
    write_tracks(whole, 1, [{frame: (2 + frame, 6, 6, 12) for frame in range(1, 11)}])
    builder = prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    examples = examples_of(builder, "train")
    assert set(examples) == {(1, 1), (1, 11), (2, 1), (2, 11)}
    example = examples[1, 1]
    files = [(whole / f"ActivityDataset/seq01/frame{n:04d}.jpg").read_bytes() for n in range(1, 11)]
    assert list(example["frames"]) == files
    features = builder.info.features
    assert features["activity"].names == ["moving", "waiting", "queueing", "talking"]
    assert features["activity"].int2str(example["activity"]) == "moving"
    actions = [features["action"].feature.int2str(action) for action in example["action"][:3]]
    assert actions == ["moving", "moving", "waiting"]
    np.testing.assert_array_equal(example["action"][3:], -1)
    np.testing.assert_array_equal(example["tracked"], [True] + [False] * 12)
    assert builder.info.metadata["splits"]["train"] == {
        "clips": 4,
        "skipped": 0,
        "actors": 8,
        "untracked": 7,
    }
    assert builder.info.metadata["key_frame"] == 0


@pytest.mark.parametrize("num_frames", [1, 4, 10])
def test_batches_begin_at_the_key_frame(whole, tmp_path, num_frames):
    prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    dataset = open_dataset(config_of(tmp_path / "out", num_frames=num_frames))
    assert dataset.key_frame == 0
    (clips,) = dataset.evaluation_batches("test", batch_size=1)
    assert (clips.match[0], clips.clip[0]) == (4, 11)
    for place in range(num_frames):
        left, _ = frame_colours(4, 11 + place)
        assert np.abs(clips.frames[0, place, 15, 5].astype(int) - left).max() <= 3


@pytest.mark.parametrize(("num_frames", "place"), [(1, 0), (4, 2), (10, 5)])
def test_batches_of_centred_clips(whole, tmp_path, num_frames, place):
    prepare(Builder(config="frames-centred", data_dir=tmp_path / "out"), whole)
    options = {"variant": "frames-centred", "num_frames": num_frames}
    dataset = open_dataset(config_of(tmp_path / "out", **options))
    assert dataset.key_frame == place
    (clips,) = dataset.evaluation_batches("test", batch_size=1)
    left, _ = frame_colours(4, 11)
    assert np.abs(clips.frames[0, place, 15, 5].astype(int) - left).max() <= 3
    image = dataset.key_frame_images("test", {(4, 11)})[4, 11]
    assert np.abs(image[15, 5].astype(int) - left).max() <= 3


def test_still_boxes_are_the_annotated_ones(whole, tmp_path):
    write_tracks(whole, 1, [{frame: (3 + frame, 7, 6, 12) for frame in range(1, 11)}])
    prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), whole)
    moving, still = (
        open_dataset(config_of(tmp_path / "out", variant="boxes_only", still_boxes=choice))
        for choice in (False, True)
    )
    assert (moving.untracked_share("train"), still.untracked_share("train")) == (7 / 8, 1.0)
    batches = [dataset.evaluation_batches("train", batch_size=4) for dataset in (moving, still)]
    first, second = (next(batch) for batch in batches)
    row = int(np.flatnonzero((first.match == 1) & (first.clip == 1))[0])
    assert np.ptp(first.boxes[row, :, 0], axis=0).max() > 0.1
    expected = np.array([6, 2, 18, 8]) / [*SIZE, *SIZE]
    np.testing.assert_allclose(second.boxes[row, :, 0], [expected] * 10, rtol=1e-6)
    np.testing.assert_array_equal(first.boxes[row, :, 1:], second.boxes[row, :, 1:])
    np.testing.assert_array_equal(second.actor_mask, first.actor_mask)


def test_five_activities_are_a_variant(whole, tmp_path):
    builder = prepare(Builder(config="boxes_only-five", data_dir=tmp_path / "out"), whole)
    assert builder.info.features["activity"].names == list(constants.ACTIVITIES["five"])
    names = builder.info.features["activity"]
    found = {
        name: names.int2str(example["activity"])
        for split in ("train", "validation", "test")
        for name, example in examples_of(builder, split).items()
    }
    assert found == {
        (1, 1): "crossing",
        (1, 11): "queueing",
        (2, 1): "talking",
        (2, 11): "talking",
        (3, 1): "waiting",
        (4, 11): "walking",
    }


def test_the_extended_set_has_two_folders(tmp_path):
    root = write_sequences(
        tmp_path / "raw",
        {
            1: {1: people(TALKING), 11: people(WALKING, WALKING, TALKING)},
            2: {1: people(DANCING, WALKING)},
            3: {1: people(JOGGING)},
            4: {1: people(JOGGING)},
        },
        splits=SPLITS,
        second=(2, 3, 4),
    )
    for place in (root, root / "ActivityDataset2"):
        assert len(extended.open_raw(place).scan(2).clips) == 1
    for walkers, clips, actors in (("drop_clips", 2, 3), ("na", 3, 6), ("drop_people", 3, 3)):
        config = "boxes_only" if walkers == "drop_clips" else f"boxes_only-{walkers}"
        builder = prepare(ExtendedBuilder(config=config, data_dir=tmp_path / "out"), root)
        counts = builder.info.metadata["splits"]["train"]
        assert (counts["clips"], counts["actors"]) == (clips, actors)
        assert builder.info.features["activity"].names == list(extended_constants.ACTIVITIES)


def test_missing_and_damaged_frames_stop_the_preparation(whole, tmp_path):
    path = whole / "ActivityDataset/seq01/frame0013.jpg"
    good = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match=r"1 of 6 clips lack .*--allow-missing"):
        prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    path.write_bytes(good[:-30])
    with pytest.raises(UserError, match=r"frame0013.jpg: damaged JPEG"):
        prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    write_frame(path, (0, 0, 0), (9, 9, 9), size=(31, 48))
    with pytest.raises(UserError, match=r"frame0013.jpg: 48x31 pixels among frames of 47x31"):
        prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    shutil.rmtree(whole / "ActivityDataset/seq02")
    with pytest.raises(UserError, match="1 of the 2 train sequences have no annotations.txt"):
        prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), whole)


def test_a_crowd_is_a_problem(tmp_path):
    root = write_sequences(tmp_path, {1: {1: people(*[WAITING] * 14)}}, splits=SPLITS)
    clips, problems, key_frames = subject.open_raw(root).scan(1)
    assert (clips, key_frames) == ([], 0)
    assert "annotations.txt:1: 14 people, at most 13 fit" in str(problems[0])


# --- the check and the real files --------------------------------------------------------------


def run_check(raw, *, frames):
    lines = []
    complete = check_raw(raw, frames=frames, report=lines.append)
    return complete, "\n".join(lines)


def test_a_whole_set_is_complete(whole):
    complete, text = run_check(subject.open_raw(whole), frames=True)
    assert complete
    assert "complete: no problem found" in text
    assert "train: 0 of 8 people on tracks, 4 of 4 clips with all 10 frames" in text


def test_every_problem_is_listed_once(whole):
    sequence = whole / "ActivityDataset/seq01"
    (sequence / "frame0002.jpg").unlink()
    write(sequence, "bad\n" + (sequence / "annotations.txt").read_text())
    shutil.rmtree(whole / "ActivityDataset/seq03")
    write_tracks(whole, 2, []).write_text("nothing")
    complete, text = run_check(subject.open_raw(whole), frames=True)
    assert not complete
    for problem in (
        f"{sequence}: 1 of 2 clips lack some of their 10 frames, first clip 1",
        f"{sequence}/annotations.txt:1: expected numbers, found: bad",
        f"{whole}/ActivityDataset/seq03/annotations.txt: no such file",
        f"{whole}/ActivityTracks/track2.dat:1: expected numbers",
        "5 annotated key frames, expected 6",
        "train: 0 of 8 people on tracks, 3 of 4 clips",
        "problems: 5",
    ):
        assert problem in text


def test_a_sequence_without_annotations_is_a_problem(whole):
    write(whole / "ActivityDataset/seq03", "")
    complete, text = run_check(subject.open_raw(whole), frames=False)
    assert not complete
    assert "seq03/annotations.txt: no key frame is annotated" in text


def test_key_frames_that_make_no_clip_are_counted(whole):
    complete, text = run_check(subject.open_raw(whole, window="centred"), frames=False)
    assert complete
    assert "train: 0 of 3 people on tracks, 2 of 4 annotated key frames make no clip" in text


def test_what_is_not_known_is_not_called_complete(tmp_path):
    sequences = {n: {1: people(TALKING)} for n in range(1, 75)}
    raw = extended.open_raw(write_sequences(tmp_path, sequences, frames=0))
    complete, text = run_check(raw, frames=False)
    assert complete and "complete:" not in text
    assert "no problem found; how many clips the complete set has is not known" in text


def test_an_official_set_with_other_counts_is_not_prepared(tmp_path):
    sequences = {n: {1: people(TALKING)} for n in range(1, 45)}
    root = write_sequences(tmp_path / "raw", sequences, frames=0)
    with pytest.raises(UserError, match=r"train\+validation has 32 clips, expected 1746"):
        prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), root)
    builder = Builder(config="boxes_only", data_dir=tmp_path / "out", allow_missing=True)
    assert prepare(builder, root).info.splits["test"].num_examples == 12


# Clips by activity as the data's own description counts them: split A, five classes.
PUBLISHED = {
    "train": {"crossing": 403, "waiting": 323, "queueing": 411, "walking": 342, "talking": 267},
    "test": {"crossing": 135, "waiting": 135, "queueing": 91, "walking": 223, "talking": 181},
}


def label_by_hand(rows, *, merged):
    """Labels one frame's rows with loops of its own: counts, then the first of the greatest."""
    best, winner, counts = 0, None, {}
    names = []
    for row in rows:
        name = {2: "crossing", 3: "waiting", 4: "queueing", 5: "walking", 6: "talking"}.get(row[5])
        names.append("moving" if merged and name in ("crossing", "walking") else name)
        counts[names[-1]] = counts.get(names[-1], 0) + 1
    counts.pop(None, None)
    for name in names:
        if name is not None and counts[name] > best:
            best, winner = counts[name], name
    return winner


def clips_by_hand(sequence, *, centred, merged):
    """Reads a real sequence's clips without any of the code under test."""
    rows = collections.defaultdict(list)
    folder = REAL / f"ActivityDataset/seq{sequence:02d}"
    for line in (folder / "annotations.txt").read_text().splitlines():
        row = [float(field) for field in line.split("\t")]
        rows[int(row[0])].append(row)
    before, after = (5, 4) if centred else (0, 9)
    length = constants.SEQUENCE_LENGTHS[sequence]
    return {
        frame: label_by_hand(rows[frame], merged=merged)
        for frame in sorted(rows)
        if frame % 10 == 1 and frame - before >= 1 and frame + after <= length
    }


@needs_real
@pytest.mark.parametrize("classes", ["four", "five"])
@pytest.mark.parametrize("window", ["forward", "centred"])
def test_real_clips_are_those_counted_by_hand(classes, window):
    raw = subject.open_raw(REAL, classes=classes, window=window)
    for sequence in range(1, 45):
        scan = raw.scan(sequence)
        assert not scan.problems
        assert {clip.clip: clip.activity for clip in scan.clips} == clips_by_hand(
            sequence, centred=window == "centred", merged=classes == "four"
        )


@needs_real
def test_real_splits_reach_the_published_counts():
    raw = subject.open_raw(REAL, classes="five")
    found = {
        split: collections.Counter(
            clip.activity for sequence in sequences for clip in raw.scan(sequence).clips
        )
        for split, sequences in raw.splits.items()
    }
    assert found["train"] + found["validation"] == PUBLISHED["train"]
    assert found["test"] == PUBLISHED["test"]
    assert (PUBLISHED["train"]["crossing"], sum(PUBLISHED["train"].values())) == (403, 1746)
    # A quarter of every activity validates.
    shares = [found["validation"][name] / n for name, n in PUBLISHED["train"].items()]
    assert min(shares) > 0.23 and max(shares) < 0.28


@needs_real
@pytest.mark.parametrize("classes", ["four", "five"])
@pytest.mark.parametrize("split", ["din", "sfu"])
@pytest.mark.parametrize("window", ["forward", "centred"])
def test_real_annotations_are_complete(classes, split, window):
    complete, text = run_check(
        subject.open_raw(REAL, classes=classes, split=split, window=window), frames=False
    )
    assert complete
    totals = {("din", "forward"): "1746      1746       765       765"}
    assert totals.get((split, window), "complete: no problem found") in text


@needs_real
def test_real_splits_that_lost_a_clip_are_not_prepared(tmp_path):
    shutil.copytree(REAL / "ActivityDataset", tmp_path / "raw/ActivityDataset")
    path = tmp_path / "raw/ActivityDataset/seq05/annotations.txt"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if not row.startswith("011\t")))
    with pytest.raises(UserError, match="test has 764 clips, expected 765, or other activities"):
        prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), tmp_path / "raw")


@needs_real
def test_real_tracks_are_all_read():
    for number in range(1, 75):
        path = REAL / f"tracks/track{number}.dat"
        text = path.read_text()
        tracks = parse_collective_tracks(path)
        spans = re.findall(r"Target \d+ \(frames from (\d+) to (\d+)\)", text)
        assert tracks.boxes.shape[1] == len(spans)
        for place, (first, last) in enumerate(spans):
            seen = tracks.frames[tracks.visible[:, place]]
            np.testing.assert_array_equal(seen, np.arange(int(first), int(last) + 1))
        row = next(line for line in text.splitlines() if re.match(r"\d+\t", line))
        frame, x, y, width, height = map(int, row.split("\t"))
        place = int(np.flatnonzero(tracks.frames == frame)[0])
        np.testing.assert_array_equal(tracks.boxes[place, 0], [y, x, y + height, x + width])


@needs_real
def test_real_people_are_matched_to_tracks():
    raw = subject.open_raw(REAL)
    rates = {}
    for sequence in (1, 27, 28):
        tracked = [raw.boxes(sequence, clip)[2] for clip in raw.scan(sequence).clips]
        rates[sequence] = np.concatenate(tracked).mean()
    assert rates == {
        1: pytest.approx(0.882, abs=5e-4),
        27: pytest.approx(0.175, abs=5e-4),
        28: pytest.approx(0.993, abs=5e-4),
    }
