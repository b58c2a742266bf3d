"""Raw files that hold anything: each mistake is one line that names it, or has a right result."""

import json
import re
import struct
import time

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from data.__main__ import main
from data.collective_activity.annotations import scan_collective_annotations
from data.collective_activity.raw import open_raw as open_collective
from data.collective_activity.tracks import parse_collective_tracks
from data.decoding import decode_clips
from data.volleyball.annotations import scan_volleyball_annotations
from data.volleyball.raw import open_raw
from data.volleyball.tracks import parse_volleyball_tracks
from stvh_jax.errors import Damaged, UserError
from tests.helpers import collective_files, volleyball_files

DIGITS = "9" * 400
LONG = 10**7  # characters of a line
SPLITS = {"train": [1], "validation": [], "test": []}


@pytest.fixture
def volleyball(tmp_path):
    """Gives a raw folder of one clip: frames 5 to 14 of video 1, the tenth its key frame."""
    clip = (10, "r_set", [(5, 6, 7, 11, "digging")])
    return volleyball_files.write_raw(tmp_path / "raw", {1: [clip]}, splits=SPLITS)


@pytest.fixture
def street(tmp_path):
    """Gives a raw folder of four short sequences."""
    return collective_files.small_set(tmp_path / "street")


def one_line(error, beginning):
    """Checks that an error is one short line with this beginning."""
    assert str(error).startswith(beginning), error
    assert len(str(error)) < 1100 and str(error).isprintable()


# --- annotations -------------------------------------------------------------------------------

VOLLEYBALL_LINES = {
    "a large number": ("20.jpg r_set 1e300 2 3 4 moving", "too large: 1e300 2 3 4"),
    "many digits": (f"20.jpg r_set {DIGITS} 2 3 4 moving", "too large: 999"),
    "an infinite number": ("20.jpg r_set inf 2 3 4 moving", "too large: inf"),
    "no number": ("20.jpg r_set 1 nan 3 4 moving", "not finite: 1 nan 3 4"),
    "digits in groups": ("20.jpg r_set 1_0 2 3 4 moving", "expected numbers, found: 1_0 2 3 4"),
    "a key frame of many digits": (f"{DIGITS}.jpg r_set 1 2 3 4 moving", "too large: 999"),
    "a key frame of more": (f"{DIGITS * 20}.jpg r_set 1 2 3 4 moving", "too large: 999"),
    "NUL in an action": ("20.jpg r_set 1 2 3 4 moving\0", r"unknown action 'moving\x00'; known:"),
    "NUL in a name": ("a\0b/20.jpg r_set 1 2 3 4 moving", r"'a\x00b' is not the name of a folder"),
    "NUL alone": ("\0" * 4096, "expected <key frame>.jpg or <clip>/<key frame>.jpg first"),
    "a long word": ("x" * LONG, "expected <key frame>.jpg or <clip>/<key frame>.jpg first"),
    "a long key frame": ("9" * LONG + ".jpg r_set 1 2 3 4 moving", "too large: 999"),
    "a long number": (f"20.jpg r_set {'9' * LONG} 2 3 4 moving", "too large: 999"),
    "a long activity": (f"20.jpg {'y' * LONG} 1 2 3 4 moving", "unknown activity 'yyy"),
    "a long name": ("z" * LONG + "/20.jpg r_set 1 2 3 4 moving", f"a name of {LONG} characters"),
    "Latin-1": (
        "Zürich/20.jpg r_set 1 2 3 4 moving".encode("latin-1"),
        "the name 'Z\N{REPLACEMENT CHARACTER}rich' is not UTF-8; save the file as UTF-8",
    ),
}


@pytest.mark.parametrize("kind", VOLLEYBALL_LINES)
def test_a_line_of_volleyball_may_hold_anything(kind, tmp_path):
    line, cause = VOLLEYBALL_LINES[kind]
    path = tmp_path / "annotations.txt"
    good = b"%d.jpg r_set 5 6 7 11 digging\n"
    path.write_bytes(good % 10 + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with path.open("ab") as file:
        file.write(good % 30)
    clips, problems, _ = scan_volleyball_annotations(path)
    assert [clip.clip for clip in clips] == ["10", "30"]
    (problem,) = problems
    one_line(problem, f"{path}:2: {cause}")


def test_a_crowd_on_a_long_line_is_counted(volleyball):
    path = volleyball / "videos/1/annotations.txt"
    path.write_text("10.jpg r_set" + " 1 2 3 4 moving" * 5000)
    (problem,) = open_raw(volleyball).scan("1").problems
    one_line(problem, f"{path}:1: 5000 people, at most 12 fit")


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        ("1e300", "too large"),
        (DIGITS, "too large"),
        ("inf", "too large"),
        ("nan", "not finite"),
        ("1_1", "expected numbers"),
        ("\0", "expected numbers"),
        ("x" * LONG, "expected numbers"),
        ("\udcff", "expected numbers"),
    ],
    ids=lambda value: value.encode(errors="replace")[:9].decode(),
)
@pytest.mark.parametrize("field", [0, 3, 5])
def test_a_row_of_a_street_may_hold_anything(number, cause, field, tmp_path):
    fields = ["1", "2", "3", "4", "5", "2", "-1"]
    good = "\t".join(fields)
    fields[field] = number
    path = tmp_path / "annotations.txt"
    path.write_bytes("\n".join([good, "\t".join(fields), good]).encode(errors="surrogateescape"))
    frames, problems = scan_collective_annotations(path, num_classes=6)
    assert [frame.classes for frame in frames] == [(2, 2)]
    (problem,) = problems
    one_line(problem, f"{path}:2: {cause}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_text_of_another_encoding_has_no_good_line(encoding, tmp_path):
    path = tmp_path / "annotations.txt"
    path.write_bytes("20.jpg r_set 1 2 3 4 moving\n1\t2\t3\t4\t5\t2\t-1\n".encode(encoding))
    clips, problems, _ = scan_volleyball_annotations(path)
    frames, more = scan_collective_annotations(path, num_classes=6)
    assert not clips and not frames and problems and more
    for problem in (*problems, *more):
        one_line(problem, f"{path}:")


# --- tracks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        ("6.5", "frame 6.5 is not a whole number from 0 to 1000000000"),
        ("-3", "frame -3.0 is not a whole number from 0"),
        ("1e30", "too large: 1 2 3 4 5 1e30 0"),
        (DIGITS, "too large: 1 2 3 4 5 999"),
        ("nan", "not finite"),
        ("x.5", "expected numbers, found: 1 2 3 4 5 x.5 0"),
        ("1_0", "expected numbers"),
    ],
)
def test_a_track_row_of_no_frame_is_refused(frame, cause, tmp_path):
    path = tmp_path / "tracks.txt"
    path.write_text(f"1 2 3 4 5 6 0 0 0 moving\n1 2 3 4 5 {frame} 0 0 0 moving\n")
    with pytest.raises(Damaged) as caught:
        parse_volleyball_tracks(path)
    one_line(caught.value, f"{path}:2: {cause}")


def track(*changes):
    """Gives a track file of two people in frames 1 and 2, with changes (from, to)."""
    text = collective_files.track_text([{1: (1, 2, 3, 14), 2: (2, 2, 3, 14)}, {2: (5, 6, 7, 18)}])
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return text


MOST_FRAMES = ("from 1 to 2", "from 1 to 999999999")
TRACKS = {
    "10^9 targets": (("Targets 2", f"Targets {10**9}"), 2, "expected numbers, found: Number of"),
    "almost 10^9 targets": (("Targets 2", "Targets 999999999"), 14, "the file ends with 2 targets"),
    "10^9 frames of a target": (("1 to 2", f"1 to {10**9}"), 3, "expected numbers, found: Target"),
    "almost 10^9 frames": (MOST_FRAMES, 14, "the file ends with 2 targets and 3 boxes; 2 targets "),
    "a target that ends first": (("1 to 2", "2 to 1"), 5, "no further box of the target belongs"),
    "NUL": (("2\t2\t2", "2\t\0\t2"), 6, "expected numbers"),
}


@pytest.mark.parametrize("kind", TRACKS)
def test_a_track_file_that_announces_anything_is_refused(kind, tmp_path):
    change, line, cause = TRACKS[kind]
    path = tmp_path / "track1.dat"
    path.write_text(track(change))
    with pytest.raises(Damaged) as caught:
        parse_collective_tracks(path)
    one_line(caught.value, f"{path}:{line}: {cause}")


def test_a_frame_far_within_a_target_is_found_at_once(tmp_path):
    path = tmp_path / "track1.dat"
    path.write_text(track(MOST_FRAMES, ("2\t2\t2\t3", "999999998\t2\t2\t3")))
    begun = time.perf_counter()
    with pytest.raises(Damaged, match="the file ends with 2 targets and 3 boxes"):
        parse_collective_tracks(path)
    assert time.perf_counter() - begun < 1  # going through the frames takes half a minute


@pytest.mark.parametrize("total", [10**9, DIGITS])
def test_the_total_of_frames_is_not_used(total, tmp_path):
    path = tmp_path / "track1.dat"
    path.write_text(track(("Total frames 10", f"Total frames {total}")))
    np.testing.assert_array_equal(parse_collective_tracks(path).frames, [1, 2])


def test_a_track_file_cut_anywhere_is_refused_or_has_every_box(tmp_path):
    path, text = tmp_path / "track1.dat", track()
    path.write_text(text)
    whole = parse_collective_tracks(path)
    last = text.rindex("3D Traj")
    for end in range(len(text)):
        path.write_text(text[:end])
        if end < last + len("3D Traj"):
            with pytest.raises(Damaged) as caught:
                parse_collective_tracks(path)
            one_line(caught.value, f"{path}:")
            continue
        try:
            cut = parse_collective_tracks(path)
        except Damaged as error:  # in the middle of a row that is not used
            one_line(error, f"{path}:")
        else:
            np.testing.assert_array_equal(cut.boxes, whole.boxes)


# --- splits ------------------------------------------------------------------------------------


def splits_text(train="[]", test="[]", count="1"):
    return f'{{"train": {train}, "validation": [], "test": {test}, "COUNT": {count}}}'


NESTED = "[" * 10**5 + "]" * 10**5
SPLIT_FILES = {
    "nested deeply": (NESTED, " is not .*recursion"),
    "a nested split": (splits_text(NESTED), " is not .*recursion"),
    "NUL in a name": (splits_text(r'["a\u0000b"]'), r" is not .*'a\\x00b' is not the name of a f"),
    "half a letter": (splits_text(r'["\ud800"]'), r" is not .*'\\ud800' is not the name of a fold"),
    "NUL alone": ("\0" * 4096, " is not .*Expecting value"),
    "a name twice": (splits_text('["1"]', "[1]"), ": match 1 is listed twice; each belongs to one"),
    "a number of 5000 digits": (splits_text(f"[{'9' * 5000}]"), " is not .*4300 digits"),
    "a number of 4000 digits": (splits_text(f"[{'9' * 4000}]"), " is not .*a name of 4000 charact"),
    "a name of 5000 digits": (splits_text(f'["{"9" * 5000}"]'), " is not .*a name of 5000 charact"),
    "a name of 400 bytes": (splits_text(f'["{"ü" * 200}"]'), " is not .*a name of 200 characters"),
    "true": (splits_text("[true]"), " is not .*True is neither a name nor a whole number"),
    "a list as a name": (splits_text("[[1]]"), " is not .*neither a name nor a whole number"),
    "an infinite count": (splits_text("[1]", count="1e400"), " is not .*inf is not a number of cl"),
    "no count": (splits_text("[1]", count="NaN"), " is not .*nan is not a number of clips"),
    "splits that are all empty": (splits_text(), " lists no match; say which match belongs to whi"),
}


@pytest.mark.parametrize("dataset", ["volleyball", "street"])
@pytest.mark.parametrize("kind", SPLIT_FILES)
def test_splits_may_hold_anything(kind, dataset, request):
    text, cause = SPLIT_FILES[kind]
    folder = request.getfixturevalue(dataset)
    path = folder / "splits.json"
    count = "clips" if dataset == "volleyball" else "key_frames"
    path.write_text(text.replace("COUNT", count))
    with pytest.raises(UserError, match=re.escape(str(path)) + cause) as caught:
        (open_raw if dataset == "volleyball" else open_collective)(folder)
    one_line(caught.value, str(path))


@pytest.mark.parametrize("names", [("1", "01"), (1, "seq01"), ("seq01", "0001")])
def test_a_sequence_may_not_have_two_names(names, street):
    first, second = names
    splits = {"train": [first], "validation": [3], "test": [second], "key_frames": 6}
    (street / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(UserError, match=f"{first} and {second} are both seq01; list it once"):
        open_collective(street)


# --- frames ------------------------------------------------------------------------------------


def check(*arguments):
    """Runs `python -m data check`; gives its status."""
    return main(["check", *map(str, arguments)])


def mark(path, orientation):
    """Puts an EXIF orientation into a JPEG, whose pixels stay as they are."""
    exif = Image.Exif()
    exif[274] = orientation
    described, content = exif.tobytes(), path.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(described) + 2) + described
    path.write_bytes(content[:2] + segment + content[2:])
    with Image.open(path) as image:
        assert image.getexif()[274] == orientation


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_frame_that_is_to_be_turned_is_refused(orientation, volleyball, capsys):
    """Also one of its match's size once it is turned: its boxes are of the pixels as they are."""
    path = volleyball / "videos/1/10/7.jpg"
    if orientation > 4:  # a quarter turn, more or less
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_90).save(path)
    mark(path, orientation)
    assert check("volleyball", "--raw", volleyball) == 1
    message = f"{path} is to be turned when it is shown (EXIF orientation {orientation})"
    assert f"problems: 1\n  {message}" in capsys.readouterr().out
    with pytest.raises(UserError) as caught:
        list(decode_clips(open_raw(volleyball), "1"))
    one_line(caught.value, message)


def test_an_orientation_that_means_nothing_turns_nothing(volleyball):
    path = volleyball / "videos/1/10/7.jpg"
    (before,) = decode_clips(open_raw(volleyball), "1")
    unmarked = path.read_bytes()
    for orientation in (0, 1, 9, 60000):
        path.write_bytes(unmarked)
        mark(path, orientation)
        assert check("volleyball", "--raw", volleyball) == 0
        (clip,) = decode_clips(open_raw(volleyball), "1")
        np.testing.assert_array_equal(clip.frames, before.frames)


def test_decoded_frames_have_the_size_that_their_boxes_are_of(tmp_path):
    """A match's frame size is that of any of its images, which may be one of another clip."""
    person = [(5, 6, 7, 11, "digging")]
    clips = [(10, "r_set", person), (40, "r_set", person)]
    root = volleyball_files.write_raw(tmp_path, {1: clips}, splits=SPLITS)
    for path in (root / "videos/1/40").iterdir():
        volleyball_files.write_frame(path, (0, 0, 0), (9, 9, 9), size=(62, 94))
    with pytest.raises(UserError, match="pixels among frames of .*; boxes in pixels need one"):
        list(decode_clips(open_raw(root), "1"))


@pytest.mark.parametrize("name", ["{:07d}", "{:020d}", "{}"])
def test_zeros_before_a_number_do_not_matter(name, volleyball, street):
    for path in (volleyball / "videos/1/10").iterdir():
        path.rename(path.with_stem(name.format(int(path.stem))))
    assert check("volleyball", "--raw", volleyball) == 0
    (clip,) = decode_clips(open_raw(volleyball), "1")
    for place, frame in enumerate(range(5, 15)):
        left, _ = volleyball_files.frame_colours(1, 10, frame)
        assert np.abs(clip.frames[place, 15, 5].astype(int) - left).max() <= 3

    for path in (street / "ActivityDataset/seq01").glob("*.jpg"):
        path.rename(path.with_stem("frame" + name.format(int(path.stem.removeprefix("frame")))))
    assert check("collective_activity", "--raw", street) == 0
    *_, clip = decode_clips(open_collective(street), "1")
    left, _ = collective_files.frame_colours(1, 20)
    assert np.abs(clip.frames[9, 15, 5].astype(int) - left).max() <= 3


def test_frames_of_other_names_are_missing(volleyball, street, capsys):
    for path in (volleyball / "videos/1/10").iterdir():
        path.rename(path.with_stem(f"frame{path.stem}"))
    assert check("volleyball", "--raw", volleyball) == 1
    lacking = f"{volleyball}/videos/1: 1 of 1 clips lack some of their 10 frames, first clip 10"
    assert f"problems: 1\n  {lacking}\n" in capsys.readouterr().out
    for path in (street / "ActivityDataset/seq02").glob("*.jpg"):
        path.rename(path.with_stem(path.stem.removeprefix("frame")))
    assert check("collective_activity", "--raw", street) == 1
    lacking = f"{street}/ActivityDataset/seq02: no frame<NNNN>.jpg to tell how long the sequence is"
    assert lacking in capsys.readouterr().out


@pytest.mark.parametrize("size", [65535, 9000])
@pytest.mark.parametrize("frames", ["*.jpg", "7.jpg"])
def test_no_memory_is_taken_for_a_frame_that_says_it_is_gigantic(
    size, frames, volleyball, capsys, monkeypatch
):
    paths = list((volleyball / "videos/1/10").glob(frames))
    for path in paths:
        content = bytearray(path.read_bytes())
        place = content.index(b"\xff\xc0") + 5  # of height and width in the header of the frame
        content[place : place + 4] = struct.pack(">HH", size, size)
        path.write_bytes(content)
    load = JpegImagePlugin.JpegImageFile.load

    def small_load(image):
        assert image.width < 100
        return load(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", small_load)
    assert check("volleyball", "--raw", volleyball) == 1
    out = capsys.readouterr().out
    assert out.count("is not a whole JPEG (") == 1
    assert re.search(r"\.jpg is not a whole JPEG \(.*pixels.*\); fetch it again\n", out)
    with pytest.raises(Damaged, match="is not a whole JPEG"):
        list(decode_clips(open_raw(volleyball), "1"))
