"""What all formats share: how a file is told apart, fitted to its video, and refused."""

import json
import random
from typing import Any

import numpy as np
import pytest

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video.track_files import read_tracks, write_tracks
from stvh_jax.video.tracks import UNTRACKED
from tests.video.formats import (
    test_coco,
    test_collective,
    test_cvat,
    test_named_columns,
    test_own_parquet,
    test_vatic,
)

SIZE: dict[str, Any] = {"width": 640, "height": 480}

LINES = """1,7,64,48,64,96,0.9,-1,-1,-1
1,3,0,0,320,240,0.8,-1,-1,-1

3,7,80,48,64,96,0.25,-1,-1,-1
"""


def read(folder, content, name="tracks.bin", **how):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = []
    tracks = read_tracks(path, **{**SIZE, "report": said.append, **how})
    return tracks, said


def test_boxes_are_in_the_order_of_frames_and_people(tmp_path):
    tracks, said = read(tmp_path, LINES, num_frames=3)
    assert tracks.frames.tolist() == [0, 0, 2] and tracks.people.tolist() == [3, 7, 7]
    expected = [[0, 0, 0.5, 0.5], [0.1, 0.1, 0.3, 0.2], [0.1, 0.125, 0.3, 0.225]]
    np.testing.assert_allclose(tracks.boxes, expected, rtol=1e-6)
    np.testing.assert_allclose(tracks.confidences, [0.8, 0.9, 0.25])
    assert said == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \n", ", \n", "\n\n"])
@pytest.mark.parametrize("separator", [",", ", ", " ", "\t", ";", " ; "])
def test_encodings_ends_of_lines_and_separators_make_no_difference(
    tmp_path, encoding, end, separator
):
    text = LINES.replace(",", separator).replace("\n", end)
    tracks, said = read(tmp_path, text.encode(encoding))
    assert tracks.frames.tolist() == [0, 0, 2] and tracks.people.tolist() == [3, 7, 7]
    np.testing.assert_allclose(tracks.confidences, [0.8, 0.9, 0.25])
    assert said == []


def test_what_is_left_out_is_said_in_one_line(tmp_path):
    more = """5,1,700,10,50,50,0.9,-1,-1,-1
5,2,10,10,0,50,0.9,-1,-1,-1
5,3,-40,10,80,50,0.9,-1,-1,-1
5,4,10,10,80,50,0.1,-1,-1,-1
5,3,10,10,80,50,0.95,-1,-1,-1
"""
    tracks, said = read(tmp_path, LINES + more, min_confidence=0.5)
    assert tracks.people.tolist() == [3, 7, 3]
    np.testing.assert_allclose(tracks.confidences, [0.8, 0.9, 0.95])
    assert said == [
        "5 boxes were left out: 2 below the confidence of 0.5, 1 without area, 1 beyond the frame, "
        "1 less confident than another box of the same person in the frame"
    ]


def test_boxes_are_clipped_to_the_frame(tmp_path):
    tracks, said = read(tmp_path, "1,1,-64,-48,128,96\n1,2,576,432,640,480\n1,3,0,0,640,480\n")
    np.testing.assert_allclose(
        tracks.boxes, [[0, 0, 0.1, 0.1], [0.9, 0.9, 1, 1], [0, 0, 1, 1]], rtol=1e-6
    )
    assert said == ["2 boxes were clipped to the frame"]


def test_nobody_is_twice_in_a_frame_but_those_whom_nobody_followed(tmp_path):
    lines = "1,-1,0,0,9,9\n1,-1,0,0,9,9\n1,-2,0,0,9,9\n1,4,0,0,8,8\n1,4,0,0,9,9\n2,4,0,0,9,9\n"
    tracks, said = read(tmp_path, lines)
    assert tracks.people.tolist() == [UNTRACKED] * 3 + [4, 4]
    # Of two that are as confident, the first is kept.
    assert tracks.boxes[3, 3] == np.float32(8 / 640)
    assert len(said) == 1 and "1 box was left out" in said[0]


def test_frames_are_counted_from_0_where_a_frame_0_occurs(tmp_path):
    tracks, said = read(tmp_path, "2,1,0,0,9,9\n0,1,0,0,9,9\n")
    assert tracks.frames.tolist() == [0, 2] and "numbered from 0" in said[0]
    tracks, said = read(tmp_path, "2,1,0,0,9,9\n1,1,0,0,9,9\n")
    assert tracks.frames.tolist() == [0, 1] and said == []
    tracks, _ = read(tmp_path, "102,1,0,0,9,9\n101,1,0,0,9,9\n", first_frame=101, num_frames=2)
    assert tracks.frames.tolist() == [0, 1]


@pytest.mark.parametrize(
    "how, words",
    [
        (
            {"num_frames": 2},
            "line 4: there is no frame 3, because the video has 2 frames, numbered from 1",
        ),
        ({"first_frame": 2}, "line 1: there is no frame 1, because frames are numbered from 2"),
        ({"min_confidence": 0.95}, "no box of a person in this video (3 below the confidence"),
        ({"min_confidence": 1.5}, "the minimum confidence is 1.5; give"),
        ({"min_confidence": float("nan")}, "the minimum confidence is nan; give"),
        ({"first_frame": -1}, "first_frame is -1; give 0 to"),
        ({"first_frame": 10**30}, "first_frame is 1000"),
        ({"width": 0}, "the video has 0 x 480 pixels"),
    ],
)
def test_another_video_is_refused(tmp_path, how, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, LINES, **how)
    assert words in str(caught.value)


def test_most_boxes_beyond_the_frame_are_worth_a_word(tmp_path):
    _, said = read(tmp_path, "1,1,900,10,9,9\n1,2,10,10,9,9\n1,3,1900,10,9,9\n")
    assert "most boxes are beyond the frame" in said[1]


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "it has no box"),
        ("\n \n", "it has no box"),
        ("frame,person,left,top,width,height\n", "it has no box"),
        ("hello world", "has no box"),
        ("hello\nworld\n", "line 2: expected frame, person, left, top, width, height"),
        ("1,1,2\n", "line 1: expected frame, person, left"),
        ("1,1,2,3,4,5\n1,1,2,3,4\n", "line 2: expected frame, person, left"),
        ("1,1,2,3,4,5\n\n1,1,2,three,4,5\n", "line 3: 'three' is not a number"),
        ("1.5,1,2,3,4,5\n", "line 1: frame 1.5 is not a whole number"),
        ("1,1.5,2,3,4,5\n", "line 1: person 1.5 is not a whole number"),
        ("nan,1,2,3,4,5\n", "frame nan is not a whole number"),
        ("1e300,1,2,3,4,5\n", "frame 1e+300 is not a whole number"),
        ("-1,1,2,3,4,5\n", "there is no frame -1"),
        ("1,1,nan,3,4,5\n", "line 1: the box has a number that is not finite"),
        ("1,1,1,3,inf,5\n", "line 1: the box has a number that is not finite"),
        ("1,1,1e308,3,1e308,5\n", "line 1: the box has a number that is not finite"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not text"),
        (b"PK\x03\x04" + bytes(100), "ZIP archive"),
        (b"PAR1" + bytes(100), "not a readable Parquet file"),
        ("{", "is not a readable file of tracks"),
        ("{}", "not have the lists images and annotations"),
        ("[]", "it has no box"),
        ("[1]", "not one of boxes"),
        ("[" * 100_000, "is not a readable file of tracks"),
        ("9" * 10_000, "expected frame, person"),
        ("<a/>", "not with CVAT's <annotations>"),
        ("<annotations", "not well-formed"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert words in message and "tracks.bin" in message and message.count("tracks.bin") == 1
    assert "\n" not in message


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        read_tracks(tmp_path / "none.txt", **SIZE)
    with pytest.raises(NotFound, match="a folder without files such as match_12.txt"):
        read_tracks(tmp_path, **SIZE)


def test_cut_and_changed_files_raise_user_errors_alone(tmp_path, made_files):
    chance = random.Random(0)
    for content in made_files:
        for _ in range(40):
            broken = bytearray(content)
            for _ in range(chance.randrange(4)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            if chance.random() < 0.5:
                del broken[chance.randrange(len(broken)) :]
            if chance.random() < 0.3:
                place = chance.randrange(len(broken) + 1)
                broken[place:place] = chance.choice(
                    [b"NaN", b"1e999", b"-", b"9" * 50, b'"', b"null", b"[]", b"{}", b"\0", b",,"]
                )
            try:
                tracks, _ = read(tmp_path, bytes(broken))
            except UserError:
                continue
            assert len(tracks) and np.isfinite(tracks.boxes).all()
            assert tracks.boxes.min() >= 0 and tracks.boxes.max() <= 1
            assert (tracks.boxes[:, :2] < tracks.boxes[:, 2:]).all()
            assert tracks.frames.min() >= 0 and tracks.people.min() >= UNTRACKED


@pytest.fixture
def made_files(tmp_path):
    """A small file of each format."""
    own = tmp_path / "own"
    write_tracks(own, test_own_parquet.made(), **test_own_parquet.VIDEO, num_frames=30)
    return [
        LINES.encode(),
        test_vatic.LINES.encode(),
        test_collective.TEXT.encode(),
        json.dumps(test_coco.of_one_video()).encode(),
        test_cvat.EXPORT.encode(),
        own.read_bytes(),
        (test_named_columns.FILES / "supervision.csv").read_bytes(),
        (test_named_columns.FILES / "supervision.json").read_bytes(),
    ]


def test_a_damaged_file_is_damaged(tmp_path):
    with pytest.raises(Damaged):
        read(tmp_path, "1,1,2\n")
