"""From videos, tracks and labels to a set that trains, is judged and searched like any other."""

import math
import re

import numpy as np
import pytest

from configs import own as config_file
from data.__main__ import main
from data.own import stored
from data.prepared.pipeline import open_dataset
from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError
from stvh_jax.unknown import UNKNOWN
from tests.helpers.videos import make_video, number_in

pytestmark = pytest.mark.slow

SECONDS = 12
HEAD = "video,start,stop,activity\n"


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Makes three videos of 12 seconds with three people, of whom person 3 walks to the right."""
    folder = tmp_path_factory.mktemp("footage")
    for name in "abc":
        make_video(folder / f"{name}.mp4", 25 * SECONDS)
        rows = []
        for frame in range(25 * SECONDS):
            if frame < 250:  # then nobody is there
                rows += [f"{frame + 1},{person},{10 * person},20,8,30" for person in (1, 2)]
                rows.append(f"{frame + 1},3,{40 + frame / 10},20,8,30")
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return folder


def command(footage, tmp_path, labels, *options, videos="*.mp4"):
    path = tmp_path / "labels.csv"
    path.write_text(labels)
    given = ["--video", str(footage / videos), "--tracks", str(footage / "{match}.txt")]
    return main(
        ["import", *given, "--labels", str(path), "--out", str(tmp_path / "sets"), *options]
    )


def config_of(tmp_path, options="", **data):
    config = config_file.get_config(options)
    config.data.update({"dir": str(tmp_path / "sets"), **data})
    return config


def clips_of(dataset, split, **options):
    (batch,) = dataset.evaluation_batches(split, batch_size=dataset.num_clips(split), **options)
    return batch


LABELS = (
    "video,start,stop,activity,actions\n"
    "a,1,3,spike,1:up;3:run\nb,1,3,spike,\nc,1,3,spike,\n"
    "a,5,5.2,set,\nb,5,6,set,\nc,5,6,set,\n"
)


def test_windows_lie_within_labels_and_hold_what_the_tracks_say(footage, tmp_path, capsys):
    assert command(footage, tmp_path, LABELS) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("train on it: python train.py --config=configs/own.py --config.data.")
    config = config_of(tmp_path)
    dataset = open_dataset(config.data)
    assert isinstance(dataset, Dataset)
    assert dataset.activity_names == ("set", "spike")
    assert dataset.action_names == ("run", "up")
    assert set(dataset.splits) == {"train", "validation", "test"}
    seen = {}
    for split in dataset.splits:
        clips = clips_of(dataset, split)
        assert len(set(clips.match)) == 1  # three videos: one each
        for row, (match, clip) in enumerate(zip(clips.match, clips.clip)):
            seen[match, clip] = split
            begin = int(clip) / 1000
            first = math.ceil(25 * begin - 0.5 - 1e-6)  # of two as near, the earlier
            label = dataset.activity_names[clips.activity[row]]
            if match == "a" and label == "set":  # shorter than a window, which is 0.4 seconds
                assert begin == pytest.approx(5.1 - 0.2, abs=0.002)
            else:
                start, stop = (1, 3) if label == "spike" else (5, 6)
                assert start <= begin and begin + 0.4 <= stop + 1e-9
            assert clips.frame[row] == first + 5
            assert clips.actor_mask[row].sum() == 3
            walked = clips.boxes[row, :, 2, 1] * 160
            np.testing.assert_allclose(walked, 40 + (first + np.arange(10)) / 10, atol=1e-3)
            known = match == "a" and label == "spike"
            expected = [1, UNKNOWN, 0] if known else [UNKNOWN] * 3
            assert clips.action[row, :3].tolist() == expected
    spikes = {name for name in seen if name[0] == "a" and int(name[1]) < 4000}
    assert spikes == {("a", str(place)) for place in (1000, 1500, 2000, 2500)}


def test_the_config_reads_what_the_set_has(footage, tmp_path):
    options = ["--num-frames", "4", "--num-actors", "5", "--unlabelled", "--name", "mine"]
    assert (
        command(footage, tmp_path, LABELS.replace("set", "l_x").replace("spike", "r_x"), *options)
        == 0
    )
    config = config_of(tmp_path, name="mine")
    assert (config.data.num_frames, config.model.num_frames, config.model.key_frame) == (4, 4, 2)
    assert config.data.num_actors == config.model.num_actors == 5
    assert config.data.flip and config.model.symmetric
    assert config.data.unlabelled_split == "unlabelled"
    dataset = open_dataset(config.data)
    assert config.train.batch_size <= dataset.num_clips("train")
    clips = clips_of(dataset, "unlabelled")
    assert (clips.activity == UNKNOWN).all()
    trained = clips_of(dataset, "train").match[0]
    assert set(clips.match) == {trained}
    starts = np.sort(clips.clip.astype(int))
    assert ((starts + 160 <= 1000) | (starts >= 3000)).all()
    mirrored = clips_of(dataset, "train", mirrored=True)
    np.testing.assert_array_equal(mirrored.activity, 1 - clips_of(dataset, "train").activity)
    config.data.num_frames = 3  # what is given stays
    assert config.data.num_frames == 3


def test_a_side_without_the_other_is_not_mirrored(footage, tmp_path):
    assert command(footage, tmp_path, LABELS.replace("set", "l_x")) == 0
    config = config_of(tmp_path)
    assert not config.data.flip and not config.model.symmetric
    dataset = open_dataset(config.data)
    assert len(clips_of(dataset, "train").activity) == dataset.num_clips("train")
    with pytest.raises(UserError, match="^a class of this set has a side, l_ or r_, and no mirror"):
        dataset.training_batches("train", batch_size=2, seed=0, flip=True)


def test_in_time_no_windows_of_two_splits_are_neighbours(footage, tmp_path, capsys):
    labels = HEAD + "a,0,10,spike\n"
    options = ["--split-by", "time", "--gap", "1", "--every", "0.1"]
    assert command(footage, tmp_path, labels, *options, videos="a.mp4") == 0
    assert "clips lie within 1 seconds between two splits: left out" in capsys.readouterr().out
    dataset = open_dataset(config_of(tmp_path).data)
    spans = []
    for split in ("train", "validation", "test"):
        begin = np.sort(clips_of(dataset, split).clip.astype(int)) / 1000
        spans.append((begin[0], begin[-1] + 0.4))
    assert spans[0][1] <= 7 - 0.5 + 1e-9 and spans[1][0] + 1e-9 >= 7.5
    assert spans[1][1] <= 8.5 - 0.5 + 1e-9 and spans[2][0] + 1e-9 >= 9


def test_frames_are_those_of_the_window(footage, tmp_path):
    options = ["--image-size", "32", "80", "--num-frames", "3"]
    assert command(footage, tmp_path, LABELS, *options) == 0
    config = config_of(tmp_path, "frames")
    assert config.data.image_size == (32, 80)
    dataset = open_dataset(config.data)
    clips = clips_of(dataset, "train")
    for row, clip in enumerate(clips.clip):
        numbers = [number_in(picture) for picture in clips.frames[row]]
        assert numbers == [math.ceil(int(clip) / 40 - 0.5) + place for place in range(3)]


def test_the_same_import_is_not_made_twice_and_another_is_refused(footage, tmp_path, capsys):
    assert command(footage, tmp_path, LABELS) == 0
    assert command(footage, tmp_path, LABELS) == 0
    assert "is already made; delete it to make it again" in capsys.readouterr().out
    assert command(footage, tmp_path, LABELS.replace("1,3", "1,2.9")) == 2
    assert "3.0.0 was made from other labels; delete" in capsys.readouterr().err
    assert command(footage, tmp_path, LABELS, "--every", "1") == 2
    assert "3.0.0 was made from other options; delete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (
            HEAD + "a,1,99,spike\n",
            [],
            "labels.csv:2: it ends at 0:01:39.0, but a.mp4 ends at 0:00:12.0",
        ),
        (
            HEAD + "a,10.5,11.5,spike\n",
            [],
            "labels.csv:2: activity 'spike' has no training example",
        ),
        (LABELS, ["--name", "volleyball"], "--name volleyball is the name of a published data set"),
        (LABELS, ["--name", "../x"], "--name is '../x'; it names a folder"),
        (LABELS, ["--fps", "0"], "--fps is 0.0; use a number above 0"),
        (LABELS, ["--every", "nan"], "--every is nan; use a number above 0"),
        (LABELS, ["--num-frames", "0"], "--num-frames is 0; use 1 or more"),
        (LABELS, ["--num-frames", "400"], "is shorter than a clip of 400 frames"),
        (LABELS, ["--split-by", "column"], "no column of the labels is called split"),
        (HEAD + "a,1,2,x\n", ["--split-by", "video"], "--split-by video needs labels of three"),
        (LABELS, ["--boxes-only", "--image-size", "32", "80"], "--image-size is for frames"),
        (LABELS.replace("3:run", "9:run"), [], "labels.csv:2: person 9 is not in a.mp4 from 0:00:"),
        (
            "video,start,stop,activity,split\na,1,2,x,test\n",
            [],
            "labels.csv:2: activity 'x' has no training example, only some in test; give one",
        ),
    ],
)
def test_a_mistake_is_one_line(footage, tmp_path, capsys, labels, options, message):
    assert command(footage, tmp_path, labels, *options) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "sets").exists()


def test_videos_and_tracks_that_are_not_there(footage, tmp_path, capsys):
    assert command(footage, tmp_path, LABELS, videos="*.mov") == 2
    assert re.search(r"there is no video .*\*\.mov\n", capsys.readouterr().err)
    path = tmp_path / "labels.csv"
    given = ["--video", str(footage / "*.mp4"), "--labels", str(path), "--out", str(tmp_path)]
    assert main(["import", *given, "--tracks", str(footage / "a.txt")]) == 2
    assert "is one file for 3 videos; write {match}" in capsys.readouterr().err


def test_a_set_that_is_not_there_says_how_it_is_made(tmp_path):
    with pytest.raises(UserError, match=r"own/boxes_only is not prepared; run: python -m data im"):
        open_dataset(config_of(tmp_path).data)
    assert stored.read(str(tmp_path), "own", "boxes_only") is None
