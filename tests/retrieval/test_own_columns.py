"""Columns of one's own: given, searched, returned and kept, as a loop over plain values says."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.errors import Damaged, UserError
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.milvus.where import translate

COLUMNS = {"player": "text", "rating": "number", "jersey": "integer", "starred": "bool"}
CLIPS = 40
PLACES = range(CLIPS)
OWN = {
    "player": [("Ana", "Bo's", None, "Zoë")[place % 4] for place in PLACES],
    "rating": [None if place % 7 == 0 else place / 8 for place in PLACES],
    "jersey": [None if place % 5 == 0 else place % 12 - 2 for place in PLACES],
    "starred": [(True, False, None)[place % 3] for place in PLACES],
}
NAMES = {"match": ["cup final"] * CLIPS, "clip": [str(place) for place in PLACES]}
CODES = np.random.default_rng(0).integers(0, 256, (CLIPS, 2), np.uint8)


@pytest.fixture
def index(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=[3], columns=COLUMNS)
    index.add(CODES, **NAMES, **OWN)
    return index


def rows_of(hits):
    return {int(hit.clip): hit.record for hit in hits}


def everything(index, **options):
    (hits,) = index.search(CODES[:1], k=None, radius=16, **options)
    return hits


def test_they_come_back_as_they_were_given(index):
    for opened in (index, Index.open(index.uri)):
        rows = rows_of(everything(opened))
        assert len(rows) == CLIPS
        for place, record in rows.items():
            assert {name: record[name] for name in OWN} == {n: OWN[n][place] for n in OWN}
            assert type(record["jersey"]) in (int, type(None))
    _, (record,) = index.get([("cup final", 3)])
    assert record["player"] == "Zoë"
    assert list(record)[-4:] == list(COLUMNS)


CONDITIONS = {
    "player = 'Bo''s'": lambda row: row["player"] == "Bo's",
    "player IN ('Ana', 'Zoë') AND clip < '2'": lambda row: (
        row["player"] in ("Ana", "Zoë") and row["clip"] < "2"
    ),
    "PLAYER LIKE 'B%'": lambda row: row["player"] == "Bo's",
    "rating >= 2.5": lambda row: row["rating"] is not None and row["rating"] >= 2.5,
    "jersey BETWEEN 3 AND 7": lambda row: row["jersey"] is not None and 3 <= row["jersey"] <= 7,
    "jersey IS NULL": lambda row: row["jersey"] is None,
    "starred = TRUE": lambda row: row["starred"] is True,
    "starred IS FALSE OR rating < 1": lambda row: (
        row["starred"] is False or (row["rating"] or 9) < 1
    ),
}


@pytest.mark.parametrize("where", CONDITIONS)
def test_conditions_name_them(index, where):
    rows = [
        {"clip": str(place)} | {name: values[place] for name, values in OWN.items()}
        for place in PLACES
    ]
    expected = {place for place in PLACES if CONDITIONS[where](rows[place])}
    assert 0 < len(expected) < CLIPS
    assert set(rows_of(everything(index, where=where))) == expected
    assert index.count(where) == len(expected)
    assert index.delete(where) == len(expected)
    assert set(rows_of(everything(index))) == set(PLACES) - expected


def test_every_write_keeps_them(index):
    index.upsert(CODES[:1], match="cup final", clip=0, player="Cy", starred=np.array([True]))
    index.upsert(CODES[1:2], match="cup final", clip=1)
    index.add(CODES[:1], match="other", clip=0, jersey=np.int64(7), rating=7)
    index.compact()
    rows = rows_of(everything(index, where="match = 'cup final'"))
    assert [rows[0][name] for name in COLUMNS] == ["Cy", None, None, True]
    assert [rows[1][name] for name in COLUMNS] == [None] * 4
    assert rows[2]["rating"] == 0.25
    (hit,) = everything(index, where="jersey = 7 AND match = 'other'")
    assert [hit.record[name] for name in COLUMNS] == [None, 7.0, 7, None]
    index.restore(2)
    assert len(everything(index, where="player = 'Cy'")) == 0


def test_adapting_keeps_them(tmp_path):
    weights = laid_out(bits=16, visual_bits=8, layers=3)
    index = Index.create(
        tmp_path / "index", bits=16, stored_foci=[3], bit_weights=weights, columns=COLUMNS
    )
    assert index.info.format == 4
    index.add(CODES, **NAMES, **OWN)
    index.adapt(np.random.default_rng(1).normal(size=(CLIPS, 12)).astype(np.float32), **NAMES)
    (hits,) = Index.open(index.uri).search(CODES[:1], k=CLIPS)
    assert [hit.record["player"] for hit in hits] == [OWN["player"][int(hit.clip)] for hit in hits]


def test_they_are_exported_with_hits(index, tmp_path):
    (hits,) = index.search(CODES[:1], k=5)
    for ending in ("csv", "json", "parquet"):
        hits.export(tmp_path / f"hits.{ending}")
    with open(tmp_path / "hits.csv", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = json.loads((tmp_path / "hits.json").read_text())
    from_parquet = pq.read_table(tmp_path / "hits.parquet").to_pylist()
    for hit, line, values, row in zip(hits, from_csv, from_json, from_parquet, strict=True):
        for name, value in hit.record.items():
            assert values[name] == row[name] == value
            assert line[name] == ("" if value is None else str(value))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"player": np.array(["a", "b"])}, ["a", "b"]),
        ({"player": ("a", None)}, ["a", None]),
        ({"player": "a"}, ["a", "a"]),
        ({"player": np.str_("a")}, ["a", "a"]),
        ({"rating": np.array([1, 2], np.float32)}, [1.0, 2.0]),
        ({"rating": [float("nan"), 2]}, [None, 2.0]),
        ({"rating": 3}, [3.0, 3.0]),
        ({"rating": np.array(0.5)}, [0.5, 0.5]),
        ({"rating": float("nan")}, [None, None]),
        ({"jersey": np.array([1, 2], np.uint16)}, [1, 2]),
        ({"jersey": [2.0, float("nan")]}, [2, None]),
        ({"jersey": np.int8(-4)}, [-4, -4]),
        ({"starred": np.array([True, False])}, [True, False]),
        ({"starred": False}, [False, False]),
        ({"start": 2, "stop": np.float32(2.5)}, None),
        ({"activity": "spike", "media": "a.mp4", "confidence": 0.5, "split": "test"}, None),
    ],
)
def test_values_are_sequences_arrays_or_one_for_all(index, given, kept):
    index.add(CODES[:2], match="other", clip=[1, 2], **given)
    rows = rows_of(everything(index, where="match = 'other'"))
    for name, value in given.items():
        assert [rows[clip][name] for clip in (1, 2)] == (kept or [value, value])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"player": [1, 2]}, "'player' of the clips is not string"),
        ({"player": 7}, "'player' of the clips is not string"),
        ({"player": True}, "'player' of the clips is not string"),
        ({"player": ["a"]}, "1 values of 'player' for 2 codes; give one per code"),
        ({"player": np.array([["a"], ["b"]])}, "'player' of the clips is not string"),
        ({"player": "\ud800"}, "'player' of the clips is not string"),
        ({"rating": ["1", "2"]}, "'rating' of the clips is not double"),
        ({"rating": [True, 1.0]}, "'rating' of the clips is not double .True is not a number"),
        ({"rating": True}, "'rating' of the clips is not double .True is not a number"),
        ({"rating": np.array([True, False])}, "'rating' of the clips is not double"),
        ({"rating": [1.0, float("inf")]}, "'rating' of a clip is infinite; give a number, or None"),
        ({"rating": [2**53 + 1, 0]}, "'rating' of the clips is not double"),
        ({"jersey": [1.5, 2]}, "'jersey' of the clips is not int64 .1.5 is not a whole number"),
        (
            {"jersey": np.array([1.5, 2.0])},
            "'jersey' of the clips is not int64 .1.5 is not a whole",
        ),
        ({"jersey": [float("inf"), 2]}, "'jersey' of the clips is not int64"),
        ({"jersey": 2**63}, "'jersey' of the clips is not int64"),
        ({"starred": [1, 0]}, "'starred' of the clips is not bool"),
        ({"starred": "yes"}, "'starred' of the clips is not bool"),
        ({"team": "x"}, "no field 'team'; .*, starred; an index is given others when it is made"),
        ({"clip": 7}, "clip other/7 is given twice"),
        ({"match": None}, "a clip has no match; each needs one"),
    ],
)
def test_a_wrong_value_is_one_line_and_changes_nothing(index, given, message, unchecked_shapes):
    with pytest.raises(UserError, match=message) as error:
        index.add(CODES[:2], **{"match": "other", "clip": [1, 2]} | given)
    assert "\n" not in str(error.value)
    assert (len(index), index.version) == (CLIPS, 2)


def test_conditions_say_the_fields(index):
    with pytest.raises(UserError, match="no field 'team'; the fields are .* media, player, rat"):
        index.count("team = 'x'")
    with pytest.raises(UserError, match="; the fields are .* media, player, rating"):
        index.count("player > 7 * start")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("player", "columns 'player'; give the kind of each by its name, for example {'player'"),
        (["player"], "columns .'player'.; give the kind"),
        ({"player": "string"}, "column 'player' is of kind 'string'; choose text, number, integer"),
        ({"player": str}, "column 'player' is of kind <class 'str'>; choose text"),
        ({"player": ["text"]}, "column 'player' is of kind .*; choose text"),
        ({7: "text"}, "column 7: a name has small letters, digits and _"),
        ({"Player": "text"}, "column 'Player': a name has small letters"),
        ({"play er": "text"}, "column 'play er': a name has small letters"),
        ({"player\n": "text"}, r"column 'player\\n': a name has small letters"),
        ({"": "text"}, "column '': a name has"),
        ({"_rowid": "integer"}, "column '_rowid': a name has"),
        ({"x" * 65: "text"}, "a name has small letters.* up to 64 characters"),
        ({"größe": "text"}, "column 'größe': a name has small letters"),
        ({"start": "number"}, "column 'start' has a name that an index uses itself"),
        ({"code_3": "text"}, "column 'code_3' has a name that an index uses itself"),
        ({"distance_12": "text"}, "column 'distance_12' has a name that"),
        ({"adaptation": "integer"}, "column 'adaptation' has a name that"),
        ({"date": "text"}, "column 'date' is a word of SQL; choose another, as clip_date"),
        ({"select": "text"}, "column 'select' is a word of SQL"),
        ({"null": "text"}, "column 'null' is a word of SQL"),
        ({"true": "bool"}, "column 'true' is a word of SQL"),
        ({f"c{place}": "text" for place in range(33)}, "33 columns; an index may have 32"),
    ],
)
def test_columns_that_cannot_be(tmp_path, columns, message, unchecked_shapes):
    with pytest.raises(UserError, match=message):
        Index.create(tmp_path / "index", bits=16, stored_foci=[3], columns=columns)
    assert not (tmp_path / "index").exists()


def test_as_many_as_there_may_be(tmp_path):
    columns = {"x" * 64: "text"} | {f"c{place}": "number" for place in range(31)}
    index = Index.create(tmp_path / "index", bits=16, stored_foci=[3], columns=columns)
    index.add(CODES[:1], match="a", clip=1, **{"x" * 64: "y", "c30": 2.0})
    assert index.count(f"{'x' * 64} = 'y' AND c30 > 1 AND c29 IS NULL") == 1


def test_only_such_an_index_has_the_format_that_earlier_versions_refuse(index, tmp_path):
    text = index.info.to_json()
    assert text.startswith('{"format": "stvh index 4"')
    assert IndexInfo.from_json(text, where="here").columns == COLUMNS
    plain = Index.create(tmp_path / "plain", bits=16, stored_foci=[3], columns={})
    assert plain.info.to_json().startswith('{"format": "stvh index 2"')
    assert "columns" not in plain.info.to_json()
    values = json.loads(text)
    for wrong in (
        {"format": "stvh index 2"}, {"columns": {}}, {"columns": None}, {"columns": []},
        {"columns": {"player": 7}}, {"columns": {"a b": "text"}}, {"columns": {"match": "text"}},
    ):  # fmt: skip
        with pytest.raises(Damaged, match="here is not an index that this version reads"):
            IndexInfo.from_json(json.dumps(values | wrong), where="here")


def test_a_server_takes_none(monkeypatch):
    engine = pytest.importorskip("stvh_jax.retrieval.milvus.engine")
    monkeypatch.setattr(engine.Collection, "create", None)
    with pytest.raises(UserError, match="columns of your own are not supported on a Milvus server"):
        Index.create("http://127.0.0.1:1/x", bits=16, stored_foci=[3], columns=COLUMNS)
    assert translate("match = 'x'")
