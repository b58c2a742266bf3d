"""Clips from the user's own files, by hand-computed boxes."""

import re

import numpy as np
import pytest
from PIL import Image

from stvh_jax.errors import UserError
from stvh_jax.inference.clip_files import read_clip

HEIGHT, WIDTH = 20, 50


@pytest.fixture
def frames(tmp_path):
    """Gives a folder of 11 frames whose order is not that of their names as texts."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 12):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(folder / f"f{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_the_lines_of_a_tracker(tmp_path, frames):
    lines = tmp_path / "tracks.csv"
    lines.write_text(
        "\ufeffframe,id,left,top,width,height,score\n"
        "5,7,10,4,5,10,0.9\n"
        "6,7,15,4,5,10,0.9\n"
        "\n"
        "7,3,0,0,50,20,-1,-1,-1,-1\n"
        "1,9,0,0,5,5\n"
    )
    pixels, boxes, mask = read_clip(lines, frames, num_frames=3)
    # The middle three of eleven: the fifth to the seventh, in the order of their numbers.
    assert pixels.shape == (3, HEIGHT, WIDTH, 3)
    assert pixels[:, 0, 0, 0].tolist() == [5, 6, 7]
    # Person 9 is not seen in them.
    assert mask.tolist() == [True, True]
    seven = [[0.2, 0.2, 0.7, 0.3], [0.2, 0.3, 0.7, 0.4], [0.2, 0.3, 0.7, 0.4]]
    np.testing.assert_allclose(boxes[:, 0], seven, rtol=1e-6)
    np.testing.assert_allclose(boxes[:, 1], 3 * [[0, 0, 1, 1]], rtol=1e-6)


def test_an_array_of_boxes(tmp_path):
    boxes = np.full((4, 3, 4), np.nan)
    boxes[0, 0], boxes[3, 0] = 0.25, 0.75
    boxes[2, 2] = [0.1, 0.2, 0.3, 0.4]
    np.save(tmp_path / "boxes.npy", boxes)
    pixels, read, mask = read_clip(tmp_path / "boxes.npy", None, num_frames=4)
    assert pixels is None
    assert mask.tolist() == [True, True]
    assert read[:, 0, 0].tolist() == [0.25, 0.25, 0.75, 0.75]
    np.testing.assert_allclose(read[:, 1], 4 * [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)


def array(values):
    def write(path):
        np.save(path.with_suffix(".npy"), values)
        return path.with_suffix(".npy")

    return write


def text(content):
    def write(path):
        path.write_text(content)
        return path

    return write


MISTAKES = {
    "boxes has boxes in pixels; give the frames too": (text("1,1,0,0,1,1"), False),
    "boxes, line 2: expected frame, person, left, top": (
        text("1,1,0,0,1,1\n1,2,0,0"),
        True,
    ),
    "boxes, line 1: expected frame, person": (text("1,nan,0,0,1,1"), True),
    "boxes, line 3: expected frame, person": (text("1,1,0,0,1,1\n1,2,0,0,1,1\n2,1,0,0,-1,1"), True),
    "boxes has boxes beyond the frame of 50 x 20 pixels": (text("6,1,900,0,1,1"), True),
    "boxes, line 1: frame 12 is not one of the 11 images": (text("12,1,0,0,1,1"), True),
    "boxes, line 1: frame 0 is not one of the 11": (text("0,1,0,0,1,1"), True),
    "boxes has no box": (text("frame,id,x,y,w,h\n"), True),
    "boxes has nobody in frames 5 to 7": (text("1,1,0,0,1,1"), True),
    "boxes: no such file": (lambda path: path, True),
    "boxes.npy holds float64 .*; give floats .frames, N, 4": (array(np.zeros((11, 4))), True),
    "boxes.npy has boxes beyond the frame": (array(np.full((11, 1, 4), 300.0)), True),
    "boxes.npy has boxes of 4 frames, but .*frames has 11 images": (
        array(np.zeros((4, 1, 4))),
        True,
    ),
    "boxes.npy has 2 frames; this model takes 3": (array(np.zeros((2, 1, 4))), False),
    "boxes.npy is not a readable array": (
        lambda path: text("no array")(path.with_suffix(".npy")),
        False,
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_malformed_file_is_named(tmp_path, frames, message):
    write, with_frames = MISTAKES[message]
    with pytest.raises(UserError, match=message) as caught:
        read_clip(write(tmp_path / "boxes"), frames if with_frames else None, num_frames=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "text", "size", "none", "folder"])
def test_malformed_frames_are_named(tmp_path, frames, damage):
    (tmp_path / "boxes").write_text("6,1,0,0,1,1")
    sixth, messages = frames / "f6.png", {
        "cut": "f6.png is not a readable image",
        "text": "f6.png is not a readable image",
        "size": "f6.png does not have the size of f5.png",
        "none": "frames has no images",
        "folder": "nowhere is not a folder of frames",
    }  # fmt: skip
    if damage == "cut":
        Image.effect_noise((WIDTH, HEIGHT), 50).save(sixth)
        sixth.write_bytes(sixth.read_bytes()[:400])
    elif damage == "text":
        sixth.write_text("no image")
    elif damage == "size":
        Image.new("RGB", (WIDTH, HEIGHT + 1)).save(sixth)
    elif damage == "none":
        for image in frames.glob("*.png"):
            image.unlink()
    folder = tmp_path / "nowhere" if damage == "folder" else frames
    with pytest.raises(UserError, match=re.escape(messages[damage])):
        read_clip(tmp_path / "boxes", folder, num_frames=3)
