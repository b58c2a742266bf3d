"""Clips from the user's own files, by hand-computed boxes."""

import re

import numpy as np
import pytest
from PIL import Image

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.inference.clip_files import read_appearance, read_clip

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


@pytest.mark.parametrize("head", ["", "\ufeff", "frame,id,left,top,width,height\n", "Frame id\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ", ", " ", "\t"])
def test_lines_of_any_system_have_the_same_boxes(separator, end, head, tmp_path, frames):
    rows = [["6", "1", "10", "4", "5", "10"], ["6", "2", "15.5", "4", "5", "10", "0.9", "-1"]]
    lines = tmp_path / "tracks.csv"
    text = head + "".join(separator.join(row) + "\n" for row in rows)
    lines.write_bytes(text.replace("\n", end).encode())
    _, boxes, mask = read_clip(lines, frames, num_frames=3)
    expected = [[4, 10, 14, 15], [4, 15.5, 14, 20.5]] / np.array([HEIGHT, WIDTH, HEIGHT, WIDTH])
    assert mask.tolist() == [True, True]
    np.testing.assert_allclose(boxes, [expected] * 3, rtol=1e-6)


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


def test_the_frames_that_are_read_can_be_chosen_and_are_said(tmp_path, frames):
    lines = tmp_path / "tracks.csv"
    lines.write_text("".join(f"{frame},1,{frame},0,5,5\n" for frame in range(1, 12)))
    said = []
    for start, first in ((None, 5), (1, 1), (9, 9)):
        pixels, boxes, _ = read_clip(lines, frames, num_frames=3, start=start, report=said.append)
        assert pixels[:, 0, 0, 0].tolist() == [first, first + 1, first + 2]
        np.testing.assert_allclose(boxes[:, 0, 1] * WIDTH, np.arange(first, first + 3), rtol=1e-6)
    read_clip(lines, frames, num_frames=11, report=said.append)
    assert said == ["frames 5 to 7 of 11", "frames 1 to 3 of 11", "frames 9 to 11 of 11"]
    for start in (0, -1, 10):
        with pytest.raises(UserError, match=f"no 3 frames from {start} on .* a start of 1 to 9$"):
            read_clip(lines, frames, num_frames=3, start=start)


def test_hidden_files_are_left_out(tmp_path, frames):
    (tmp_path / "boxes").write_text("6,1,0,0,5,5")
    for name in ("._f1.png", ".x.png"):
        (frames / name).write_bytes(b"\0\5\x16\7")
    pixels, _, _ = read_clip(tmp_path / "boxes", frames, num_frames=11)
    assert pixels[:, 0, 0, 0].tolist() == list(range(1, 12))


def test_boxes_are_of_the_frames_that_are_read_as_they_are_seen(tmp_path, frames):
    """Pixels of a frame that lies on its side, and of the size of the frames that are read."""
    exif = Image.Exif()
    exif[274] = 6
    for image in frames.glob("*.png"):
        Image.new("RGB", (HEIGHT, WIDTH)).save(image, exif=exif)
    Image.new("RGB", (1000, 1000)).save(frames / "f1.png")
    (tmp_path / "boxes").write_text("6,1,0,0,10,10")
    pixels, boxes, _ = read_clip(tmp_path / "boxes", frames, num_frames=3)
    assert pixels.shape == (3, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(boxes[0, 0], [0, 0, 10 / HEIGHT, 10 / WIDTH])


@pytest.mark.parametrize("dtype", ["<f2", ">f8", "<f4", "g"])
def test_an_array_of_any_floats_in_any_order(dtype, tmp_path):
    values = np.sort(np.random.default_rng(0).uniform(0, 1, (3, 2, 4)).astype(dtype), axis=-1)
    np.save(tmp_path / "boxes.npy", np.asfortranarray(values))
    _, boxes, _ = read_clip(tmp_path / "boxes.npy", None, num_frames=3)
    np.testing.assert_allclose(boxes, values.astype(np.float32), rtol=1e-6)


def array(values):
    def write(path):
        np.save(path.with_suffix(".npy"), values)
        return path.with_suffix(".npy")

    return write


def text(content):
    def write(path):
        path.write_text(content, errors="surrogateescape")
        return path

    return write


def archive(path):
    with open(path.with_suffix(".npy"), "wb") as file:
        np.savez(file, boxes=np.zeros((3, 1, 4)))
    return path.with_suffix(".npy")


def header(described, content=b""):
    """Writes a .npy file whose header says anything."""

    def write(path):
        line = described.encode()
        line += b" " * (63 - len(line) % 64) + b"\n"
        start = b"\x93NUMPY\x02\x00" + len(line).to_bytes(4, "little")
        path.with_suffix(".npy").write_bytes(start + line + content)
        return path.with_suffix(".npy")

    return write


def shaped(*shape):
    return header(f"{{'descr':'<f8','fortran_order':False,'shape':{shape}}}")


HEADERS = {
    "gigantic": shaped(10**12, 250, 4),
    "large": shaped(5000, 250_000, 4),
    "overflowing": shaped(2**62, 4, 4),
    "negative": shaped(-3, 1, 4),
    "cut": shaped(30, 3, 4),
    "of parentheses": header("(" * 9000),
    "of lists": header("{'descr':" + "[" * 80 + "]" * 80 + ",'fortran_order':False,'shape':(3,)}"),
    "long": header("{'descr':" + "[" * 90_000),
    "of objects": header("{'descr':'|O','fortran_order':False,'shape':(3, 1, 4)}"),
    "none": lambda path: text("")(path.with_suffix(".npy")),
    "an archive": archive,
    "a pickle": lambda path: text("(lp0\n.")(path.with_suffix(".npy")),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_an_array_that_announces_anything_is_one_line(kind, tmp_path):
    path = HEADERS[kind](tmp_path / "boxes")
    with pytest.raises(Damaged, match="boxes.npy is not a readable array") as caught:
        read_clip(path, None, num_frames=3)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


INVERTED = np.tile([0.1, 0.1, 0.2, 0.2], (3, 4, 1))
INVERTED[1, 2] = [0.5, 0.2, 0.4, 0.3]

MISTAKES = {
    "boxes, line 2: person -1 is nobody whom a tracker followed; run a tracker, or": (
        text("6,1,0,0,1,1\n6,-1,0,0,1,1\n6,-1,5,5,1,1"),
        True,
    ),
    "boxes, lines 2 and 4: person 7 is twice in frame 6": (
        text("6,1,0,0,1,1\n6,7,0,0,1,1\n7,7,0,0,1,1\n6,7,5,5,1,1"),
        True,
    ),
    "boxes, line 1: frame 6.5 is not one of the 11 images": (text("6.5,1,0,0,1,1"), True),
    "boxes, line 1: frame 1e300 is not one of the 11": (text("1e300,1,0,0,1,1"), True),
    "boxes, line 1: frame nan is not one of": (text("nan,1,0,0,1,1"), True),
    f"boxes, line 1: frame {'9' * 20} is not one of": (text("9" * 5000 + ",1,0,0,1,1"), True),
    "boxes, line 1: expected frame, person, left": (text("6,1,nan,0,1,1"), True),
    "boxes, line 2: expected frame, person, left": (text("6,1,0,0,1,1\n6,2,inf,0,1,1"), True),
    "boxes, line 1: expected frame": (text("6,1e300,0,0,1,1"), True),
    "boxes, line 1: expected": (text(f"6,{2**53 + 1}0,0,0,1,1"), True),
    "boxes, line 2: expected": (text("6,1,0,0,1,1\n6," + "9" * 10**7), True),
    "boxes, line 1: expecte": (text("6,1,0,0,1,1\0"), True),
    "boxes has boxes beyond the frame .*, the first in line 2": (
        text("6,1,0,0,1,1\n6,2,1e308,0,1e308,1"),
        True,
    ),
    "boxes is not a readable file of tracks": (text("6,1,0,0,1,1\udcff"), True),
    "boxes.npy has an impossible box: frame 2, person 3: .* is inverted; give y_min": (
        array(INVERTED),
        False,
    ),
    "boxes.npy has an impossible box: frame 1, person 1: .* is not finite": (
        array(np.full((3, 1, 4), np.inf)),
        False,
    ),
    "boxes, line 1: expected frame, person, left, top, width, height, separated by commas": (
        text("6;1;0;0;1;1\n6;2;0;0;1;1"),
        True,
    ),
    "boxes, line 3: expected frame, person.*, separated by commas": (
        text("6,1,0,0,1,1\r\n6,2,0,0,1,1\r\n6;3;0,5;0;1;1\r\n"),
        True,
    ),
    "boxes, line 1: expected frame, person, left, top, width, h": (
        text("id,frame,left,top,width,height\n6,1,0,0,1,1"),
        True,
    ),
    "boxes, line 1: person -3 is nobody": (text("6,-3,0,0,1,1"), True),
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
        "size": "f6.png has another size than f5.png",
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


def test_features_of_whole_frames(tmp_path):
    features = np.arange(12, dtype=np.float16).reshape(3, 4)
    np.save(tmp_path / "a.npy", features)
    found = read_appearance(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, features)
    assert found.dtype == np.float32
    np.save(tmp_path / "a.npy", features[0])
    np.testing.assert_array_equal(read_appearance(tmp_path / "a.npy"), features[:1])
    for wrong in (np.zeros((1, 2, 3)), np.zeros((0, 4)), np.zeros((2, 3), int), np.float64(1)):
        np.save(tmp_path / "a.npy", wrong)
        with pytest.raises(UserError, match="give features of the clip's whole frames"):
            read_appearance(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(Damaged, match="is not a readable array"):
        read_appearance(tmp_path / "a.npy")
    with pytest.raises(NotFound, match="no such file"):
        read_appearance(tmp_path / "b.npy")
