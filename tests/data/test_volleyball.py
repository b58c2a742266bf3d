import json
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.check import check_raw
from data.volleyball import raw as subject
from data.volleyball.constants import ACTIONS, ACTIVITIES
from data.volleyball.volleyball_dataset_builder import Builder
from stvh_jax.errors import UserError
from tests.helpers import prepared_sets
from tests.helpers.prepared_sets import examples_of
from tests.helpers.volleyball_files import REAL, SIZE, write_frame, write_raw

needs_real = pytest.mark.skipif(not REAL.exists(), reason="real data not present")

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting"), (17, 3, 5, 13, "jumping")]
SPLITS = {"train": [1, 2], "validation": [3], "test": [5]}


def clips_of(*keys):
    return [
        (key, activity, PEOPLE[: 2 + key % 2])
        for key, activity in zip(keys, ("r-pass", "l_set", "l-spike", "r_winpoint"))
    ]


def prepare(root, out, config, **options):
    return prepared_sets.prepare(Builder(config=config, data_dir=out, **options), root)


@pytest.fixture
def whole(tmp_path):
    """A complete small set in the official layout."""
    videos = {1: clips_of(10, 25), 2: clips_of(13), 3: clips_of(10), 5: clips_of(41, 60)}
    return write_raw(tmp_path / "raw", videos, splits=SPLITS)


@pytest.mark.slow
class VolleyballTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on the dummy data."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 1, "validation": 1, "test": 1}


# --- the folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "videos"])
def test_the_folder_or_its_videos_may_be_given(whole, place):
    raw = subject.open_raw(whole / place)
    assert raw.folder == whole / "videos"
    assert raw.splits == {"train": ("1", "2"), "validation": ("3",), "test": ("5",)}
    assert (raw.count, raw.official) == (6, False)


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(UserError, match="annotations.txt; give the folder that holds videos"):
        subject.open_raw(tmp_path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "Expecting property name"),
        ("[1]", "not a JSON object"),
        (json.dumps(SPLITS), "'clips'"),
        (json.dumps({"train": [1], "test": [2], "clips": 3}), "'validation'"),
        (json.dumps(SPLITS | {"clips": 6, "test": [1]}), "listed twice"),
    ],
)
def test_malformed_splits_are_refused(whole, content, cause):
    (whole / "splits.json").write_text(content)
    with pytest.raises(UserError, match="splits.json") as caught:
        subject.open_raw(whole)
    assert cause in str(caught.value)


def test_frame_size_comes_from_an_image(whole):
    raw = subject.open_raw(whole)
    assert raw.frame_size("1") == SIZE


def test_frame_size_of_official_videos_is_known_without_images(tmp_path):
    raw = subject.open_raw(write_raw(tmp_path, {4: clips_of(10), 37: clips_of(10)}, frames=False))
    assert raw.official
    assert raw.frame_size("4") == (720, 1280)
    assert raw.frame_size("37") == (1080, 1920)


def test_frame_size_of_other_videos_needs_an_image(tmp_path):
    raw = subject.open_raw(write_raw(tmp_path, {1: clips_of(10)}, splits=SPLITS, frames=False))
    with pytest.raises(UserError, match="no image to read the frame size from"):
        raw.frame_size("1")


def test_boxes_are_shares_of_the_frame_cut_off_at_its_border(tmp_path):
    people = [(-6, 20, 26, 20, "moving"), (10, 4, 7, 7, "waiting")]
    raw = subject.open_raw(write_raw(tmp_path, {1: [(10, "r_set", people)]}, splits=SPLITS))
    boxes, _, tracked = raw.boxes("1", raw.scan("1").clips[0])
    height, width = SIZE
    key = [[20 / height, 0, 1, 20 / width], [4 / height, 10 / width, 11 / height, 17 / width]]
    np.testing.assert_allclose(boxes, np.array([key] * 10), rtol=1e-6)
    assert boxes.dtype == np.float32
    assert not tracked.any()


def write_text_tracks(folder, video, key):
    """Writes tracks of the first two people, in the other order, each a pixel a frame right."""
    path = folder / f"volleyball_tracking_annotation/{video}/{key}/{key}.txt"
    path.parent.mkdir(parents=True)
    rows = []
    for player, (x, y, width, height, action) in enumerate([PEOPLE[1], PEOPLE[0]]):
        for frame in range(key - 10, key + 10):
            left = x + frame - key
            box = f"{left} {y} {left + width} {y + height}"
            rows.append(f"{player} {box} {frame} 0 0 0 {action} \n")
    path.write_text("".join(rows))


@pytest.mark.parametrize("place", [".", ".."])
def test_text_tracks_are_found_in_the_folder_or_beside_it(whole, place):
    write_text_tracks(whole / place, 1, 25)
    raw = subject.open_raw(whole)
    still, moving = raw.scan("1").clips
    assert not raw.boxes("1", still)[2].any()
    boxes, _, tracked = raw.boxes("1", moving)
    np.testing.assert_array_equal(tracked, [True, True, False])
    shift = (boxes[:, :, 1] - boxes[5, :, 1]) * SIZE[1]
    expected = np.arange(-5, 5)[:, None] * [1, 1, 0]
    np.testing.assert_allclose(shift, expected, atol=1e-5)


def test_normalized_tracks_win_over_text_tracks(whole):
    write_text_tracks(whole, 1, 25)
    box = np.array([[6 / SIZE[0], 5 / SIZE[1], 17 / SIZE[0], 12 / SIZE[1]]])
    (whole / "tracks_normalized.pkl").write_bytes(pickle.dumps({(1, 25): {24: box, 25: box}}))
    raw = subject.open_raw(whole)
    boxes, _, tracked = raw.boxes("1", raw.scan("1").clips[1])
    np.testing.assert_array_equal(tracked, [True, False, False])
    np.testing.assert_allclose(boxes[:, 0], np.repeat(box, 10, axis=0), rtol=1e-6)


def test_more_people_than_places_is_a_problem(tmp_path):
    crowd = [(10, "r_set", PEOPLE[:1] * 13), (20, "r_set", PEOPLE[:1] * 12)]
    raw = subject.open_raw(write_raw(tmp_path, {1: crowd}, splits=SPLITS))
    clips, problems, _ = raw.scan("1")
    assert [clip.clip for clip in clips] == ["20"]
    assert "annotations.txt:1: 13 people, at most 12 fit" in str(problems[0])


# --- the prepared set --------------------------------------------------------------------------


def test_prepared_clips_are_the_annotated_ones(whole, tmp_path):
    write_text_tracks(whole, 1, 25)
    builder = prepare(whole, tmp_path / "out", "frames")
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == {
        "train": 3,
        "validation": 1,
        "test": 2,
    }
    example = examples_of(builder, "train")["1", "25"]
    raw = subject.open_raw(whole)
    boxes, key_boxes, _ = raw.boxes("1", raw.scan("1").clips[1])
    np.testing.assert_array_equal(example["boxes"][:, :3], boxes)
    np.testing.assert_array_equal(example["boxes"][:, 3:], 0)
    np.testing.assert_array_equal(example["key_boxes"][:3], key_boxes)
    np.testing.assert_array_equal(example["key_boxes"][3:], 0)
    np.testing.assert_array_equal(example["actor_mask"], [True] * 3 + [False] * 9)
    np.testing.assert_array_equal(example["tracked"], [True] * 2 + [False] * 10)
    names = [ACTIONS[action] for action in example["action"][:3]]
    assert names == ["digging", "waiting", "jumping"]
    np.testing.assert_array_equal(example["action"][3:], -1)
    assert ACTIVITIES[example["activity"]] == "l_set"
    np.testing.assert_array_equal(example["image_size"], SIZE)
    files = [(whole / f"videos/1/25/{frame}.jpg").read_bytes() for frame in range(20, 30)]
    assert list(example["frames"]) == files
    # Metadata and names are in the set itself, readable without the builder's code.
    reread = tfds.builder_from_directory(builder.data_path)
    assert reread.info.features["activity"].names == list(ACTIVITIES)
    assert reread.info.features["action"].feature.names == list(ACTIONS)
    assert reread.info.metadata["key_frame"] == 5
    assert reread.info.metadata["splits"]["train"] == {
        "clips": 3,
        "skipped": 0,
        "actors": 8,
        "untracked": 6,
    }


def test_splits_without_a_clip_are_left_out(tmp_path):
    raw = write_raw(tmp_path / "raw", {3: clips_of(10)}, splits=SPLITS | {"train": [], "test": []})
    builder = prepare(raw, tmp_path / "out", "boxes_only")
    assert list(builder.info.splits) == ["validation"]


def test_missing_frames_stop_the_preparation(whole, tmp_path):
    (whole / "videos/1/25/29.jpg").unlink()
    shutil.rmtree(whole / "videos/5/41")
    with pytest.raises(UserError, match=r"2 of 6 clips lack .*--allow-missing"):
        prepare(whole, tmp_path / "out", "frames")
    builder = prepare(whole, tmp_path / "out", "frames", allow_missing=True)
    assert set(examples_of(builder, "train")) == {("1", "10"), ("2", "13")}
    assert set(examples_of(builder, "test")) == {("5", "60")}
    assert {name: part["skipped"] for name, part in builder.info.metadata["splits"].items()} == {
        "train": 1,
        "validation": 0,
        "test": 1,
    }


def test_missing_annotations_stop_the_preparation(whole, tmp_path):
    (whole / "videos/2/annotations.txt").unlink()
    with pytest.raises(UserError, match="1 of the 2 train videos have no annotations.txt"):
        prepare(whole, tmp_path / "out", "boxes_only")
    builder = prepare(whole, tmp_path / "out", "boxes_only", allow_missing=True)
    assert set(examples_of(builder, "train")) == {("1", "10"), ("1", "25")}


@pytest.mark.parametrize("lost", [1, 2, 30, 300, None])
def test_truncated_frame_stops_the_preparation_by_name(whole, tmp_path, lost):
    path = whole / "videos/3/10/7.jpg"
    path.write_bytes(path.read_bytes()[:-lost] if lost else b"")
    with pytest.raises(UserError) as caught:
        prepare(whole, tmp_path / "out", "frames")
    assert str(caught.value).startswith(f"{path} is not a whole JPEG (")
    assert not list((tmp_path / "out").rglob("dataset_info.json"))


def test_frame_of_another_size_stops_the_preparation(whole, tmp_path):
    write_frame(whole / "videos/3/10/7.jpg", (0, 0, 0), (9, 9, 9), size=(31, 48))
    with pytest.raises(UserError, match=r"48x31"):
        prepare(whole, tmp_path / "out", "frames")


@needs_real
def test_real_frames_are_stored_byte_for_byte(tmp_path):
    builder = prepare(REAL, tmp_path, "frames", allow_missing=True)
    assert list(builder.info.splits) == ["train"]
    examples = examples_of(builder, "train")
    assert set(examples) == {
        ("13", "34085"),
        ("39", "29885"),
        ("39", "29905"),
        ("41", "19515"),
        ("41", "19560"),
    }
    for (match, clip), example in examples.items():
        assert example["frame"] == int(clip)
        frames = range(example["frame"] - 5, example["frame"] + 5)
        files = [REAL / f"videos/{match}/{clip}/{frame}.jpg" for frame in frames]
        assert list(example["frames"]) == [file.read_bytes() for file in files]
        size = (720, 1280) if match == "13" else (1080, 1920)
        np.testing.assert_array_equal(example["image_size"], size)
        assert example["tracked"].sum() == (12 if match == "13" else 0)
    # First person of 39/29885, from annotations.txt, by its own native size.
    first = (REAL / "videos/39/annotations.txt").read_text().split("29885.jpg")[1].split()
    x, y, width, height = map(int, first[1:5])
    expected = np.array([y / 1080, x / 1920, (y + height) / 1080, (x + width) / 1920])
    np.testing.assert_allclose(examples["39", "29885"]["boxes"][5, 0], expected, rtol=1e-6)


# --- the check ---------------------------------------------------------------------------------


def run_check(root, *, frames):
    lines = []
    complete = check_raw(subject.open_raw(root), frames=frames, report=lines.append)
    return complete, "\n".join(lines)


@needs_real
def test_real_boxes_are_complete():
    complete, text = run_check(REAL, frames=False)
    assert complete
    row = "all             2152        1341              3493      3493      1337      1337"
    assert row in text
    assert "all            56327     56327" in text
    assert "train: 1113 of 25201 people on tracks" in text
    assert "      13  train          96            -          99.6%         0" in text


def test_a_whole_set_is_complete(whole):
    complete, text = run_check(whole, frames=True)
    assert complete
    assert "complete: no problem found" in text
    assert "train: 0 of 8 people on tracks, 3 of 3 clips with all 10 frames" in text


def test_every_problem_is_listed(whole):
    videos = whole / "videos"
    (videos / "1/10/5.jpg").unlink()
    (videos / "3/10/7.jpg").write_bytes((videos / "3/10/7.jpg").read_bytes()[:-50])
    shutil.rmtree(videos / "2")
    with (videos / "5/annotations.txt").open("a") as file:
        file.write("70.jpg r_dig 1 2 3 4 moving\n80.jpg\n")
    complete, text = run_check(whole, frames=True)
    assert not complete
    for problem in (
        f"{videos}/1: 1 of 2 clips lack some of their 10 frames, first clip 10",
        f"{videos}/2/annotations.txt: no such file",
        f"{videos}/3/10/7.jpg is not a whole JPEG",
        f"{videos}/5/annotations.txt:3: unknown activity 'r_dig'",
        f"{videos}/5/annotations.txt:4: no activity",
        "5 annotated key frames, expected 6",
        "problems: 6",
    ):
        assert problem in text


def test_problems_beyond_the_first_few_are_counted(whole):
    with (whole / "videos/5/annotations.txt").open("a") as file:
        file.write("bad\n" * 50)
    complete, text = run_check(whole, frames=False)
    assert not complete
    assert text.count("annotations.txt:") == 20
    assert "... and 30 more" in text
