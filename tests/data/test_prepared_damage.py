"""Prepared sets that are damaged, out of date or half written: one line, nothing left behind."""

import json
import shutil

import ml_collections
import pytest
import tensorflow as tf

from data.__main__ import main
from data.prepared import pipeline
from stvh_jax import files
from stvh_jax.errors import Damaged
from tests.helpers.volleyball_files import SIZE, write_raw

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting")]
CLIPS = {1: [(10, "r-pass", PEOPLE), (20, "l_set", PEOPLE)], 4: [(10, "l-spike", PEOPLE)]}
SPLITS = {"train": [1], "validation": [], "test": [4]}
SHARD = "volleyball-train.tfrecord-00000-of-00001"


def command(folder):
    return ["prepare", "volleyball", "--raw", str(folder / "raw"), "--out", str(folder / "sets")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_raw(folder / "raw", CLIPS, splits=SPLITS)
    assert main(command(folder)) == 0
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """A raw folder and the set that was prepared from it."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def set_of(folder):
    return folder / "sets/volleyball/frames/3.0.0"


def opened(folder):
    config = {"name": "volleyball", "variant": "frames", "dir": str(folder / "sets")}
    config |= {"image_size": SIZE, "num_frames": 10, "num_actors": 12, "still_boxes": False}
    return pipeline.open_dataset(ml_collections.ConfigDict(config))


def read_all(folder):
    dataset = opened(folder)
    for split in dataset.splits:
        dataset.untracked_share(split)
        list(dataset.evaluation_batches(split, batch_size=2))
    return dataset


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "cut": lambda place: (place / SHARD).write_bytes((place / SHARD).read_bytes()[:-1]),
    "flipped": lambda place: flip(place / SHARD, 500),
    "missing": lambda place: (place / SHARD).unlink(),
    "no features": lambda place: (place / "features.json").unlink(),
    "null features": lambda place: (place / "features.json").write_text("null"),
    "deep metadata": lambda place: (place / "metadata.json").write_text("[" * 100_000),
    "no metadata": lambda place: (place / "metadata.json").unlink(),
    "noise": lambda place: (place / "dataset_info.json").write_bytes(b"\xff\x00" * 50),
    "few names": lambda place: (place / "activity.labels.txt").write_text("r_set\n"),
    "no names": lambda place: (place / "activity.labels.txt").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("with_digests", [True, False])
def test_damage_is_one_line(copy, damage, with_digests):
    place = set_of(copy)
    if not with_digests:
        (place / "digests.json").unlink()
    DAMAGE[damage](place)
    with pytest.raises(Damaged) as caught:
        read_all(copy)
    message = str(caught.value)
    assert message.startswith(str(place)) and "\n" not in message and "delete it" in message


@pytest.mark.parametrize(
    "change", [lambda text: "null", lambda text: "[" * 100_000, lambda text: text.replace("a", "b")]
)
def test_damaged_digests_are_one_line(copy, change):
    path = set_of(copy) / "digests.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(Damaged, match=r"digests.json is not a list of digests"):
        opened(copy)


def test_a_frame_that_is_no_jpeg_is_one_line_in_the_middle_of_reading(copy):
    path = set_of(copy) / SHARD
    (set_of(copy) / "digests.json").unlink()
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    with pytest.raises(Damaged, match=r"3\.0\.0 is not a whole prepared set"):
        read_all(copy)


def test_a_set_does_not_name_modules_to_import(copy):
    path = set_of(copy) / "features.json"
    (set_of(copy) / "digests.json").unlink()
    path.write_text(path.read_text().replace("tensorflow_datasets.core.features.text_f", "evil.f"))
    with pytest.raises(Damaged, match="asks for evil"):
        opened(copy)


def test_the_digest_identifies_the_content(copy, tmp_path):
    """The same raw files give the same digest; other labels another; older sets have none."""
    digest = read_all(copy).content_digest
    shutil.rmtree(copy / "sets")
    assert main(command(copy)) == 0
    assert opened(copy).content_digest == digest
    shutil.rmtree(copy / "sets")
    annotations = copy / "raw/videos/1/annotations.txt"
    annotations.write_text(annotations.read_text().replace("l_set", "r_set"))
    assert main(command(copy)) == 0
    assert opened(copy).content_digest not in (digest, None)
    (set_of(copy) / "digests.json").unlink()
    assert opened(copy).content_digest is None


def change_label(raw):
    path = raw / "videos/1/annotations.txt"
    path.write_text(path.read_text().replace("l_set", "r_set"))


def add_tracks(raw):
    path = raw / "volleyball_tracking_annotation/1/10/10.txt"
    path.parent.mkdir(parents=True)
    path.write_text("0 5 6 12 17 10 0 0 0 standing\n")


def change_splits(raw):
    splits = {"train": [4], "validation": [], "test": [1], "clips": 3}
    (raw / "splits.json").write_text(json.dumps(splits))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (change_label, "1/annotations.txt has changed"),
        (add_tracks, "volleyball_tracking_annotation/1/10/10.txt is new"),
        (change_splits, "the list of matches of train has changed"),
        (
            lambda raw: shutil.copy(raw / "videos/1/10/6.jpg", raw / "videos/1/10/7.jpg"),
            "1/10/7.jpg",
        ),
        (lambda raw: (raw / "videos/1/10/7.jpg").unlink(), "1/10/5.jpg is gone"),
    ],
)
def test_other_raw_files_than_those_of_the_set_are_noticed(copy, change, cause, capsys):
    change(copy / "raw")
    assert main(command(copy)) == 2
    err = capsys.readouterr().err
    assert "was prepared from other files" in err and cause in err and err.count("\n") == 1


def test_frames_of_another_time_are_the_same(copy, capsys):
    (copy / "raw/videos/1/10/7.jpg").touch()
    assert main(command(copy)) == 0
    assert "is already prepared" in capsys.readouterr().out


def test_an_interrupted_preparation_leaves_nothing_and_a_killed_one_is_cleared(copy, monkeypatch):
    shutil.rmtree(copy / "sets")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("data.prepared.seal.write", interrupt)
        assert main(command(copy)) == 130
    folder = set_of(copy).parent
    assert [path.name for path in folder.iterdir()] == ["lock"]
    for left in ("incomplete/volleyball", "incomplete.ABC123_3.0.0"):
        (folder / left).mkdir(parents=True)
    assert main(command(copy)) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["3.0.0", "lock"]


def test_a_second_preparation_of_a_set_is_refused(copy, capsys):
    shutil.rmtree(set_of(copy))
    with files.lock(set_of(copy).parent / "lock"):
        assert main(command(copy)) == 2
    assert "another process prepares" in capsys.readouterr().err
    assert not set_of(copy).exists()


def test_a_part_of_a_set_is_not_taken_for_one(copy, capsys):
    (set_of(copy) / "dataset_info.json").unlink()
    assert main(command(copy)) == 2
    err = capsys.readouterr().err
    assert "dataset_info.json" in err and "delete" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), tf.errors.ResourceExhaustedError(None, None, "full")],
)
def test_a_full_disk_is_one_line_and_nothing_stays(copy, capsys, monkeypatch, error):
    shutil.rmtree(copy / "sets")

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("tensorflow_datasets.core.DatasetInfo.write_to_directory", fail)
    assert main(command(copy)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: cannot write {set_of(copy)} (") and err.count("\n") == 1
    assert [path.name for path in set_of(copy).parent.iterdir()] == ["lock"]
