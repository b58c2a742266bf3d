"""Rendered footage: videos, tracks and labels that tell the same, the same on every run."""

import csv

import av
import numpy as np
import pytest

from data.__main__ import main
from data.synthetic import footage
from data.synthetic.volleyball import sample_match
from stvh_jax.errors import Exists, UserError
from stvh_jax.video.footage import open_video
from stvh_jax.video.frames import read_frames
from stvh_jax.video.labels import read_labels
from stvh_jax.video.track_files import read_tracks

OPTIONS = {"matches": 2, "minutes": 0.1, "seed": 3, "image_size": (96, 160)}
FILES = ["footage.json", "labels.csv", "match-1.mp4", "match-1.txt", "match-2.mp4", "match-2.txt"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("footage") / "out"
    arguments = ["--matches", "2", "--minutes", "0.1", "--seed", "3", "--image-size", "96", "160"]
    assert main(["synthesize", "footage", "--out", str(out), *arguments]) == 0
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_files_are_what_own_footage_is(made):
    assert sorted(contents(made)) == FILES
    labels = read_labels(made / "labels.csv", ["match-1.mp4", "match-2.mp4"])
    for number, name in enumerate(["match-1", "match-2"]):
        video = open_video(made / f"{name}.mp4")
        assert (video.height, video.width, len(video), video.rate) == (96, 160, 150, 25)
        assert (video.keys[:3] == [0, 50, 100]).all()
        own = [(each.start, each.stop, each.activity) for each in labels if each.video == name]
        activities = sample_match(3, number, clips=3).activities
        assert own == [(2 * n, 2 * n + 2, activity) for n, activity in enumerate(activities)]
        tracks = read_tracks(made / f"{name}.txt", width=160, height=96, num_frames=150)
        people = [len(tracks.people[tracks.frames == frame]) for frame in range(150)]
        assert min(people) >= 10 and max(people) <= 12
    with open(made / "labels.csv") as file:
        assert next(csv.reader(file)) == ["video", "start", "stop", "activity"]


def test_boxes_are_where_somebody_moves(made):
    """Of two frames the pixels differ more within the boxes of people than elsewhere."""
    video = open_video(made / "match-1.mp4")
    tracks = read_tracks(made / "match-1.txt", width=160, height=96, num_frames=150)
    (_, first), (_, second) = read_frames(video, [60, 64])
    inside = np.zeros((96, 160), bool)
    for box in tracks.boxes[np.isin(tracks.frames, [60, 64])]:
        top, left, bottom, right = np.rint(box * [96, 160, 96, 160]).astype(int)
        inside[top:bottom, left:right] = True
    differs = np.abs(first.astype(int) - second).mean(axis=-1)
    assert differs[inside].mean() > 3 * differs[~inside].mean()


def test_the_same_call_gives_the_same_and_finishes_what_it_began(made, tmp_path):
    lines, out = [], tmp_path / "out"

    class Interrupted(Exception):
        pass

    def interrupt(line):
        raise Interrupted

    with pytest.raises(Interrupted):
        footage.synthesize_footage(out, **OPTIONS, progress=interrupt)
    begun = contents(out)
    assert sorted(begun) == ["footage.json.part", *FILES[1:4]]
    footage.synthesize_footage(out, **OPTIONS, progress=lines.append)
    assert lines == ["match 1 of 2: 0.1 minutes", "match 2 of 2: 0.1 minutes"]
    assert contents(out) == contents(made)
    footage.synthesize_footage(out, **OPTIONS, progress=lines.append)
    assert lines[2:] == [f"{out} is complete already"]
    with pytest.raises(Exists, match="is not empty"):
        footage.synthesize_footage(out, **OPTIONS | {"seed": 4})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matches": 0}, "matches is 0: give 1 or more"),
        ({"minutes": 0}, "minutes is 0; use a number above 0 to 600"),
        ({"minutes": float("nan")}, "minutes is nan; use a number above 0 to 600"),
        ({"seed": -1}, "seed is -1"),
        ({"image_size": (20, 160)}, "image_size is 20 x 160: give 48 x 80 or more"),
        ({"image_size": (97, 160)}, "image_size is 97 x 160: give even numbers"),
    ],
)
def test_numbers_out_of_range_are_the_users_to_mend(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        footage.synthesize_footage(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_killed_rendering_leaves_no_half_video(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(footage, "render_frame", fail)
    with pytest.raises((KeyboardInterrupt, av.FFmpegError)):
        footage.synthesize_footage(tmp_path / "out", **OPTIONS)
    assert sorted(contents(tmp_path / "out")) == ["footage.json.part", "labels.csv"]
