"""Tracks in this library's own format."""

import dataclasses
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.track_files import read_tracks, write_tracks
from stvh_jax.video.tracks import Tracks

VIDEO: dict[str, Any] = {"width": 640, "height": 480}


def made(count=50):
    """Makes tracks in order."""
    chance = np.random.default_rng(0)
    corners = np.sort(chance.random((count, 2, 2)), axis=1).reshape(count, 4)
    return Tracks(
        frames=np.arange(count) // 5,
        people=np.arange(count) % 5 - 1,
        boxes=corners.astype(np.float32),
        confidences=chance.random(count, np.float32),
    )


def test_what_was_written_is_read(tmp_path):
    tracks = made()
    write_tracks(tmp_path / "a", tracks, **VIDEO, num_frames=10)
    for num_frames in (10, None):
        said = []
        again = read_tracks(tmp_path / "a", **VIDEO, num_frames=num_frames, report=said.append)
        for name in ("frames", "people", "boxes", "confidences"):
            np.testing.assert_array_equal(getattr(again, name), getattr(tracks, name))
            assert getattr(again, name).dtype == getattr(tracks, name).dtype
        assert said == []
    assert os.listdir(tmp_path) == ["a"]


def test_tracks_of_another_video(tmp_path):
    write_tracks(tmp_path / "a", made(), **VIDEO, num_frames=10)
    with pytest.raises(UserError, match="640 x 480 pixels, but this video has 480 x 640"):
        read_tracks(tmp_path / "a", width=480, height=640)
    with pytest.raises(UserError, match="10 frames, but this video has 12"):
        read_tracks(tmp_path / "a", **VIDEO, num_frames=12)
    with pytest.raises(UserError, match="from frame 0 to 9, but the video has 9"):
        write_tracks(tmp_path / "a", made(), **VIDEO, num_frames=9)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        write_tracks(tmp_path / "none" / "a", made(), **VIDEO, num_frames=10)


def written(folder, **columns):
    tracks = made(4)
    table = {
        "frame": tracks.frames,
        "person": tracks.people,
        **dict(zip(("y_min", "x_min", "y_max", "x_max"), tracks.boxes.T)),
        **columns,
    }
    table = {name: column for name, column in table.items() if column is not None}
    pq.write_table(pa.table(table), folder / "a")
    return folder / "a"


def test_files_of_others(tmp_path):
    path = written(tmp_path, frame=np.arange(4, dtype=np.int32), more=["a", "b", "c", "d"])
    tracks = read_tracks(path, **VIDEO)
    assert tracks.frames.tolist() == [0, 1, 2, 3] and (tracks.confidences == 1).all()


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"frame": None}, "no column is called frame"),
        ({"frame": [0.5, 1, 2, 3]}, "column frame has the type double, not whole numbers"),
        ({"frame": [-1, 0, 1, 2]}, "frames below 0"),
        ({"x_min": ["a", "b", "c", "d"]}, "column x_min has the type string, not numbers"),
        ({"x_min": [0.1, None, 0.1, 0.1]}, "cells are missing"),
        (
            {"x_min": [0.1, float("nan"), 0.1, 0.1]},
            "row 2: the box has a number that is not finite",
        ),
    ],
)
def test_other_columns(tmp_path, columns, words):
    with pytest.raises(Damaged) as caught:
        read_tracks(written(tmp_path, **columns), **VIDEO)
    assert words in str(caught.value)


def test_metadata_of_a_wrong_kind(tmp_path):
    write_tracks(tmp_path / "a", made(), **VIDEO, num_frames=10)
    table = pq.read_table(tmp_path / "a")
    for text in (b"", b"[]", b"{}", b'{"width": "1", "height": 2, "num_frames": 3}'):
        pq.write_table(table.replace_schema_metadata({b"stvh_jax.tracks": text}), tmp_path / "b")
        with pytest.raises(Damaged):
            read_tracks(tmp_path / "b", **VIDEO)


def test_a_confidence_of_another_kind_is_kept(tmp_path):
    tracks = dataclasses.replace(made(), confidences=np.zeros(50, np.float32))
    write_tracks(tmp_path / "a", tracks, **VIDEO, num_frames=10)
    assert (read_tracks(tmp_path / "a", **VIDEO).confidences == 0).all()
