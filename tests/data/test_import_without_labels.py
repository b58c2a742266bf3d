"""From videos and tracks without a label to a set that a model learns from."""

import numpy as np
import pytest

from configs import own, own_label_free
from data.__main__ import main
from data.own import splits
from data.prepared.pipeline import open_dataset
from stvh_jax.errors import UserError
from stvh_jax.training.checks import check_config
from stvh_jax.unknown import NO_ACTIVITIES, UNKNOWN
from tests.helpers.filmed import film

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Makes four films of four seconds, with nobody in the third second of the first."""
    folder = tmp_path_factory.mktemp("footage")
    for seed, name in enumerate("abcd"):
        film(folder, name, seed=seed, nobody=range(50, 75) if name == "a" else ())
    return folder


def command(footage, tmp_path, *options, videos="*.mp4"):
    given = ["--video", str(footage / videos), "--tracks", str(footage / "{match}.txt")]
    return main(["import", *given, "--out", str(tmp_path / "sets"), *options])


def config_of(tmp_path, file=own_label_free, options=""):
    config = file.get_config(options)
    config.data.dir = str(tmp_path / "sets")
    return config


def clips_of(dataset, split):
    (batch,) = dataset.evaluation_batches(split, batch_size=dataset.num_clips(split))
    return batch


def test_whole_videos_are_held_out(footage, tmp_path, capsys):
    assert command(footage, tmp_path) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "train on it: python train.py --config=configs/own_label_free.py "
        f"--config.data.dir={tmp_path / 'sets'}"
    )
    config = config_of(tmp_path)
    dataset = open_dataset(config.data)
    assert dataset.activity_names == NO_ACTIVITIES and set(dataset.splits) == {
        "train",
        "validation",
    }
    seen = {split: clips_of(dataset, split) for split in dataset.splits}
    matches = [set(clips.match) for clips in seen.values()]
    assert sorted(map(len, matches)) == [1, 3] and set.union(*matches) == set("abcd")
    for clips in seen.values():
        assert (clips.activity == UNKNOWN).all() and (clips.action == UNKNOWN).all()
    begins = sorted(int(clip) for each in seen.values() for clip in each.clip[each.match == "b"])
    assert begins == list(range(0, 4000 - 400 + 1, 500))
    # Three videos of eight clips, one of them less a second in which nobody is.
    assert (config.data.validation_split, config.data.test_split) == ("validation", "validation")
    assert (config.data.train_split, config.data.unlabelled_split) == ("train", "")
    assert config.train.batch_size == 16 and config.train.epochs == 300
    assert config.model.visual_supervision == "match"
    assert config.label_free.moment > 0 and config.label_free.speed > 0
    assert config.data.flip and not config.model.symmetric
    check_config(config, dataset, devices=1)
    mirrored = next(dataset.training_batches("train", batch_size=8, seed=0, flip=True))
    assert (mirrored.activity == UNKNOWN).all()


def test_one_video_is_divided_in_time(footage, tmp_path, capsys):
    options = ["--gap", "0.4", "--every", "0.1", "--num-frames", "1"]
    assert command(footage, tmp_path, *options, videos="b.mp4") == 0
    assert "clips lie within 0.4 seconds between two splits: left out" in capsys.readouterr().out
    config = config_of(tmp_path)
    dataset = open_dataset(config.data)
    train, validation = (
        np.sort(clips_of(dataset, split).clip.astype(int)) / 1000
        for split in ("train", "validation")
    )
    cut = 0.85 * 4
    assert train[0] == 0 and train[-1] + 0.04 <= cut - 0.2 < train[-1] + 0.1 + 0.04
    assert validation[0] - 0.1 < cut + 0.2 <= validation[0] + 1e-9
    assert validation[-1] > 3.8
    assert config.model.visual_supervision == "instance"
    assert config.label_free.moment == config.label_free.speed == 0
    assert config.train.batch_size == 32


def test_without_validation_the_last_checkpoint_is_taken(footage, tmp_path):
    assert command(footage, tmp_path, "--gap", "3", videos="b.mp4") == 0
    config = config_of(tmp_path)
    assert (config.data.validation_split, config.data.test_split) == ("", "train")
    check_config(config, open_dataset(config.data), devices=1)


def test_frames_are_kept_where_asked(footage, tmp_path, capsys):
    assert command(footage, tmp_path, "--image-size", "32", "80", "--num-frames", "2") == 0
    assert "--config=configs/own_label_free.py:frames" in capsys.readouterr().out
    config = config_of(tmp_path, options="frames")
    assert config.data.image_size == (32, 80) and config.label_free.tilt > 0
    check_config(config, open_dataset(config.data), devices=1)


def test_a_set_with_labels_is_learned_from_with_what_has_none(footage, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = [f"{video},0,1,{name}" for video, name in zip("abcd", ("set", "set", "set", "set"))]
    labels.write_text("video,start,stop,activity\n" + "\n".join(rows) + "\n")
    assert command(footage, tmp_path, "--labels", str(labels), "--unlabelled") == 0
    config = config_of(tmp_path)
    assert config.data.train_split == "train+unlabelled" and config.data.unlabelled_split == ""
    assert config.data.test_split == "test"
    check_config(config, open_dataset(config.data), devices=1)


def test_the_config_of_labels_says_that_there_are_none(footage, tmp_path):
    assert command(footage, tmp_path) == 0
    config = config_of(tmp_path, file=own)
    with pytest.raises(UserError, match=r"^the clips of own have no labels, which config\.objec"):
        check_config(config, open_dataset(config.data), devices=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unlabelled"], "--unlabelled adds clips to those of --labels; without labels all"),
        (["--split-by", "column"], "--split-by column reads a column of --labels; give these, or"),
        (["--gap", "9", "--split-by", "time"], "there is no clip to train on: nobody is tracked"),
        (["--num-frames", "400"], "a.mp4 is shorter than a clip of 400 frames at 25 per second"),
    ],
)
def test_a_mistake_is_one_line(footage, tmp_path, capsys, options, message):
    assert command(footage, tmp_path, *options) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "sets").exists()


def test_two_videos_cannot_be_divided_by_video(footage, tmp_path, capsys):
    given = ["--video", str(footage / "a.mp4"), str(footage / "b.mp4")]
    given += ["--tracks", str(footage / "{match}.txt"), "--out", str(tmp_path / "sets")]
    assert main(["import", *given, "--split-by", "video"]) == 2
    assert "--split-by video needs three videos or more, and there are 2" in capsys.readouterr().err


def test_a_set_of_the_same_videos_with_labels_is_another(footage, tmp_path, capsys):
    assert command(footage, tmp_path) == 0
    assert command(footage, tmp_path) == 0
    assert "is already made" in capsys.readouterr().out
    labels = tmp_path / "labels.csv"
    labels.write_text("video,start,stop,activity\na,0,2,set\n")
    options = ["--labels", str(labels), "--split-by", "time", "--gap", "0"]
    assert command(footage, tmp_path, *options) == 2
    assert "was made from other labels; delete" in capsys.readouterr().err


def test_the_draw_of_videos_is_the_same_again_and_of_the_seed():
    videos = [f"match {number}" for number in range(20)]
    drawn = splits.without_labels(videos, 0)
    assert drawn == splits.without_labels(reversed(videos), 0)
    assert drawn != splits.without_labels(videos, 1)
    assert sum(split == "validation" for split in drawn.values()) == 3
