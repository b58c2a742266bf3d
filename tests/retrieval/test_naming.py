"""Names of clips: given, replaced, searched by and kept, as a dictionary of them says."""

import multiprocessing
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import asking, naming
from stvh_jax.retrieval.index import Index

CODES = np.random.default_rng(0).integers(0, 256, (12, 2), np.uint8)
CLIPS = [("a", str(clip)) for clip in range(8)] + [("b/c", str(clip)) for clip in range(4)]


@pytest.fixture
def index(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    matches, clips = zip(*CLIPS)
    index.add(CODES, match=matches, clip=clips, activity="set")
    return index


def names_of(index):
    table = index.clips()
    if "name" not in table.column_names:
        return {}
    names = zip(
        zip(table["match"].to_pylist(), table["clip"].to_pylist()), table["name"].to_pylist()
    )
    return {clip: name for clip, name in names if name is not None}


def test_they_are_given_replaced_and_taken_away(index):
    assert (index.names(), index.info.format, names_of(index)) == ({}, 2, {})
    assert index.name(CLIPS[:4], "fast_break") == 0
    expected = dict.fromkeys(CLIPS[:4], "fast_break")
    assert names_of(index) == names_of(Index.open(index.uri)) == expected
    assert index.name([CLIPS[3], ("a", 4), ("b/c", 1)], "corner — Bo's") == 1
    expected |= dict.fromkeys([CLIPS[3], CLIPS[4], CLIPS[9]], "corner — Bo's")
    assert names_of(index) == expected
    assert index.names() == {"corner — Bo's": 3, "fast_break": 3}
    assert index.names("match = 'a' OR clip = '9'") == {"fast_break": 3, "corner — Bo's": 2}
    assert index.count("name = 'corner — Bo''s'") == 3 and index.count("name IS NULL") == 6
    version = index.version
    assert index.name(CLIPS[:3], "fast_break") == 0 and index.version == version
    (hits,) = index.search(CODES[:1], k=2)
    assert index.name(hits, None) == sum((hit.match, hit.clip) in expected for hit in hits)
    assert index.name([CLIPS[0]], None) == 0
    assert hits[0].match == "a" and hits[0].clip == "0"


def test_codes_records_and_older_versions_stay(index):
    before, old = index.export_codes(), index.version
    index.name(CLIPS[:2], "x")
    np.testing.assert_array_equal(index.export_codes()["codes"], before["codes"])
    assert index.clips().drop_columns(["name"]).equals(Index.open(index.uri, version=old).clips())
    other = Index.open(index.uri)
    index.restore(old)
    assert (index.names(), index.info.columns) == ({}, {})
    other.refresh()
    assert other.names() == {} and len(other) == 12
    index.restore(index.versions()[-2]["version"])
    assert names_of(index) == dict.fromkeys(CLIPS[:2], "x")


def test_a_writer_that_opened_the_index_before_keeps_them(index):
    other = Index.open(index.uri)
    len(other.clips())
    index.name(CLIPS[:5], "x")
    other.upsert(CODES[:2], match="a", clip=["0", "new"])  # as indexing does that is run again
    other.add(CODES[:1], match="z", clip=1)
    other.upsert(CODES[:1], match="a", clip=1, name="y")
    other.upsert(CODES[:1], match="a", clip=2, name=[None])
    index.refresh()
    expected = {CLIPS[0]: "x", CLIPS[1]: "y", CLIPS[3]: "x", CLIPS[4]: "x"}
    assert names_of(index) == names_of(other) == names_of(Index.open(index.uri)) == expected
    assert len(index) == 14


def test_names_are_added_with_clips_and_travel(index, tmp_path):
    index.add(CODES[:2], match="z", clip=[1, 2], name=["x", None])
    index.name(CLIPS[:2], "y")
    expected = {("z", "1"): "x", CLIPS[0]: "y", CLIPS[1]: "y"}
    assert names_of(index) == expected
    index.export_codes(tmp_path / "codes.parquet")
    plain = [Index.create(tmp_path / name, bits=16, stored_foci=(1,)) for name in ("p", "q")]
    assert plain[0].import_codes(tmp_path / "codes.parquet") == 14
    plain[1].add(CODES[:1], match="own", clip=1)
    assert plain[1].add_from(index) == 14
    assert names_of(plain[0]) == names_of(plain[1]) == expected
    assert index.add_from(Index.open(plain[1].uri)) == 1
    index.compact()
    assert names_of(Index.open(index.uri)) == expected


def test_of_an_index_of_whole_numbers(tmp_path):
    with zipfile.ZipFile(__file__.replace("test_naming.py", "index_1.zip")) as file:
        file.extractall(tmp_path / "index")
    old = Index.open(tmp_path / "index")
    query = {focus: values[:1] for focus, values in old.get([("2", 9)])[0].items()}
    found = [(hit.match, hit.clip, hit.distance) for hit in old.search(query, k=9)[0]]
    old.name([("2", 9), ("10", 7)], "x")
    for index in (old, Index.open(tmp_path / "index")):
        assert index.info.format == 4 and names_of(index) == {("2", "9"): "x", ("10", "7"): "x"}
        (hits,) = index.search(query, k=9)
        assert [(hit.match, hit.clip, hit.distance) for hit in hits] == found


def test_of_adapted_codes_and_of_own_columns(tmp_path):
    index = Index.create(
        tmp_path / "index", bits=16, stored_foci=[3], columns={"player": "text"},
        bit_weights=laid_out(bits=16, visual_bits=8, layers=3),
    )  # fmt: skip
    names = dict(zip(("match", "clip"), zip(*CLIPS)))
    index.add(CODES, **names, player="Ana")
    index.adapt(np.random.default_rng(1).normal(size=(12, 12)).astype(np.float32), **names)
    before, number = index.export_codes()["codes"], index.adaptation.number
    index.name(CLIPS[:3], "x")
    opened = Index.open(index.uri)
    np.testing.assert_array_equal(opened.export_codes()["codes"], before)
    assert opened.adaptation.number == number and opened.names() == {"x": 3}
    assert set(opened.clips()["player"].to_pylist()) == {"Ana"}


def test_what_is_like_them_and_not_of_them(index):
    index.name(CLIPS[:5], "x")
    asked = asking.ask(index, named="x")
    assert set(asked.liked) == set(CLIPS[:5]) and asked.title == "clips named x"
    hits = asking.search(index, asked, k=12, where="match = 'a' OR match = 'b/c'")
    assert {(hit.match, hit.clip) for hit in hits} == set(CLIPS[5:])
    taught = asking.ask(index, liked=CLIPS[:5])
    same = asking.search(index, taught, k=12)
    assert [hit.distance for hit in hits] == [hit.distance for hit in same]
    both = asking.ask(index, named="x", liked=[CLIPS[7]], not_liked=[CLIPS[6]])
    assert CLIPS[7] in both.liked and both.title == "clips named x, 1 liked, 1 not"
    with pytest.raises(UserError, match="clip a/1 is liked and not liked"):
        asking.ask(index, named="x", not_liked=[CLIPS[1]])
    with pytest.raises(UserError, match="where 'match ='"):
        asking.search(index, asked, k=1, where="match =")
    with pytest.raises(NotFound, match="no clip of .* is named y; the names are x"):
        asking.ask(index, named="y")


def test_some_stand_for_many(index, monkeypatch):
    monkeypatch.setattr(naming, "MOST_EXAMPLES", 3)
    index.name(CLIPS[:7], "x")
    assert naming.examples_of(index.engine, "x") == [CLIPS[0], CLIPS[3], CLIPS[6]]
    hits = asking.search(index, asking.ask(index, named="x"), k=12)
    assert {(hit.match, hit.clip) for hit in hits} == set(CLIPS[7:])


@pytest.mark.parametrize(
    ("clips", "name", "message"),
    [
        (CLIPS, "", "name ''; give a text of 1 to 64 characters"),
        (CLIPS, "x" * 65, "give a text of 1 to 64 characters"),
        (CLIPS, 7, "name 7; give a text"),
        (CLIPS, "a\nb", "has characters that cannot be seen"),
        (CLIPS, "a\u202eb", "has characters that cannot be seen"),
        (CLIPS, "a\u2028", "has characters that cannot be seen"),
        (CLIPS, " a", "begins or ends with a space"),
        ([], "x", "there is no clip to name"),
        ("a/1", "x", "give hits, or pairs of match and clip"),
        ([("a", "1"), ("a", "99")], "x", "clip a/99 is not in the index"),
    ],
)
def test_what_cannot_be_named_changes_nothing(index, clips, name, message, unchecked_shapes):
    index.name(CLIPS[:1], "kept")
    version = index.version
    with pytest.raises(UserError, match=message):
        index.name(clips, name)
    assert (index.version, names_of(index)) == (version, {CLIPS[0]: "kept"})


def test_a_column_of_another_kind_and_an_older_version_are_not_written(index, tmp_path):
    own = Index.create(tmp_path / "own", bits=16, stored_foci=(1,), columns={"name": "number"})
    own.add(CODES[:1], match="a", clip=1, name=3.5)
    with pytest.raises(UserError, match="a column 'name' of your own, of kind number"):
        own.name([("a", 1)], "x")
    assert own.names() == {} and own.clips()["name"].to_pylist() == [3.5]
    old = Index.open(index.uri, version=index.version)
    with pytest.raises(UserError, match="was opened at version 2; to write, open it without"):
        old.name(CLIPS[:1], "x")
    shutil.rmtree(index.uri)
    with pytest.raises(UserError):
        index.name(CLIPS[:1], "x")


def test_a_server_keeps_none():
    engine = pytest.importorskip("stvh_jax.retrieval.milvus.engine")
    server = object.__new__(engine.MilvusEngine)
    server.uri = "http://127.0.0.1:1/x"
    with pytest.raises(UserError, match="clips on a Milvus server cannot be given names"):
        server.name(pa.table({}))


def give_names(uri, name, done):
    index, given = Index.open(uri), 0
    while given < 3:
        try:
            index.name(CLIPS[given::4], name)
            given += 1
        except UserError as error:
            if "another process writes" not in str(error):
                done.put(str(error))
                return
    done.put("")


def test_two_processes_at_once_lose_nothing(index):
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Queue()
    others = [spawn.Process(target=give_names, args=(index.uri, each, done)) for each in "xy"]
    for other in others:
        other.start()
    assert [done.get(timeout=60) for _ in others] == ["", ""]
    for other in others:
        other.join()
    named = names_of(Index.open(index.uri))
    assert set(named) == {clip for place, clip in enumerate(CLIPS) if place % 4 < 3}
    assert set(named.values()) <= {"x", "y"} and len(Index.open(index.uri)) == 12
