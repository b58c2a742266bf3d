"""The folders of the Collective Activity sets: what is found in them, and the check."""

import json
import shutil

import numpy as np
import pytest

from data.check import check_raw
from data.collective_activity import constants
from data.collective_activity import raw as subject
from data.collective_activity.collective_activity_dataset_builder import Builder
from data.collective_activity_extended import constants as extended_constants
from data.collective_activity_extended import raw as extended
from stvh_jax.errors import UserError
from tests.helpers.collective_files import (
    SPLITS,
    TALKING,
    WAITING,
    people,
    small_set,
    write_sequences,
    write_tracks,
)
from tests.helpers.prepared_sets import prepare
from tests.helpers.volleyball_files import SIZE, write_frame


@pytest.fixture
def whole(tmp_path):
    return small_set(tmp_path / "raw")


# --- the folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "ActivityDataset"])
def test_the_folder_or_its_sequences_may_be_given(whole, place):
    raw = subject.open_raw(whole / place)
    assert raw.folder == whole
    assert raw.splits == {"train": ("1", "2"), "validation": ("3",), "test": ("4",)}
    assert (raw.count, raw.official) == (6, False)
    assert raw.frame_size("1") == SIZE
    assert raw.num_frames("1") == 20


def test_sequences_may_lie_in_the_given_folder_itself(whole):
    for path in (whole / "ActivityDataset").iterdir():
        path.rename(whole / path.name)
    (whole / "ActivityDataset").rmdir()
    raw = subject.open_raw(whole)
    assert raw.annotation_path("2") == whole / "seq02/annotations.txt"
    assert [clip.clip for clip in raw.scan("2").clips] == ["1", "11"]


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
    with pytest.raises(UserError, match=r"splits.json is not .*key_frames"):
        subject.open_raw(whole)


def test_splits_may_lie_with_the_sequences(whole):
    (whole / "splits.json").rename(whole / "ActivityDataset/splits.json")
    assert not subject.open_raw(whole).official


def test_a_split_cannot_be_chosen_beside_one_of_its_own(whole):
    with pytest.raises(UserError, match=r"splits.json has other splits; remove it or leave"):
        subject.open_raw(whole, split="sfu")


def test_a_sequence_in_two_places_is_refused(whole):
    # A folder without annotations is none.
    (whole / "ActivityDataset2/seq01").mkdir(parents=True)
    raw = subject.open_raw(whole)
    assert raw.annotation_path("1") == whole / "ActivityDataset/seq01/annotations.txt"
    shutil.copytree(whole / "ActivityDataset/seq02", whole / "ActivityDataset2/seq02")
    with pytest.raises(UserError, match="seq02 are the same sequence; remove one of them"):
        raw.scan("2")


def test_images_may_show_that_an_official_sequence_is_longer(tmp_path):
    root = write_sequences(tmp_path, {48: {41: people(TALKING)}}, frames=0, second=(48,))
    assert extended.open_raw(root).scan("48").clips == []  # 47 frames
    write_frame(root / "ActivityDataset2/seq48/frame0050.jpg", (0, 0, 0), (9, 9, 9))
    assert len(extended.open_raw(root).scan("48").clips) == 1


def test_tracks_are_those_of_this_folder(whole):
    write_tracks(whole.parent, 1, [dict.fromkeys(range(1, 21), (2, 6, 6, 12))])
    raw = subject.open_raw(whole)
    assert not raw.has_tracks()
    (whole.parent / "ActivityTracks").rename(whole / "tracks")
    raw = subject.open_raw(whole)
    assert raw.boxes("1", raw.scan("1").clips[0])[2].any()


def test_official_sequences_are_known_without_images(tmp_path):
    root = write_sequences(tmp_path, {15: {451: people(TALKING), 461: people(TALKING)}}, frames=0)
    raw = subject.open_raw(root)
    assert (raw.frame_size("15"), raw.frame_size("44")) == ((450, 800), (480, 720))
    # The sequence has 464 frames: 451..460 fit, 461..470 do not.
    assert [clip.clip for clip in raw.scan("15").clips] == ["451"]
    assert raw.scan("15").key_frames == 2
    raw = extended.open_raw(root)
    assert [raw.frame_size(str(n)) for n in (44, 45, 59, 60, 74)] == [
        (480, 720),
        (480, 640),
        (480, 640),
        (720, 1280),
        (720, 1280),
    ]


def test_other_sequences_need_images(tmp_path):
    root = write_sequences(tmp_path, {1: {1: people(TALKING)}}, splits=SPLITS, frames=0)
    with pytest.raises(UserError, match="to tell how long the sequence is"):
        subject.open_raw(root).scan("1")


@pytest.mark.parametrize(
    ("window", "clips", "frames"),
    [("forward", ["1", "11"], range(11, 21)), ("centred", ["11"], range(6, 16))],
)
def test_windows(whole, window, clips, frames):
    raw = subject.open_raw(whole, window=window)
    assert [clip.clip for clip in raw.scan("1").clips] == clips
    assert raw.clip_frames(11) == frames
    names = [path.name for path in raw.frame_paths("1", raw.scan("1").clips[-1])]
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
    clip = raw.scan("1").clips[1]
    boxes, key_boxes, tracked = raw.boxes("1", clip)
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
    boxes, _, _ = raw.boxes("1", raw.scan("1").clips[0])
    expected = [[0, 0, 7 / height, 16 / width], [1 - 5 / height, 1 - 5 / width, 1, 1]]
    np.testing.assert_allclose(boxes, [expected] * 10, rtol=1e-5, atol=1e-7)


def test_a_crowd_is_a_problem(tmp_path):
    root = write_sequences(tmp_path, {1: {1: people(*[WAITING] * 14)}}, splits=SPLITS)
    clips, problems, key_frames = subject.open_raw(root).scan("1")
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
    annotations = sequence / "annotations.txt"
    annotations.write_text("bad\n" + annotations.read_text())
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
    (whole / "ActivityDataset/seq03/annotations.txt").write_text("")
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
