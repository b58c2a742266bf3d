"""A user's mistake is one line of the right kind, and our own mistakes surface as they are."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.surroundings import Surroundings, around
from tests.helpers.indexed_clips import (
    BITS,
    names,
    random_matrix,
)

MISTAKES = {
    "codes have 40 bits, this index has 16": lambda i: i.search(np.zeros((1, 5), np.uint8)),
    "codes are float32 .*; give packed codes": lambda i: i.search(np.zeros((1, 2), np.float32)),
    "codes of focus 1 are missing": lambda i: i.search({0: np.zeros((1, 2), np.uint8)}),
    "no code to search for": lambda i: i.search(np.zeros((0, 2), np.uint8)),
    "focus 'act' cannot be searched; choose activity": lambda i: find(i, focus="act"),
    "focus 2 cannot be searched": lambda i: find(i, focus=2),
    "focus 1.5 cannot be searched": lambda i: find(i, focus=1.5),
    "focus nan cannot be searched": lambda i: find(i, focus=float("nan")),
    "k = 0; give a whole number of clips": lambda i: find(i, k=0),
    "k = 2.5; give a whole number": lambda i: find(i, k=2.5),
    "k = '3'; give a whole number": lambda i: find(i, k="3"),
    "radius = '3'; give 0 to 16": lambda i: find(i, radius="3"),
    "radius = nan; give 0 to 16": lambda i: find(i, radius=float("nan")),
    "where 'start > 1; x': ';' is not allowed in a condition": lambda i: find(
        i, where="start > 1; x"
    ),
    "where 'start > 1 -- x': '--' is not allowed": lambda i: i.delete("start > 1 -- x"),
    "where .*;.*: ';' is not allowed": lambda i: i.count("match = 'it''s' ; x"),
    "where 7: give a text": lambda i: find(i, where=7),
    "where 'clip > 7': .* type 'Utf8'": lambda i: i.count("clip > 7"),
    "version 0; versions count from 1": lambda i: i.restore(0),
    "version '1'; give a whole number": lambda i: i.restore("1"),
    "version True; give a whole number": lambda i: i.restore(True),
    "version 1.5; give a whole number": lambda i: i.restore(1.5),
    "there is no version 1180591620717411303424; versions": lambda i: i.restore(2**70),
    "there is no version .int, too large to write.": lambda i: i.restore(10**5000),
    "where None: give a text": lambda i: i.delete(None),
    "k = True; give a whole number": lambda i: find(i, k=True),
    "radius = True; give 0 to 16": lambda i: find(i, radius=True),
    "radius = inf; give 0 to 16": lambda i: find(i, radius=float("inf")),
    "focus True cannot be searched": lambda i: find(i, focus=True),
    "what is left out is not given as Surroundings": lambda i: find(i, without=["a"]),
    "match and clip must be texts .*pairs of both": lambda i: i.get("ab"),
    "match and clip must be texts .*give pairs": lambda i: i.get(["ab"]),
    "match and clip must be texts .*not enough values": lambda i: i.holds([("a",)]),
    r"clip a/1\\x00 is not in the index": lambda i: i.get([("a", "1\0")]),
    "a match has a name of 4400 characters; it may have 200": lambda i: add(i, ["7" * 4400], [1]),
    "a clip has a name of 201 characters": lambda i: add(i, ["a"], ["x" * 201]),
    "a name has at most 200 digits": lambda i: add(i, ["a"], [10**5000]),
    r"match 'a\\n\\x1b\[31m' has a control character": lambda i: add(i, ["a\n\x1b[31m"], [1]),
    "clip z/1: inf to 1.0 seconds; times are finite": lambda i: timed(i, np.inf, 1.0),
    "clip z/1: 5.0 to 1.0 seconds; it cannot stop before": lambda i: timed(i, 5.0, 1.0),
    "clip z/1: confidence 1.5; give 0 to 1": lambda i: timed(i, 0.0, 1.0, confidence=[1.5]),
    "clip z/1: confidence -0.5; give 0 to 1": lambda i: timed(i, None, 1.0, confidence=[-0.5]),
    "has no version 99; the oldest is 1, the newest 2": lambda i: i.restore(99),
    "codes are not an array of bytes": lambda i: i.search([[1, 2], [3]]),
    "'clip' of the clips is not string .*not iterable": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=object()
    ),
    "'match' of the clips is not string .*float": lambda i: add(i, [float("nan")], [1]),
    "'match' of the clips is not string .'' is not a name": lambda i: add(i, [""], [1]),
    "'match' of the clips is not string .*surrogates": lambda i: add(i, ["\ud800"], [1]),
    "the field 'clip' of a clip is empty; give it a name": lambda i: add(i, ["a"], np.array([""])),
    "clip 'b/c' has a '/' in its name; only a match's name may": lambda i: add(i, ["a"], ["b/c"]),
    "match and clip must be texts or whole numbers .*float": lambda i: i.holds([("a", 2.5)]),
    "give k, how many clips to find, or a radius": lambda i: find(i, k=None),
    "radius = 17; give 0 to 16 bits": lambda i: find(i, radius=17),
    "where \"mach = '13'\": there is no field 'mach'; the fields are match, clip, start, ": (
        lambda i: find(i, where="mach = '13'")
    ),
    "where 'match = = 1': a value or a condition is missing after '='; the fields": lambda i: find(
        i, where="match = = 1"
    ),
    "where 'oops': a comparison .* is missing at 'oops'; the fields": lambda i: i.delete("oops"),
    "where 'oops ': a comparison .* is missing at 'oops'; the fields": lambda i: i.count("oops "),
    "clip a/2 is in .*index already; upsert replaces": lambda i: add(i, ["a"], [2]),
    "clip d/7 is given twice": lambda i: add(i, ["d", "d"], [7, "7"]),
    "2 values of 'clip' for 1 codes; give one per code": lambda i: add(i, ["d"], [7, 8]),
    "'clip' of the clips is not string .*float": lambda i: add(i, ["d"], [2.5]),
    "'start' of the clips is not double": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=[1], start=["x"]
    ),
    "a clip has no match; each needs one": lambda i: add(i, [None], [7]),
    "clips need a match, which is part of their names": lambda i: i.add(
        np.zeros((1, 2), np.uint8), clip=[1]
    ),
    "clips have no field 'activty'; the fields are match": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=[1], activty=["x"]
    ),
    "clips of match a have no times in the index": lambda i: find(
        i, without=[Surroundings("a", seconds=(0, 1))]
    ),
}


def find(index, **options):
    return index.search(np.zeros((1, 2), np.uint8), **options)


def timed(index, start, stop, **record):
    code = np.zeros((1, 2), np.uint8)
    index.add(code, match=["z"], clip=[1], start=[start], stop=[stop], **record)


def add(index, match, clip):
    index.add(np.zeros((len(match), 2), np.uint8), match=match, clip=clip)


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(small, message, unchecked_shapes):
    version = small.version
    with pytest.raises(UserError, match=message) as error:
        MISTAKES[message](small)
    assert "\n" not in str(error.value)
    assert names(small) == ["a/1", "a/2", "b/3"]
    assert small.version == version


def test_around_a_clip_without_times():
    with pytest.raises(UserError, match="clip 3/7 has no time in the index"):
        around("3", 7, None, None, exclude_near=1)
    with pytest.raises(UserError, match="exclude_near is -1 seconds; give 0 or more"):
        around("3", 7, 0.0, 1.0, exclude_near=-1)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"bits": 12}, "codes have 12 bits; an index needs a multiple of 8"),
        ({"stored_foci": ()}, "stored foci .*; name each once, in order"),
        ({"stored_foci": (3, 0)}, "stored foci .*; name each once, in order"),
        ({"stored_foci": (0, 1)}, "stored foci .*0 to 3, and include 3"),
        ({"bits": "16"}, "codes have '16' bits; an index needs a multiple of 8"),
        ({"stored_foci": (-1, 3)}, "stored foci .*; name each once, in order, counted from 0"),
        ({"stored_foci": (0, 1.5), "filter_matrix": None}, "stored foci .*, counted from 0"),
        ({"bits": 32}, "the filter matrix is for 24 bits, the codes have 32"),
        (
            {"bits": 10**9},
            "codes have 1000000000 bits; an index needs a multiple of 8, up to 65536",
        ),
        ({"bits": 2**70}, "codes have 1180591620717411303424 bits"),
        ({"stored_foci": (True,)}, "stored foci .*; name each once, in order"),
        ({"stored_foci": range(1000)}, "stored foci .*; name each once, in order"),
        ({"stored_foci": None}, "stored foci None; give whole numbers, in order"),
        ({"stored_foci": "03"}, "stored foci '03'; give whole numbers, in order"),
        ({"filter_matrix": "x"}, "the filter matrix is of type str"),
        ({"origin": {"a": object()}}, "the origin is not a mapping of plain values"),
        ({"origin": {1: 2}}, "the origin is not a mapping of plain values"),
        ({"origin": "x"}, "the origin is not a mapping of plain values"),
        ({"origin": {"frames_per_second": "25"}}, "its frames_per_second is of type str"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, parts, message, unchecked_shapes):
    given = {"bits": BITS, "stored_foci": (0, 3), "filter_matrix": random_matrix()}
    with pytest.raises(UserError, match=message):
        Index.create(tmp_path / "index", **given | parts)
    assert not (tmp_path / "index").exists()


def test_where_there_is_no_index(tmp_path, small, unchecked_shapes):
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(NotFound, match="holds no index; make one with: python search.py"):
            Index.open(place)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(Exists, match="holds an index already"):
        Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    with pytest.raises(NotFound, match="has no version 99"):
        Index.open(tmp_path / "index", version=99)
    with pytest.raises(NotFound, match="version 0; versions count from 1"):
        Index.open(tmp_path / "index", version=0)
    for place in ("", None, "a\0b"):
        with pytest.raises(UserError, match="an index needs a place"):
            Index.open(place)
    with pytest.raises(UserError, match="cannot read .*name too long"):
        Index.open("/tmp/" + "x" * 300)
    with pytest.raises(
        UserError, match=r"the place 'x{99}\.\.\. of an index has 200000 characters"
    ):
        Index.open("x" * 200_000)
    assert names(Index.open(f"file://{tmp_path}/index")) == ["a/1", "a/2", "b/3"]
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(UserError, match="cannot write .*index"):
        small.delete("clip = '1'")


def test_a_store_of_something_else(tmp_path):
    import lancedb

    lancedb.connect(tmp_path / "index").create_table("clips", [{"clip": 1}])
    with pytest.raises(Damaged, match="index is not an index, or is damaged"):
        Index.open(tmp_path / "index")


@pytest.mark.parametrize("pattern", ["data/*.lance", "_versions/*.manifest"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "removed"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_store(small, tmp_path, pattern, damage, sealed):
    message = r"clips.lance/\S+(, version 2 of the index,|, a part of the index,)? is (not|missing)"
    if not sealed:  # as earlier versions left it
        shutil.rmtree(tmp_path / "index" / "digests")
        message = "index (cannot be read|holds no index|.* or is damaged)"
    for path in (tmp_path / "index" / "clips.lance").glob(pattern):
        content = path.read_bytes()
        if damage == "removed":
            path.unlink()
        else:
            half = content[: len(content) // 2]
            kept = {"cut": half, "emptied": b"", "overwritten": bytes(len(content))}
            path.write_bytes(kept[damage])
    with pytest.raises((Damaged, NotFound), match=message) as error:
        names(Index.open(tmp_path / "index"))
    assert "\n" not in str(error.value)


def test_an_index_of_a_later_version(small):
    text = small.info.to_json().replace("stvh index 2", "stvh index 5")
    with pytest.raises(Damaged, match="its format is 'stvh index 5', not stvh index 1, stvh in"):
        IndexInfo.from_json(text, where="here")
    good = json.loads(small.info.to_json())
    wrong = [None, 7, "x", [], {}, [[]], True, 1e400]
    texts = ["", "[]", "{}", "[" * 100_000, "null"]
    for name in good:
        texts.append(json.dumps({key: value for key, value in good.items() if key != name}))
        texts += [json.dumps(good | {name: value}) for value in wrong if value != good[name]]
    texts += [json.dumps(good | {"origin": {"run": 7}}), json.dumps(good | {"bits": 2**80})]
    for text in texts:
        try:
            info = IndexInfo.from_json(text, where="here")
        except Damaged as error:
            assert str(error).startswith("here is not ")
            assert "\n" not in str(error)
        else:
            assert info.bits == 16 and info.stored_foci == (1,)


KINDS = {
    "a clip that is not there": (NotFound, lambda i, place: i.get([("z", "1")])),
    "a version that is not there": (NotFound, lambda i, place: i.restore(99)),
    "version 0": (NotFound, lambda i, place: i.restore(0)),
    "an old version that is not there": (NotFound, lambda i, place: Index.open(place, version=7)),
    "no index": (NotFound, lambda i, place: Index.open(place / "nowhere")),
    "a clip that is there": (Exists, lambda i, place: add(i, ["a"], ["2"])),
    "an index that is there": (
        Exists,
        lambda i, place: Index.create(place, bits=8, stored_foci=(0,)),
    ),
    "a condition": (UserError, lambda i, place: i.count("mach = 1")),
    "a file in the way": (
        UserError,
        lambda i, place: Index.create(place / "writer.lock" / "x", bits=8, stored_foci=(0,)),
    ),
}


@pytest.mark.parametrize("mistake", KINDS)
def test_a_caller_can_tell_mistakes_apart(small, tmp_path, mistake):
    small.delete("clip = '1'")  # so that there is a lock in the folder
    kind, call = KINDS[mistake]
    with pytest.raises(UserError) as error:
        call(small, tmp_path / "index")
    assert type(error.value) is kind


@pytest.mark.parametrize("kind", [AttributeError, TypeError, KeyError, AssertionError])
@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("ordering.natural_numbers", lambda index: names(index)),
        ("snapshot.ClipSnapshot.first_of", lambda index: add(index, ["z"], [1])),
        ("engine.as_stored", lambda index: add(index, ["z"], [1])),
        ("engine.ClipSnapshot.read", lambda index: index.holds([("a", 1)])),
        ("copies.read_columns", lambda index: index.holds([("a", 1)])),
    ],
)
def test_a_mistake_of_our_own_is_not_made_a_users(small, monkeypatch, kind, place, call):
    """It surfaces as it is, wherever it is made, and the index is as it was."""

    def broken(*arguments, **options):
        raise kind("ours")

    uri = small.engine.snapshot().uri
    shutil.rmtree(pathlib.Path(uri) / "derived")  # so that the store itself is read
    index = Index.open(uri)
    with monkeypatch.context() as patched:
        patched.setattr(f"stvh_jax.retrieval.lance.{place}", broken)
        with pytest.raises(kind, match="ours"):
            call(index)
    assert names(index) == ["a/1", "a/2", "b/3"]


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["lancedb", "faiss", "pyarrow"])
def test_the_library_alone_names_what_is_missing(tmp_path, missing):
    index = tmp_path / "index"
    index.mkdir()  # without which nothing is looked for in it
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import stvh_jax\n"
        f"try: stvh_jax.Index.open({str(index)!r})\n"
        "except stvh_jax.UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == (
        f"an index needs {missing}, which is not installed; pip install 'stvh_jax[search]'\n"
    ), done.stderr
