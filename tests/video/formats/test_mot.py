"""MOTChallenge's lines, and what trackers make of them."""

import pathlib
from typing import Any

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.track_files import read_tracks
from stvh_jax.video.tracks import UNTRACKED

FILES = pathlib.Path(__file__).parents[1] / "files"
SIZE: dict[str, Any] = {"width": 640, "height": 480}


def read(folder, text, **how):
    (folder / "a.txt").write_text(text)
    said = []
    return read_tracks(folder / "a.txt", **SIZE, report=said.append, **how), said


def test_norfair():
    # Written by norfair 2.3.0, PredictionsTextFile: two people in three frames, a step of a pixel.
    tracks = read_tracks(FILES / "norfair.txt", **SIZE, num_frames=3)
    assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2]
    assert tracks.people.tolist() == [1, 2] * 3
    np.testing.assert_allclose(tracks.boxes[:, 1] * 640, [0, 10.5, 1, 11.5, 2, 12.5], atol=1e-4)
    np.testing.assert_allclose(tracks.boxes[:, 3] - tracks.boxes[:, 1], 33.25 / 640, rtol=1e-5)
    assert (tracks.confidences == 1).all()


def test_ground_truth_says_what_to_ignore(tmp_path):
    # frame, id, left, top, width, height, counts, class, visibility
    text = "1,1,10,10,20,40,1,1,0.9\n1,2,10,10,20,40,0,1,0.5\n1,3,10,10,20,40,1,3,1\n"
    tracks, said = read(tmp_path, text + "2,1,10,10,20,40,1,1,0\n")
    assert tracks.people.tolist() == [1, 1] and (tracks.confidences == 1).all()
    assert said == ["2 boxes were left out: 1 marked to be ignored, 1 of classes other than people"]
    tracks, _ = read(tmp_path, text, classes=["3"])
    assert tracks.people.tolist() == [3]


def test_detections_are_of_nobody(tmp_path):
    text = "1,-1,10,10,20,40,0.75,-1,-1,-1\n1,-1,50,10,20,40,0.5,-1,-1,-1\n"
    tracks, said = read(tmp_path, text)
    assert tracks.people.tolist() == [UNTRACKED] * 2 and said == []
    np.testing.assert_allclose(tracks.confidences, [0.75, 0.5])


def test_confidences_of_another_scale_are_not_kept(tmp_path):
    text = "1,-1,10,10,20,40,64.3,-1,-1,-1\n1,-1,50,10,20,40,-0.5,-1,-1,-1\n"
    tracks, said = read(tmp_path, text)
    assert tracks.confidences.tolist() == [1, 1] and "must be in 0..1" in said[0]
    with pytest.raises(UserError, match="read it without a minimum confidence"):
        read(tmp_path, text, min_confidence=0.5)


def test_boxmot_writes_whole_numbers_between_spaces(tmp_path):
    # frame id left top width height conf class -1, all cut to whole numbers
    tracks, said = read(tmp_path, "1 1 10 10 20 40 0 0 -1\n1 2 10 10 20 40 0 2 -1\n")
    assert tracks.people.tolist() == [1] and tracks.confidences.tolist() == [1]
    assert len(said) == 2 and "taken as missing" in said[0]


def test_classes_that_are_no_people_are_refused(tmp_path):
    with pytest.raises(UserError, match="'3'; say which are people"):
        read(tmp_path, "1 1 10 10 20 40 0.5 3 -1\n")


def test_short_lines_with_a_header(tmp_path):
    text = "frame person left top width height\n1 5 10 10 20 40\n"
    assert read(tmp_path, text)[0].people.tolist() == [5]
    assert read(tmp_path, "# " + text)[0].people.tolist() == [5]
    # Names that say nothing: the order is that of the format.
    assert read(tmp_path, "frame a b c d e\n1 5 10 10 20 40\n")[0].people.tolist() == [5]


def test_cells_behind_the_numbers_may_be_words(tmp_path):
    tracks, _ = read(tmp_path, "1,5,10,10,20,40,0.5,person\n2,5,10,10,20,40,0.5,person\n")
    assert tracks.frames.tolist() == [0, 1] and tracks.confidences.tolist() == [0.5, 0.5]


def test_empty_cells_are_none(tmp_path):
    tracks, _ = read(tmp_path, "1,,10,10,20,40,,,,\n2,5,10,10,20,40,0.5,,,\n")
    assert tracks.people.tolist() == [UNTRACKED, 5]
    assert tracks.confidences.tolist() == [1, 0.5]


def test_decimal_commas(tmp_path):
    tracks, _ = read(tmp_path, "1;5;64,0;48,0;64,0;48,0;0,5\n")
    np.testing.assert_allclose(tracks.boxes, [[0.1, 0.1, 0.2, 0.2]], rtol=1e-6)
    assert tracks.confidences.tolist() == [0.5]


def test_boxes_in_shares_of_the_frame(tmp_path):
    tracks, said = read(tmp_path, "1,5,0.1,0.2,0.3,0.4\n2,5,0.1,0.2,0.3,0.9\n")
    np.testing.assert_allclose(tracks.boxes[0], [0.2, 0.1, 0.6, 0.4], rtol=1e-6)
    assert "in 0..1 of the frame" in said[0] and "clipped" in said[1]


def test_many_lines_agree_with_numpy(tmp_path):
    chance = np.random.default_rng(0)
    count = 120_000  # more than are looked at at a time
    lines = np.concatenate(
        [
            np.arange(count)[:, None] // 10 + 1,
            np.arange(count)[:, None] % 10,
            chance.random((count, 2)) * 300,
            20 + chance.random((count, 2)) * 100,
            chance.random((count, 1)),
            np.full((count, 3), -1),
        ],
        axis=1,
    )
    np.savetxt(tmp_path / "a.txt", lines, fmt="%.6f", delimiter=",")
    assert (tmp_path / "a.txt").stat().st_size > 1 << 23
    tracks = read_tracks(tmp_path / "a.txt", **SIZE)
    np.testing.assert_array_equal(tracks.frames, lines[:, 0] - 1)
    np.testing.assert_array_equal(tracks.people, lines[:, 1])
    corners = lines[:, [3, 2, 3, 2]] + np.pad(lines[:, [5, 4]], [(0, 0), (2, 0)])
    np.testing.assert_allclose(tracks.boxes, corners / [480, 640, 480, 640], atol=1e-6)
    np.testing.assert_allclose(tracks.confidences, lines[:, 6], atol=1e-6)


def test_lines_of_separators_alone_are_empty(tmp_path):
    tracks, _ = read(tmp_path, ",,,,,\n , ,,,,\n1,5,10,10,20,40\n,,,,,\n2,5,10,10,20,40\n,\n")
    assert tracks.frames.tolist() == [0, 1]


def test_an_endless_line_is_refused(tmp_path):
    with pytest.raises(UserError, match="a line of more than 4 MiB"):
        read(tmp_path, "1 " * (5 << 20))
