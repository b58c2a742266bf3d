import itertools
import subprocess
import sys

import jax
import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.prepared import pipeline as subject
from data.volleyball.constants import ACTIVITIES
from data.volleyball.volleyball_dataset_builder import Builder
from stvh_jax.dataset import Dataset
from stvh_jax.errors import NotFound, UserError
from stvh_jax.unknown import UNKNOWN
from tests.helpers.volleyball_files import REAL, SIZE, frame_colours, write_raw

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting"), (17, 3, 5, 13, "jumping")]
# 33 training clips in two videos, 5 to validate, none to test.
CLIPS = {
    video: [
        (key, ACTIVITIES[(video + key) % 8].replace("_", "-", 1), PEOPLE[: 1 + key % 3])
        for key in range(10, 10 + 13 * count, 13)
    ]
    for video, count in {1: 17, 2: 16, 3: 5}.items()
}
SPLITS = {"train": [1, 2], "validation": [3], "test": []}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    raw = write_raw(folder / "raw", CLIPS, splits=SPLITS)
    for config in ("frames", "boxes_only"):
        Builder(config=config, data_dir=folder / "datasets").download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=raw)
        )
    return folder / "datasets"


def open_dataset(prepared, **options):
    config = {
        "name": "volleyball",
        "variant": "boxes_only",
        "dir": str(prepared),
        "image_size": SIZE,
        "num_frames": 10,
        "num_actors": 12,
        "still_boxes": False,
    }
    return subject.open_dataset(ml_collections.ConfigDict(config | options))


def take(batches, count):
    return list(itertools.islice(batches, count))


def equal(first, second):
    leaves = [jax.tree.leaves(clips) for clips in (first, second)]
    return all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def names(clips, rows=slice(None)):
    return list(zip(clips.match[rows].tolist(), clips.clip[rows].tolist()))


def test_it_is_what_the_library_asks_of_a_data_set(prepared):
    assert isinstance(open_dataset(prepared), Dataset)


VARIANTS = pytest.mark.parametrize("variant", ["boxes_only", "frames"])


# --- what a batch holds ------------------------------------------------------------------------


@VARIANTS
def test_evaluation_yields_every_clip_once(prepared, variant):
    dataset = open_dataset(prepared, variant=variant)
    batches = list(dataset.evaluation_batches("train", batch_size=8))
    assert [int(clips.clip_mask.sum()) for clips in batches] == [8, 8, 8, 8, 1]
    assert all(clips.boxes.shape == (8, 10, 12, 4) for clips in batches)
    found = [name for clips in batches for name in names(clips, clips.clip_mask)]
    assert sorted(found) == sorted((str(v), str(clip[0])) for v in (1, 2) for clip in CLIPS[v])
    filler = ~batches[-1].clip_mask
    assert not batches[-1].actor_mask[filler].any()
    assert (batches[-1].activity[filler] == -1).all()
    assert (batches[-1].frame[filler] == -1).all()
    assert set(names(batches[-1], filler)) == {("", "")}
    assert (batches[-1].action[filler] == -1).all()


@VARIANTS
def test_clips_hold_what_was_annotated(prepared, variant):
    dataset = open_dataset(prepared, variant=variant, num_actors=13)
    seen = 0
    for clips in dataset.evaluation_batches("train+validation", batch_size=7):
        for row in np.flatnonzero(clips.clip_mask):
            video, key = int(clips.match[row]), int(clips.clip[row])
            assert clips.frame[row] == key
            _, activity, people = next(clip for clip in CLIPS[video] if clip[0] == key)
            actors = len(people)
            assert dataset.activity_names[clips.activity[row]] == activity.replace("-", "_")
            actions = [dataset.action_names[action] for action in clips.action[row, :actors]]
            assert actions == [person[-1] for person in people]
            np.testing.assert_array_equal(clips.actor_mask[row], np.arange(13) < actors)
            np.testing.assert_array_equal(clips.boxes[row, :, actors:], 0)
            np.testing.assert_array_equal(clips.action[row, actors:], -1)
            x, y, width, height, _ = people[0]
            corners = np.array([y, x, y + height, x + width]) / [*SIZE, *SIZE]
            np.testing.assert_allclose(clips.boxes[row, :, 0], [corners] * 10, rtol=1e-6)
            seen += 1
    assert seen == 38


@pytest.mark.parametrize(
    ("num_frames", "offsets"), [(10, range(-5, 5)), (1, [0]), (3, [-1, 0, 1]), (4, range(-2, 2))]
)
def test_frames_are_those_around_the_key_frame(prepared, num_frames, offsets):
    dataset = open_dataset(prepared, variant="frames", num_frames=num_frames)
    (clips,) = dataset.evaluation_batches("validation", batch_size=5)
    assert clips.frames.dtype == np.uint8
    assert clips.frames.shape == (5, num_frames, *SIZE, 3)
    assert clips.boxes.shape == (5, num_frames, 12, 4)
    for row, (video, key) in enumerate(zip(clips.match, clips.frame)):
        for place, offset in enumerate(offsets):
            left, right = frame_colours(int(video), key, key + offset)
            # JPEG keeps a flat colour to within a few levels.
            assert np.abs(clips.frames[row, place, 15, 5].astype(int) - left).max() <= 3
            assert np.abs(clips.frames[row, place, 15, 40].astype(int) - right).max() <= 3


def test_frames_are_resized(prepared):
    dataset = open_dataset(prepared, variant="frames", image_size=(11, 23))
    (clips,) = dataset.evaluation_batches("validation", batch_size=5)
    assert clips.frames.shape == (5, 10, 11, 23, 3)
    for row, (video, key) in enumerate(zip(clips.match, clips.frame)):
        left, right = frame_colours(int(video), key, key)
        assert np.abs(clips.frames[row, 5, 5, 3].astype(int) - left).max() <= 3
        assert np.abs(clips.frames[row, 5, 5, 19].astype(int) - right).max() <= 3


def test_key_frames_come_in_their_stored_size(prepared):
    dataset = open_dataset(prepared, variant="frames", image_size=(11, 23), num_frames=1)
    images = dataset.key_frame_images("train+validation", {("2", "23"), ("3", "36")})
    assert set(images) == {("2", "23"), ("3", "36")}
    for (video, key), image in images.items():
        assert image.shape == (*SIZE, 3)
        left, _ = frame_colours(int(video), int(key), int(key))
        assert np.abs(image[15, 5].astype(int) - left).max() <= 3
    with pytest.raises(NotFound, match=r"no clip \(match, clip\) = \('2', '9'\)"):
        dataset.key_frame_images("train", {("2", "23"), ("10", "9"), ("2", "100"), ("2", "9")})
    with pytest.raises(NotFound, match="boxes only"):
        open_dataset(prepared).key_frame_images("train", {("2", "23")})


# --- the order of training ---------------------------------------------------------------------


def test_every_epoch_has_each_clip_once_in_its_own_order(prepared):
    dataset = open_dataset(prepared)
    batches = dataset.training_batches("train", batch_size=11, seed=0)
    epochs = [[name for clips in take(batches, 3) for name in names(clips)] for _ in range(3)]
    everything = sorted((str(v), str(clip[0])) for v in (1, 2) for clip in CLIPS[v])
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = dataset.training_batches("train", batch_size=11, seed=1)
    assert [name for clips in take(other, 3) for name in names(clips)] not in epochs


@VARIANTS
def test_same_seed_gives_the_same_bits(prepared, variant):
    options = {"batch_size": 7, "seed": 3, "flip": True}
    first, second = (
        take(open_dataset(prepared, variant=variant).training_batches("train", **options), 7)
        for _ in range(2)
    )
    assert all(equal(*pair) for pair in zip(first, second))


@VARIANTS
@pytest.mark.parametrize("start", [1, 4, 5, 11])
def test_resumed_run_continues_the_uninterrupted_one(prepared, variant, start):
    """Batches of 7 of 33 clips straddle the epochs, of which the run sees three."""
    dataset = open_dataset(prepared, variant=variant)
    options = {"batch_size": 7, "seed": 3, "flip": True}
    whole = take(dataset.training_batches("train", **options), 13)
    resumed = dataset.training_batches("train", **options, start_step=start)
    assert all(equal(*pair) for pair in zip(whole[start:], take(resumed, 13 - start)))


@VARIANTS
def test_processes_share_the_batches_of_one(prepared, variant):
    dataset = open_dataset(prepared, variant=variant)
    for make, options in (
        (dataset.training_batches, {"seed": 0, "flip": True}),
        (dataset.evaluation_batches, {}),
    ):
        whole = take(make("train", batch_size=12, **options), 3)
        shares = [
            take(make("train", batch_size=12, process_index=i, process_count=3, **options), 3)
            for i in range(3)
        ]
        for step, clips in enumerate(whole):
            parts = [share[step] for share in shares]
            joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
            assert equal(joined, clips)


def test_every_process_evaluates_as_many_batches(prepared):
    dataset = open_dataset(prepared)
    counts = [
        len(
            list(
                dataset.evaluation_batches("train", batch_size=16, process_index=i, process_count=8)
            )
        )
        for i in range(8)
    ]
    assert counts == [3] * 8


def test_batch_must_divide_among_processes(prepared):
    dataset = open_dataset(prepared)
    options = {"batch_size": 8, "process_index": 0, "process_count": 3}
    with pytest.raises(UserError, match="a batch of 8 does not divide among 3 processes"):
        dataset.training_batches("train", seed=0, **options)
    with pytest.raises(UserError, match="a batch of 8 does not divide among 3 processes"):
        dataset.evaluation_batches("train", **options)


def test_batch_may_be_larger_than_the_split(prepared):
    dataset = open_dataset(prepared)
    (clips,) = take(dataset.training_batches("validation", batch_size=12, seed=0), 1)
    found = names(clips)
    assert len(set(found[:5])) == len(set(found[5:10])) == 5


# --- the mirror --------------------------------------------------------------------------------


def flipped_and_plain(dataset, steps=6):
    options = {"batch_size": 11, "seed": 5}
    mirrored = take(dataset.training_batches("train", **options, flip=True), steps)
    plain = take(dataset.training_batches("train", **options), steps)
    return [jax.tree.map(lambda *leaves: np.concatenate(leaves), *b) for b in (mirrored, plain)]


def test_mirrored_clips_are_the_mirror_image(prepared):
    mirrored, plain = flipped_and_plain(open_dataset(prepared, variant="frames"))
    flips = mirrored.activity != plain.activity
    assert 0.25 < flips.mean() < 0.75
    swap = dict(zip(ACTIVITIES, ACTIVITIES[4:] + ACTIVITIES[:4]))
    swapped = [ACTIVITIES.index(swap[ACTIVITIES[activity]]) for activity in plain.activity[flips]]
    np.testing.assert_array_equal(mirrored.activity[flips], swapped)
    np.testing.assert_array_equal(mirrored.action, plain.action)
    np.testing.assert_array_equal(mirrored.actor_mask, plain.actor_mask)
    assert names(mirrored) == names(plain)
    np.testing.assert_array_equal(mirrored.frames[flips], plain.frames[flips][:, :, :, ::-1])
    for image, box, there in zip(
        mirrored.boxes[flips, 0], plain.boxes[flips, 0], plain.actor_mask[flips]
    ):
        for actor in range(12):
            y_min, x_min, y_max, x_max = box[actor]
            expected = [y_min, 1 - x_max, y_max, 1 - x_min] if there[actor] else [0, 0, 0, 0]
            np.testing.assert_allclose(image[actor], expected, atol=1e-7)
    keep = jax.tree.map(lambda leaf: leaf[~flips], mirrored)
    assert equal(keep, jax.tree.map(lambda leaf: leaf[~flips], plain))


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "flag"),
    [
        ("frames", "--out nowhere"),
        ("boxes_only", "--out nowhere --boxes-only"),
        ("boxes_and_appearance", "--out nowhere --boxes-only --features FILE.npz"),
    ],
)
def test_unprepared_set_names_the_command(variant, flag):
    with pytest.raises(NotFound, match="python -m data prepare volleyball --raw") as caught:
        open_dataset("nowhere", variant=variant)
    assert str(caught.value).endswith(flag)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            {"variant": "pixels"},
            "of volleyball is not one of: frames, boxes_only, boxes_and_appearance, followed by "
            "any of -corrected",
        ),
        ({"variant": "frames-five"}, "'frames-five' of volleyball is not one of"),
        (
            {"name": "football"},
            "data set 'football' is not one of: volleyball, collective_activity",
        ),
        (
            {"name": "collective_activity", "variant": "frames-centred-five"},
            "one of: frames, boxes_only, boxes_and_appearance, followed by any of -five, -sfu, "
            "-centred in this order",
        ),
        (
            {"name": "collective_activity", "variant": "boxes_only-five-sfu"},
            "--boxes-only --classes five --split sfu$",
        ),
        ({"num_actors": 11}, "num_actors is 11, but clips have up to 12"),
        ({"num_frames": 11}, "num_frames is 11, but clips have 10"),
        ({"num_frames": 0}, "num_frames is 0, but clips have 10"),
    ],
)
def test_options_that_the_set_cannot_meet(prepared, options, cause):
    with pytest.raises(UserError, match=cause):
        open_dataset(prepared, **options)


@pytest.mark.parametrize("split", ["test", "train+test", "trian"])
def test_split_without_a_clip_names_those_there_are(prepared, split):
    dataset = open_dataset(prepared)
    for use in (
        dataset.num_clips,
        dataset.untracked_share,
        lambda split: dataset.training_batches(split, batch_size=2, seed=0),
        lambda split: dataset.evaluation_batches(split, batch_size=2),
    ):
        with pytest.raises(NotFound, match="has no clips; choose from train, validation"):
            use(split)


def test_sizes_and_shares_add_up_over_joined_splits(prepared):
    dataset = open_dataset(prepared)
    assert dataset.num_clips("train") == 33
    assert dataset.num_clips("train+validation") == 38
    assert dataset.untracked_share("train+validation") == 1.0


# --- the end -----------------------------------------------------------------------------------

PROGRAM = """
import sys
import ml_collections
from data.prepared.pipeline import open_dataset

config = {"name": "volleyball", "variant": "frames", "dir": sys.argv[1], "image_size": (31, 47)}
config |= {"num_frames": 1, "num_actors": 12, "still_boxes": False}
dataset = open_dataset(ml_collections.ConfigDict(config))
batches = dataset.training_batches("train", batch_size=4, seed=0)
for _ in range(50):
    next(batches)
"""


def test_of_each_activity_only_so_many_clips_are_trained_on(prepared):
    def epoch(few, seed=0, start=0):
        dataset = open_dataset(prepared, labels_per_activity=few)
        batches = dataset.training_batches("train", batch_size=3, seed=seed, start_step=start)
        return take(batches, 11 - start)  # 33 clips

    def names(batches):
        return [pair for clips in batches for pair in zip(clips.match, clips.clip)]

    activity = dict(zip(names(epoch(0)), np.concatenate([c.activity for c in epoch(0)])))
    some = names(epoch(2))
    assert len(some) == len(activity) == 33
    _, counts = np.unique([activity[name] for name in set(some)], return_counts=True)
    expected = np.minimum(np.unique(list(activity.values()), return_counts=True)[1], 2)
    np.testing.assert_array_equal(counts, expected)
    times = [some.count(name) for name in set(some)]
    assert max(times) - min(times) <= 1
    assert names(epoch(2)) == some and names(epoch(2, start=4)) == some[12:]
    assert set(names(epoch(2, seed=1))) != set(some)
    assert open_dataset(prepared, labels_per_activity=2).num_clips("train") == 33


def test_without_a_label_there_is_none_to_draw(prepared):
    dataset = open_dataset(prepared, labels_per_activity=2)
    dataset._load("train").arrays["activity"][:] = UNKNOWN
    with pytest.raises(UserError, match="^no clip of train has a label, so config.data.labels_per"):
        dataset.training_batches("train", batch_size=3, seed=0)


@pytest.mark.slow
def test_a_program_may_end_in_the_middle_of_training(prepared):
    """Threads that still decode must not keep the interpreter from ending."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, prepared], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")


# --- the real set ------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason="real data not present")
def test_real_boxes_are_those_of_the_annotations(tmp_path):
    Builder(config="boxes_only", data_dir=tmp_path).download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=REAL)
    )
    dataset = open_dataset(tmp_path)
    assert dataset.num_clips("train+validation") == 3493
    assert dataset.num_clips("test") == 1337
    assert dataset.untracked_share("train") == pytest.approx((25201 - 1113) / 25201)
    batches = dataset.training_batches("train+validation", batch_size=64, seed=0, flip=True)
    assert len(take(batches, 100)) == 100
    moved = 0
    for clips in dataset.evaluation_batches("train", batch_size=64):
        there = clips.actor_mask[:, None, :, None]
        assert np.where(there, clips.boxes, 0.5).min() >= 0
        assert np.where(there, clips.boxes, 0.5).max() <= 1
        moved += np.ptp(clips.boxes, axis=1).any(axis=-1)[clips.match == "13"].sum()
        assert not np.ptp(clips.boxes, axis=1)[clips.match != "13"].any()
    assert 1000 < moved <= 1113
