"""VATIC's lines: those of the Volleyball Dataset, which the reader of data/ reads, too."""

import numpy as np
import pytest

from data.volleyball.tracks import parse_volleyball_tracks
from stvh_jax.errors import UserError
from stvh_jax.video.track_files import read_tracks
from tests.helpers.volleyball_files import REAL

LINES = """0 10 20 30 60 5 0 1 0 digging \n0 12 20 32 60 6 0 1 1 digging \n
1 100 20 130 60 5 1 1 0 standing \n1 100 20 130 60 6 0 1 0 standing \n"""


def read(folder, text, **how):
    (folder / "a.txt").write_text(text)
    said = []
    return read_tracks(folder / "a.txt", width=200, height=100, report=said.append, **how), said


def test_lost_rows_are_left_out(tmp_path):
    tracks, said = read(tmp_path, LINES)
    assert tracks.frames.tolist() == [5, 6, 6] and tracks.people.tolist() == [0, 0, 1]
    np.testing.assert_allclose(tracks.boxes[0], [0.2, 0.05, 0.6, 0.15], rtol=1e-6)
    assert said == ["1 box was left out: 1 lost"]
    assert read(tmp_path, LINES, first_frame=5, num_frames=2)[0].frames.tolist() == [0, 1, 1]


def test_labels_in_quotes_are_classes(tmp_path):
    text = '0 1 2 30 60 0 0 0 0 "Person"\n1 1 2 30 60 0 0 0 0 "Fire truck" "red"\n'
    tracks, said = read(tmp_path, text)
    assert tracks.people.tolist() == [0] and "of classes other than people" in said[0]
    assert read(tmp_path, text, classes=["fire truck"])[0].people.tolist() == [1]


def test_a_short_line_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 6: expected person xmin"):
        read(tmp_path, LINES + "1 2 3 4 5 6 7 8 9\n")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="the Volleyball Dataset's tracks are not here")
def test_real_tracks_are_read_as_the_data_set_reads_them():
    paths = sorted((REAL / "volleyball_tracking_annotation").glob("*/*/*.txt"))
    assert paths
    for path in paths:
        expected = parse_volleyball_tracks(path)
        tracks = read_tracks(path, width=1280, height=720)
        frames, people = np.nonzero(expected.visible)
        np.testing.assert_array_equal(tracks.frames, expected.frames[frames])
        boxes = np.clip(expected.boxes[frames, people] / [720, 1280, 720, 1280], 0, 1)
        np.testing.assert_allclose(tracks.boxes, boxes, atol=1e-6)
