"""Indexes of format 1, whose clips are whole numbers, are searched and written to as new ones are.

`index_1.zip` is one that the code of that time wrote, in two writes.
"""

import zipfile

import numpy as np
import pytest

from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.errors import Exists, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval.asking import ask
from stvh_jax.retrieval.hits_report import hits_table
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.surroundings import Surroundings

NAMES = [
    ("10", "7"), ("2", "10"), ("2", "2"), ("10", "500"), ("it's", "3"), ("2", "900"), ("2", "9"),
    ("10", "60"),
]  # fmt: skip
PLACES = np.arange(len(NAMES))
CODES = {
    focus: np.stack([(37 * PLACES + 11 * focus) % 256, (91 * PLACES + focus) % 256], axis=1).astype(
        np.uint8
    )
    for focus in (0, 2)
}


def matrix():
    factor = np.arange(256).reshape(1, 16, 16) * 37 % 101 % 2 * 2 - 1
    return FilterMatrix(factor.astype(np.int64), 2)


def record():
    matches, clips = zip(*NAMES)
    return {
        "match": list(matches),
        "clip": [int(clip) for clip in clips],
        "start": (PLACES / 2).tolist(),
        "stop": (PLACES / 2 + 0.4).tolist(),
        "activity": ["set", "spike"] * 4,
        "media": [f"{place}.mp4" for place in PLACES],
    }


@pytest.fixture(params=["disk", pytest.param("milvus", marks=pytest.mark.milvus)])
def old(request, tmp_path):
    """Gives an index of format 1 with the clips of `NAMES`."""
    if request.param == "disk":
        with zipfile.ZipFile(__file__.replace("test_old_index.py", "index_1.zip")) as file:
            file.extractall(tmp_path / "index")
        return Index.open(tmp_path / "index")
    server = request.getfixturevalue("milvus")
    from stvh_jax.retrieval.milvus.engine import MilvusEngine

    uri = f"{server}/old_{request.node.name.partition('[')[0]}"
    info = IndexInfo(
        bits=16,
        stored_foci=(0, 2),
        filter_matrix=matrix(),
        name="old",
        origin={"run": "runs/1"},
        format=1,
    )
    Index(MilvusEngine.create(uri, info, storage_options=None)).add(CODES, **record())
    return Index.open(uri)


def expected(query, focus, names=NAMES, codes=CODES):
    """Compares a query with every clip, bit by bit."""
    base, asked = codes, {of: np.array([values]) for of, values in query.items()}
    if focus == 1:
        base, asked = ({1: matrix().derive(each[2], 1)} for each in (base, asked))
    distances = np.unpackbits(base[focus] ^ asked[focus], axis=1).sum(axis=1).tolist()
    return sorted(
        ((distance, *name) for distance, name in zip(distances, names)),
        key=lambda hit: (hit[0], natural_key(hit[1]), natural_key(hit[2])),
    )


def hits_of(index, **options):
    (hits,) = index.search(QUERY, k=50, **options)
    return [(hit.distance, hit.match, hit.clip) for hit in hits]


QUERY = {0: np.array([170, 3], np.uint8), 2: np.array([85, 240], np.uint8)}


def test_it_is_searched(old):
    assert (old.info.format, len(old), old.info.origin) == (1, 8, {"run": "runs/1"})
    for focus in (0, 1, 2):
        assert hits_of(old, focus=focus) == expected(QUERY, focus)
    (hits,) = old.search(QUERY, k=3)
    for hit in hits:
        place = NAMES.index((hit.match, hit.clip))
        assert hit.record["start"] == place / 2 and hit.record["media"] == f"{place}.mp4"
    # In conditions its clips are the numbers that they are stored as.
    assert hits_of(old, where="clip >= 10 AND match = '2'") == [
        hit for hit in expected(QUERY, 2) if hit[1:] in {("2", "10"), ("2", "900")}
    ]
    assert old.count("clip = 9") == 1
    without = [Surroundings("2", clip="10"), Surroundings("10")]
    assert hits_of(old, without=without) == [
        hit for hit in expected(QUERY, 2) if hit[1] != "10" and hit[1:] != ("2", "10")
    ]
    assert old.holds([("2", 9), ("2", "09"), ("2", "seq9")]) == [True, False, False]
    codes, (found,) = old.get([("10", 500)])
    np.testing.assert_array_equal(codes[2][0], CODES[2][3])
    assert (found["match"], found["clip"], found["activity"]) == ("10", "500", "spike")


def test_it_is_written_to(old):
    code = {focus: values[:1] for focus, values in CODES.items()}
    with pytest.raises(Exists, match="clip 2/9 is in .* already"):
        old.add(code, match=["2"], clip=["9"])
    old.add(code, match=["2"], clip=["77"])
    old.upsert(code, match=["10"], clip=[60])
    assert old.delete("clip = 3") == 1
    names = [*NAMES, ("2", "77")]
    codes = {focus: np.concatenate([values, values[:1]]) for focus, values in CODES.items()}
    for focus in codes:
        codes[focus][7] = codes[focus][0]
    wanted = [hit for hit in expected(QUERY, 2, names, codes) if hit[2] != "3"]
    assert hits_of(old) == wanted
    for bad in ("seq2", "077", "7.0"):
        with pytest.raises(UserError, match="names its clips only by whole numbers"):
            old.upsert(code, match=["2"], clip=[bad])
    assert len(old) == len(wanted) == 8


def test_names_are_texts_in_a_new_one(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(0,))
    assert index.info.format == 2
    assert index.info.to_json().startswith('{"format": "stvh index 2"')
    clips = ["seq10", "2", "seq2", "10", "010", "-3"]
    index.add(np.zeros((6, 2), np.uint8), match=["m"] * 6, clip=clips)
    index.add(np.zeros((3, 2), np.uint8), match=["m2", "m10", "m"], clip=np.array([4, 4, 4]))
    (hits,) = index.search(np.zeros((1, 2), np.uint8), k=9)
    assert [(hit.match, hit.clip) for hit in hits] == [
        *(("m", clip) for clip in ("2", "4", "010", "10", "-3", "seq2", "seq10")),
        ("m2", "4"),
        ("m10", "4"),
    ]
    assert index.holds([("m", "010"), ("m", 10), ("m", "0010"), ("m", "seq3")]) == [
        True, True, False, False,
    ]  # fmt: skip


def test_names_that_are_refused_today_are_still_read(tmp_path, monkeypatch):
    """Earlier versions took any: thousands of digits, and what a terminal obeys."""
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(0,))
    matches = ["9" * 4400, "1" + "0" * 4400, "a\x1b[31m\n"]
    with monkeypatch.context() as patched:
        patched.setattr("stvh_jax.retrieval.clip_table._check_names", lambda table: None)
        index.add(np.zeros((3, 2), np.uint8), match=matches, clip=["2", "1" * 5000, "1"])
    index = Index.open(tmp_path / "index")
    (hits,) = index.search(np.zeros((1, 2), np.uint8), k=9)
    assert [hit.match for hit in hits] == matches
    assert index.holds([(matches[0], 2), (matches[1], "1" * 5000)]) == [True, True]
    asked = ask(index, Query(*index.get([(matches[2], 1)])))
    table = hits_table(index, asked, hits, focus="activity")
    assert "a\\x1b[31m\\n/1" in table and "\x1b" not in table
    assert len(table.splitlines()) == 6
