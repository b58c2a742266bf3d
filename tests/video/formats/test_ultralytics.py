"""Ultralytics' save_txt: a file for each frame, as its documentation defines it."""

from typing import Any

import numpy as np
import pytest

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video.track_files import read_tracks
from stvh_jax.video.tracks import UNTRACKED

SIZE: dict[str, Any] = {"width": 640, "height": 480}


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def read(folder, **how):
    said = []
    return read_tracks(folder, **SIZE, report=said.append, **how), said


def test_boxes_with_confidence_and_person(tmp_path):
    files = {
        "match_2.txt": "0 0.5 0.25 0.2 0.1 0.9 1\n0 0.1 0.1 0.2 0.2 0.75 12\n",
        "match_10.txt": "0 0.5 0.25 0.2 0.1 0.5 1\n32 0.3 0.3 0.1 0.1 0.9 3\n",
        "match_11.txt": "0 0.5 0.25 0.2 0.1 0.5\n",  # a frame in which the tracker lost all
        "match_12.txt": "",
        "match.jpg": "no tracks",
    }
    write(tmp_path / "labels", files)
    for folder in (tmp_path, tmp_path / "labels"):
        tracks, said = read(folder, num_frames=11)
        assert tracks.frames.tolist() == [1, 1, 9, 10]
        assert tracks.people.tolist() == [1, 12, 1, UNTRACKED]
        np.testing.assert_allclose(tracks.boxes[0], [0.2, 0.4, 0.3, 0.6], rtol=1e-6)
        np.testing.assert_allclose(tracks.confidences, [0.9, 0.75, 0.5, 0.5])
        assert said == ["1 box was left out: 1 of classes other than people"]
    with pytest.raises(UserError, match="match_11.txt, line 1: there is no frame 11"):
        read(tmp_path, num_frames=10)


def test_the_sixth_column_is_a_person_or_a_confidence(tmp_path):
    whole = {"a_1.txt": "0 0.5 0.5 0.2 0.1 1\n0 0.5 0.5 0.2 0.1 2\n", "a_2.txt": "0 .5 .5 .2 .1\n"}
    tracks, said = read(write(tmp_path / "ids", whole))
    assert tracks.people.tolist() == [1, 2, UNTRACKED] and "taken as the person" in said[0]
    fractions = {"a_1.txt": "0 0.5 0.5 0.2 0.1 1\n0 0.5 0.5 0.2 0.1 0.5\n"}
    tracks, said = read(write(tmp_path / "confidences", fractions))
    assert tracks.people.tolist() == [UNTRACKED] * 2 and "taken as the confidence" in said[0]
    np.testing.assert_allclose(tracks.confidences, [1, 0.5])


def test_names_of_digits_alone_and_frame_0(tmp_path):
    tracks, said = read(write(tmp_path / "a", {"000000.txt": "0 .5 .5 .2 .1", "000004.txt": ""}))
    assert tracks.frames.tolist() == [0] and "numbered from 0" in said[0]


def test_several_videos(tmp_path):
    write(tmp_path / "a", {"b_c_1.txt": "0 .5 .5 .2 .1\n", "d_3.txt": "0 .5 .5 .2 .1\n"})
    with pytest.raises(UserError, match="of the videos 'b_c', 'd'; choose one with video"):
        read(tmp_path / "a")
    assert read(tmp_path / "a", video="d")[0].frames.tolist() == [2]
    with pytest.raises(NotFound, match="no files of the video 'e'"):
        read(tmp_path / "a", video="e")


def test_other_things_than_boxes_are_refused(tmp_path):
    with pytest.raises(Damaged, match="a_1.txt, line 2: expected class, x, y"):
        read(write(tmp_path / "a", {"a_1.txt": "\n0 .1 .2 .3 .4 .5 .6 .7 .8\n"}))
    with pytest.raises(Damaged, match="a_1.txt, line 1: 'x' is not a number"):
        read(write(tmp_path / "a", {"a_1.txt": "0 .1 x .3 .4\n"}))
    with pytest.raises(UserError, match="no box has class 0"):
        read(write(tmp_path / "a", {"a_1.txt": "7 .1 .2 .3 .4\n"}))
    assert len(read(tmp_path / "a", classes=["7"])[0]) == 1
    with pytest.raises(UserError, match="no box of a person"):
        read(write(tmp_path / "a", {"a_1.txt": ""}))
