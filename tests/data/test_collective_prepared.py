"""Collective Activity and its Extended set, prepared."""

import shutil

import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.collective_activity import constants
from data.collective_activity.collective_activity_dataset_builder import Builder
from data.collective_activity_extended import constants as extended_constants
from data.collective_activity_extended import raw as extended
from data.collective_activity_extended.collective_activity_extended_dataset_builder import (
    Builder as ExtendedBuilder,
)
from data.prepared.pipeline import open_dataset
from stvh_jax.errors import UserError
from tests.helpers.collective_files import (
    DANCING,
    JOGGING,
    SPLITS,
    TALKING,
    WALKING,
    frame_colours,
    people,
    small_set,
    write_sequences,
    write_tracks,
)
from tests.helpers.prepared_sets import examples_of, prepare
from tests.helpers.volleyball_files import SIZE, write_frame

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(tmp_path):
    return small_set(tmp_path / "raw")


class CollectiveActivityTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on the dummy data."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "validation": 1, "test": 1}


class CollectiveActivityExtendedTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on the dummy data."""

    DATASET_CLASS = ExtendedBuilder
    SPLITS = {"train": 2, "validation": 1, "test": 1}


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
    assert set(examples) == {("1", "1"), ("1", "11"), ("2", "1"), ("2", "11")}
    example = examples["1", "1"]
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
    assert (clips.match[0], clips.clip[0], clips.frame[0]) == ("4", "11", 11)
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
    image = dataset.key_frame_images("test", {("4", "11")})["4", "11"]
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
    row = int(np.flatnonzero((first.match == "1") & (first.clip == "1"))[0])
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
        ("1", "1"): "crossing",
        ("1", "11"): "queueing",
        ("2", "1"): "talking",
        ("2", "11"): "talking",
        ("3", "1"): "waiting",
        ("4", "11"): "walking",
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
        assert len(extended.open_raw(place).scan("2").clips) == 1
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
    with pytest.raises(UserError, match=r"frame0013.jpg is not a whole JPEG"):
        prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    write_frame(path, (0, 0, 0), (9, 9, 9), size=(31, 48))
    with pytest.raises(UserError, match=r"frame0013.jpg: 48x31 pixels among frames of 47x31"):
        prepare(Builder(config="frames", data_dir=tmp_path / "out"), whole)
    shutil.rmtree(whole / "ActivityDataset/seq02")
    with pytest.raises(UserError, match="1 of the 2 train sequences have no annotations.txt"):
        prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), whole)
