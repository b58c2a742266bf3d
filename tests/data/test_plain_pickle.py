"""Pickles of tracks from anywhere: what is whole loads, and nothing in a file does any harm."""

import io
import pickle
import random
import struct

import numpy as np
import pytest

from data import plain_pickle
from data.volleyball.tracks import load_normalized_tracks
from stvh_jax.errors import Damaged, UserError

BOX = [[0.1, 0.2, 0.3, 0.4]]


def load(folder, content):
    path = folder / "tracks_normalized.pkl"
    path.write_bytes(content)
    return load_normalized_tracks(path)


def refused(folder, content):
    with pytest.raises(Damaged) as caught:
        load(folder, content)
    message = str(caught.value)
    assert "tracks_normalized.pkl" in message and "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "<i8", ">i4", "<i2", "|i1", "|u1", "<u8"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_all_numbers_and_orders_load(protocol, dtype, order):
    array = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], dtype, order=order)
    loaded = plain_pickle.load(pickle.dumps({1: array, 2: array[:0], 3: array[:1]}, protocol))
    for key, expected in {1: array, 2: array[:0], 3: array[:1]}.items():
        assert loaded[key].values.dtype == array.dtype
        np.testing.assert_array_equal(loaded[key].values, expected)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_load(protocol):
    table = {"text é": [1, -2, 3**20, 0.5, None, True, False], (1, "b"): (b"\x00\xff", (), [], {})}
    table |= {np.str_("name"): "names", "again": ["x" * 300, b"y" * 300, "x" * 70000]}
    assert plain_pickle.load(pickle.dumps(table, protocol)) == table
    scalars = {np.int64(3): np.float32(0.5), np.uint8(4): [np.float64(2.5)] * 2}
    assert plain_pickle.load(pickle.dumps(scalars, protocol)) == {3: 0.5, 4: [2.5, 2.5]}


def python_2(*, protocol_0: bool):
    """A table as Python 2 wrote it: the array's bytes are a str, in protocol 0 with escapes."""
    numbers = struct.pack("<4d", 0.1, 0.2, 0.3, 0.9)
    if protocol_0:
        content = b"S" + repr(numbers)[1:].encode() + b"\n"
        return (
            b"(dp0\n(I3\nI50\ntp1\n(dp2\nI50\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\n"
            b"ndarray\np4\n(I0\ntp5\nS'b'\np6\ntp7\nRp8\n(I1\n(I1\nI4\ntp9\ncnumpy\ndtype\np10\n(S"
            b"'f8'\np11\nI0\nI1\ntp12\nRp13\n(I3\nS'<'\np14\nNNNI-1\nI-1\nI0\ntp15\nbI00\n"
            + content
            + b"p16\ntp17\nbss."
        )
    return (
        b"\x80\x02}(K\x03K\x32t}K\x32cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t"
        b"U\x01btR(K\x01(K\x01K\x04tcnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff"
        b"\xffJ\xff\xff\xff\xffK\x00tbI00\nU\x20" + numbers + b"tbss."
    )


@pytest.mark.parametrize("protocol_0", [True, False])
def test_pickles_of_python_2_load(tmp_path, protocol_0):
    tracks = load(tmp_path, python_2(protocol_0=protocol_0))
    np.testing.assert_array_equal(tracks["3", "50"].boxes, [[[0.1, 0.2, 0.3, 0.9]]])


def with_type(name, state, content):
    """A table whose array has the type of a name and a state, in instructions of protocol 2."""
    return (
        b"\x80\x02}(X\x01\x00\x00\x001X\x02\x00\x00\x0010t}K\x0acnumpy.core.multiarray\n"
        b"_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01K\x04tcnumpy\ndtype\n(U"
        + bytes([len(name)])
        + name
        + b"K\x00K\x01tR"
        + state
        + b"\x89U"
        + bytes([len(content)])
        + content
        + b"tbss."
    )


OBJECT_FIELD = (
    b"(K\x03U\x01|NU\x01a\x85}U\x01acnumpy\ndtype\n(U\x02O8K\x00K\x01tRK\x00\x86sK\x08K\x01K\x00tb"
)
POINTERS = b"AAAAAAAA" * 4


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (b"O8", b""),
        (b"O", b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),
        (b"V8", OBJECT_FIELD),
        (b"f8", OBJECT_FIELD),
        (b"M8", b""),
        (b"S8", b""),
        (b"U2", b""),
        (b"f8,O8", b""),
        (b"float64", b""),
    ],
)
def test_bytes_of_a_file_are_never_taken_for_pointers(tmp_path, name, state):
    """Python's loader makes an array of objects of these, and dies where they are looked at."""
    assert "it has an array of" in refused(tmp_path, with_type(name, state, POINTERS))


def dump(folder_of_tracks):
    return pickle.dumps({("3", "50"): folder_of_tracks})


NESTED_KEY = b"\x80\x02})q\x00" + b"".join(bytes([0x68, i, 0x86, 0x71, i + 1]) for i in range(60))
ARRAY = np.array(BOX)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (NESTED_KEY + b"K\x01s.", "tuple in a key"),
        (b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".", "no attribute 'items'"),
        (b"\x80\x02" + b"(" * 10**6 + b".", "pop from empty list"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", "cut off"),
        (b"\x80\x02T\xff\xff\xff\xff.", "cut off"),
        (b"\x80\x02\x8b\x00\x00\x00\x01" + bytes(2**24) + b".", "more than 64 bits"),
        (b"I" + b"9" * 10**6 + b"\n.", "more than 64 bits"),
        (b"\x80\x02h\x05.", "no 5"),
        (b"\x80\x02}q\x00(K\x01K\x02h\x00h\x00u.", "dict in a key"),
        (b"\x80\x02K\x01K\x02a.", "fills int as list"),
        (b"\x80\x02\x8f.", "the instruction"),
        (b"\x80\x02P1\n.", "the instruction"),
        (with_type(b"f8", b"", POINTERS[:24]), "cannot reshape"),
        (
            with_type(b"f8", b"", POINTERS).replace(b"K\x01K\x04t", b"J\xff\xff\xff\xffK\x04t"),
            "shape",
        ),
        (dump({50.5: ARRAY}), "video 3, clip 50: frame 50.5 is not a whole number"),
        (dump({float("inf"): ARRAY}), "video 3, clip 50: frame inf is not a whole number"),
        (dump({2**62: ARRAY}), "clip 50: frame 4611686018427387904 is not a whole number"),
        (dump({"50": ARRAY}), "clip 50: frame 50 is not a whole number"),
        (dump({50: ARRAY[:, ::-1]}), "clip 50: frame 50, row 0: [0.4, 0.3, 0.2, 0.1] is not a box"),
        (dump({50: ARRAY * np.nan}), "clip 50: frame 50, row 0: [nan"),
        (dump({50: ARRAY * np.inf}), "clip 50: frame 50, row 0: [inf"),
        (dump({50: ARRAY * 1000}), "clip 50: frame 50, row 0: [100.0"),
        (dump({50: np.zeros((0, 4))}), "clip 50: it has no box"),
        (dump({50: [["a", 1, 2, 3]]}), "clip 50: frame 50 holds a box of something other than"),
        (dump({50: [[1, 2, 3]]}), "clip 50: frame 50 holds something other than boxes"),
        (dump({50: 7}), "clip 50: 'int' object is not iterable"),
        (pickle.dumps({("3", "50"): {50: BOX}, (3, 50): {50: BOX}}), "clip 50: it is there twice"),
        (pickle.dumps({"35": {50: BOX}}), "the key 35 is not (video, clip)"),
        (pickle.dumps({("3" * 10**6, "x"): {1: 2}}), "video 333"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, content, cause):
    assert cause in refused(tmp_path, content)


def test_boxes_that_are_shared_without_end_are_refused(tmp_path):
    """A small file can refer to the same boxes from many places, each of which takes memory."""
    frames = dict.fromkeys(range(1000), np.zeros((500, 4)))
    table = {("3", str(clip)): frames for clip in range(40)}
    assert "more than 10,000,000 boxes" in refused(tmp_path, pickle.dumps(table))
    text = b"\x80\x02X\x00\x00\x10\x00" + b"x" * 2**20 + b"q\x000"
    with pytest.raises(ValueError, match="the instruction"):
        plain_pickle.load(text)
    encode = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    content = b"\x80\x02](X\x00\x00\x10\x00" + b"x" * 2**20 + b"q\x00" + encode * 3 + b"e."
    with pytest.raises(ValueError, match="repeats its texts"):
        plain_pickle.load(content)


def test_a_place_in_the_memo_takes_no_memory(tmp_path):
    assert plain_pickle.load(b"\x80\x02}r\xff\xff\xff\xff.") == {}


def mutations(content, count, seed):
    """Damages a file in `count` ways: bytes changed, taken out, put in and repeated."""
    draw = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(damaged))
            kind = draw.randrange(5)
            if kind == 0:
                damaged[place] ^= 1 << draw.randrange(8)
            elif kind == 1:
                damaged[place] = draw.randrange(256)
            elif kind == 2:
                damaged[place : place + draw.randint(1, 8)] = b""
            elif kind == 3:
                damaged[place:place] = damaged[(start := draw.randrange(len(damaged))) : start + 9]
            else:
                damaged[place:place] = draw.randbytes(draw.randint(1, 4))
        yield bytes(damaged)


def fuzz(folder, count, seed):
    """Loads damaged pickles of each kind; returns how many loaded all the same."""
    table = {
        ("3", "50"): {49: np.array(BOX * 2), 50: np.array(BOX, np.float32)},
        (4, 60): {60: BOX},
    }
    kinds = [pickle.dumps(table, protocol) for protocol in range(6)]
    kinds += [python_2(protocol_0=True), python_2(protocol_0=False)]
    loaded = 0
    for number, kind in enumerate(kinds):
        for content in mutations(kind, count // len(kinds), seed + number):
            try:
                load(folder, content)
                loaded += 1
            except UserError as error:
                assert "\n" not in str(error) and len(str(error)) < 500
    return loaded


def test_damaged_pickles_never_crash(tmp_path):
    assert fuzz(tmp_path, 480, seed=0) > 0


@pytest.mark.soak
def test_many_damaged_pickles_never_crash(tmp_path):
    fuzz(tmp_path, 20_000, seed=1)


def test_arrays_beside_a_file_are_refused():
    """Protocol 5 may keep arrays outside of the pickle; then it is not whole."""
    file, beside = io.BytesIO(), []
    pickle.Pickler(file, 5, buffer_callback=beside.append).dump(np.zeros((2, 4)))
    assert beside
    with pytest.raises(ValueError, match="the instruction"):
        plain_pickle.load(file.getvalue())
