"""The track files of the Volleyball Dataset, in both formats."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from data.tracks import match_tracks
from data.volleyball.annotations import parse_volleyball_annotations
from data.volleyball.tracks import load_normalized_tracks, parse_volleyball_tracks
from stvh_jax.errors import Damaged, NotFound
from tests.helpers.volleyball_files import REAL

needs_real = pytest.mark.skipif(not REAL.exists(), reason="real data not present")


def write(folder, text):
    path = folder / "tracks.txt"
    path.write_bytes(text.encode())
    return path


# --- text tracks -------------------------------------------------------------------------------


def test_track_rows_become_boxes_by_frame_and_person(tmp_path):
    path = write(
        tmp_path,
        "3 1 2 11 12 21 0 0 0 moving \n3 2 2 12 12 20 0 0 1 moving \n1 5 6 7 8 20 0 1 0 waiting \n"
        "1 0 0 9 9 21 1 0 0 waiting \n8 0 0 9 9 21 1 0 0 waiting \n",
    )
    tracks = parse_volleyball_tracks(path)
    np.testing.assert_array_equal(tracks.frames, [20, 21])
    # Person 8 is lost throughout and is nobody; person 1 is lost in frame 21.
    np.testing.assert_array_equal(tracks.visible, [[True, True], [False, True]])
    np.testing.assert_array_equal(tracks.boxes[0], [[6, 5, 8, 7], [2, 2, 12, 12]])
    np.testing.assert_array_equal(tracks.boxes[1, 1], [2, 1, 12, 11])


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("1 2 3 4 5 6 0 0 0", "expected 10 fields, found 9"),
        ("1 2 3 x 5 6 0 0 0 moving", "found: 1 2 3 x"),
        ("1 9 3 4 5 6 0 0 0 moving", "ends before it starts"),
        ("0 2 3 4 5 6 0 0 0 moving", "already has a box in frame 6"),
    ],
)
def test_malformed_track_row_is_named_with_its_cause(tmp_path, row, cause):
    path = write(tmp_path, f"0 2 3 4 5 6 0 0 0 moving\n{row}\n")
    with pytest.raises(Damaged) as caught:
        parse_volleyball_tracks(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert cause in str(caught.value)


@pytest.mark.parametrize("text", ["", "0 1 2 3 4 5 1 0 0 moving\n"])
def test_tracks_of_nobody_are_damaged(tmp_path, text):
    with pytest.raises(Damaged, match="no person is visible"):
        parse_volleyball_tracks(write(tmp_path, text))


@needs_real
def test_real_tracks_of_one_clip_match_everyone():
    clips = parse_volleyball_annotations(REAL / "videos/13/annotations.txt")
    (clip,) = [clip for clip in clips if clip.clip == "34085"]
    tracks = parse_volleyball_tracks(REAL / "volleyball_tracking_annotation/13/34085/34085.txt")
    np.testing.assert_array_equal(tracks.frames, np.arange(34075, 34095))
    boxes, tracked = match_tracks(clip.boxes, tracks, range(34080, 34090), key_frame=34085)
    assert boxes.shape == (10, 12, 4)
    assert tracked.sum() == 12
    # The file's first player is the annotation's third: 954 406 45 101 digging.
    np.testing.assert_array_equal(boxes[5, 2], [394, 955, 495, 996])
    np.testing.assert_array_equal(boxes[0, 2], [411, 958, 507, 1000])
    np.testing.assert_array_equal(boxes[9, 2], [395, 964, 497, 1005])


@needs_real
def test_real_tracks_of_a_video_match_nearly_everyone():
    matched = []
    for clip in parse_volleyball_annotations(REAL / "videos/13/annotations.txt"):
        tracks = parse_volleyball_tracks(
            REAL / f"volleyball_tracking_annotation/13/{clip.clip}/{clip.clip}.txt"
        )
        frames = range(clip.frame - 5, clip.frame + 5)
        matched.append(match_tracks(clip.boxes, tracks, frames, key_frame=clip.frame)[1])
    assert (np.concatenate(matched).sum(), sum(map(len, matched))) == (1113, 1117)


# --- pickled tracks ----------------------------------------------------------------------------

TABLE = {
    (3, 50): {49: np.array([[0.1, 0.2, 0.3, 0.4]]), 50: np.array([[0.2, 0.2, 0.4, 0.4]])},
    (4, 60): {60: np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]], np.float32)},
}


def dump(folder, content):
    path = folder / "tracks_normalized.pkl"
    path.write_bytes(content)
    return path


def check_table(path):
    tracks = load_normalized_tracks(path)
    assert set(tracks) == {("3", "50"), ("4", "60")}
    np.testing.assert_array_equal(tracks["3", "50"].frames, [49, 50])
    np.testing.assert_array_equal(
        tracks["3", "50"].boxes, [[[0.1, 0.2, 0.3, 0.4]], [[0.2, 0.2, 0.4, 0.4]]]
    )
    np.testing.assert_array_equal(tracks["4", "60"].boxes[0], TABLE[4, 60][60])
    assert all(track.visible.all() for track in tracks.values())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_tracks_load(tmp_path, protocol):
    check_table(dump(tmp_path, pickle.dumps(TABLE, protocol)))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_numpy_1_load(tmp_path, protocol):
    file = io.BytesIO()
    pickler = pickle._Pickler(file, protocol)
    pickler.framer.start_framing = lambda: None  # a frame's size would no longer be right
    pickler.dump(TABLE)
    content = file.getvalue()
    if protocol < 4:
        old = content.replace(b"cnumpy._core.", b"cnumpy.core.")
    else:
        old = content
        for module in (b"multiarray", b"numeric"):
            new_name, old_name = b"numpy._core." + module, b"numpy.core." + module
            new_name = bytes([0x8C, len(new_name)]) + new_name
            old = old.replace(new_name, bytes([0x8C, len(old_name)]) + old_name)
    assert old != content
    check_table(dump(tmp_path, old))


def test_pickles_of_python_2_load(tmp_path):
    """A pickle as Python 2 and NumPy 1 wrote it, its array's bytes a Python 2 str."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01K\x04t"
        b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        b"tbI00\nU\x20" + struct.pack("<4d", 0.1, 0.2, 0.3, 0.9) + b"tb"
    )
    path = dump(tmp_path, b"\x80\x02}(K\x03K\x32t}K\x32" + array + b"ss.")
    tracks = load_normalized_tracks(path)
    np.testing.assert_array_equal(tracks["3", "50"].boxes, [[[0.1, 0.2, 0.3, 0.9]]])


def test_names_may_be_texts_or_numbers_of_numpy(tmp_path):
    box = {50: np.array([[0.1, 0.2, 0.3, 0.4]])}
    table = {("cup final", "rally 3"): box, (np.int64(3), np.int64(50)): box}
    tracks = load_normalized_tracks(dump(tmp_path, pickle.dumps(table)))
    assert set(tracks) == {("cup final", "rally 3"), ("3", "50")}


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_that_runs_a_command_is_refused(tmp_path, protocol):
    marker = tmp_path / "ran"
    content = pickle.dumps(Calls(os.system, f"touch {marker}"), protocol)
    with pytest.raises(Damaged, match=r"it asks for (posix|nt)\.system"):
        load_normalized_tracks(dump(tmp_path, content))
    assert not marker.exists()
    pickle.loads(content)  # the plain loader would have run it
    assert marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy.core.multiarray", "_reconstruct.__class__"),
        ("evil.numpy.core.multiarray", "_reconstruct"),
        ("functools", "partial"),
    ],
)
def test_pickle_that_names_anything_else_is_refused(tmp_path, module, name):
    strings = b"".join(bytes([0x8C, len(text)]) + text.encode() for text in (module, name))
    with pytest.raises(Damaged, match="it asks for"):
        load_normalized_tracks(dump(tmp_path, b"\x80\x04" + strings + b"\x93."))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps(TABLE)[:-20],
        pickle.dumps([1, 2]),
        pickle.dumps({3: {50: np.zeros((1, 4))}}),
        pickle.dumps({(3, 50): np.zeros((1, 4))}),
        pickle.dumps({(3, 50): {50: np.zeros((1, 5))}}),
        pickle.dumps({(3, 50): {50: np.full((1, 4), np.nan)}}),
        pickle.dumps({(3, 50): {}}),
    ],
)
def test_damaged_or_foreign_pickle_is_named(tmp_path, content):
    path = dump(tmp_path, content)
    with pytest.raises(Damaged) as caught:
        load_normalized_tracks(path)
    assert str(path) in str(caught.value)


def test_missing_pickle_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        load_normalized_tracks(tmp_path / "tracks_normalized.pkl")
