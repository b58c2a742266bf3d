"""Files that supervision's sinks wrote, and other tables whose columns have names."""

import csv
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.track_files import read_tracks
from stvh_jax.video.tracks import UNTRACKED

# supervision.csv, supervision.json and supervision_untracked.csv were written by supervision
# 0.31.2, CSVSink and JSONSink, from made boxes of frames 0, 1 and 3, the last box of each frame a
# car; in the third file nobody is followed, no class is known, and its one frame is called 1.
FILES = pathlib.Path(__file__).parents[1] / "files"
SIZE: dict[str, Any] = {"width": 500, "height": 500}


def read(path, **how):
    said = []
    return read_tracks(path, **SIZE, report=said.append, **how), said


@pytest.mark.parametrize("name", ["supervision.csv", "supervision.json"])
def test_supervision(name):
    tracks, said = read(FILES / name)
    with open(FILES / "supervision.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class_name"] == "person"]
    assert tracks.frames.tolist() == [int(row["frame_number"]) for row in rows]
    assert tracks.people.tolist() == [int(row["tracker_id"]) for row in rows]
    corners = [[float(row[c]) for c in ("y_min", "x_min", "y_max", "x_max")] for row in rows]
    np.testing.assert_allclose(tracks.boxes, np.array(corners) / 500, rtol=1e-5)
    confidences = [float(row["confidence"]) for row in rows]
    np.testing.assert_allclose(tracks.confidences, confidences, rtol=1e-5)
    assert said == [
        "there is a frame 0, so frames are taken to be numbered from 0",
        "3 boxes were left out: 3 of classes other than people",
    ]
    assert len(read(FILES / name, classes=["car"])[0]) == 3


def test_nobody_was_followed():
    tracks, said = read(FILES / "supervision_untracked.csv")
    assert tracks.people.tolist() == [UNTRACKED] * 2 and tracks.frames.tolist() == [0, 0]
    assert said == ["there is no frame 0, so frames are taken to be numbered from 1"]


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_other_names_and_separators(tmp_path, separator):
    cells = [
        ["frame_id", "track_id", "x1", "y1", "x2", "y2", "score"],
        ["1", "4", "50", "100", "150", "200", "0.5"],
        ["2", "4", "50", "100", "150", "200", ""],
    ]
    if separator == " ":
        cells[2][-1] = "nan"
    (tmp_path / "a").write_text("\n".join(separator.join(line) for line in cells))
    tracks, _ = read(tmp_path / "a")
    assert tracks.frames.tolist() == [0, 1] and tracks.people.tolist() == [4, 4]
    np.testing.assert_allclose(tracks.boxes[0], [0.2, 0.1, 0.4, 0.3], rtol=1e-6)
    assert tracks.confidences.tolist() == [0.5, 1]


def test_people_who_are_called_by_names(tmp_path):
    (tmp_path / "a").write_text("frame,id,x,y,w,h\n1,Ann,1,1,9,9\n1,Bob,1,1,9,9\n2,Ann,1,1,9,9\n")
    tracks, said = read(tmp_path / "a")
    assert tracks.people.tolist() == [0, 1, 0] and "2 people have names, not numbers" in said[0]


def test_the_frame_must_be_told(tmp_path):
    (tmp_path / "a").write_text("x_min,y_min,x_max,y_max,class_id\n1,1,9,9,0\n")
    with pytest.raises(UserError, match="no column has the number of the frame"):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    "text, words",
    [
        ("frame,x1,y1,x2,y2\n1,1,1\n", "line 2: expected at least 5 cells"),
        ("frame,x1,y1,x2,y2\n1,1,1,9,9\n\n1,1,1,9,b\n", "line 4: y_max 'b' is not a number"),
        ("frame,x1,y1,x2,y2\none,1,1,9,9\n", "line 2: frame 'one' is not a number"),
        ("frame,x1,y1,x2,y2\n", "no box of a person"),
    ],
)
def test_broken_tables(tmp_path, text, words):
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a")
    assert words in str(caught.value)


@pytest.mark.parametrize("value", ["a", [], {}, None, True, [1], 10**400])
@pytest.mark.parametrize("key", ["x_min", "frame_index", "tracker_id", "class_name", "confidence"])
def test_broken_objects(tmp_path, key, value):
    entries = json.loads((FILES / "supervision.json").read_text())
    entries[1][key] = value
    (tmp_path / "a").write_text(json.dumps(entries))
    try:
        read(tmp_path / "a")
    except UserError:
        return
    # These have a sense.
    assert value in (None, "a", True) or key in ("class_name", "tracker_id")


def test_missing_keys(tmp_path):
    entries = json.loads((FILES / "supervision.json").read_text())
    del entries[2]["y_max"]
    (tmp_path / "a").write_text(json.dumps(entries))
    with pytest.raises(Damaged, match="entry 3: expected"):
        read(tmp_path / "a")
