"""The index: equal to brute force at every focus, with conditions and without."""

import csv
import json
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import stvh_jax
from stvh_jax.errors import NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.record import RECORD
from stvh_jax.retrieval.surroundings import Surroundings, around
from tests.helpers.indexed_clips import (
    BITS,
    LAYERS,
    listed,
    random_codes,
    random_matrix,
    random_record,
)

CLIPS = 613
FOCI = range(LAYERS + 1)


class Oracle:
    """The same clips, searched by a loop over all of them."""

    def __init__(self, index, codes, record):
        self.names = [(match, str(clip)) for match, clip in zip(record["match"], record["clip"])]
        self.record = record
        stored = {focus: codes[focus] for focus in index.info.stored_foci}
        # A focus that is not stored is derived, here by its definition.
        self.signs = {}
        last = np.unpackbits(stored[LAYERS], axis=1).astype(int) * 2 - 1
        for focus in FOCI:
            if focus in stored:
                self.signs[focus] = np.unpackbits(stored[focus], axis=1).astype(int) * 2 - 1
            else:
                power = np.linalg.matrix_power(
                    index.info.filter_matrix.factors[0], LAYERS - focus
                ).astype(object)
                value = last.astype(object) @ power.T
                self.signs[focus] = np.where(value * BITS >= value.sum(axis=1)[:, None], 1, -1)

    def distances(self, query, focus):
        return (self.signs[focus] != self.signs[focus][query]).sum(axis=1)

    def search(self, distances, *, keep=None):
        """Gives (distance, match, clip) of all that are kept, in order."""
        rows = [
            (distance, natural_key(match), natural_key(clip), match, clip)
            for distance, (match, clip), kept in zip(
                distances.tolist(), self.names, np.ones(len(self.names)) if keep is None else keep
            )
            if kept
        ]
        return [(row[0], *row[-2:]) for row in sorted(rows)]


def check(hits, wanted, k=None):
    assert listed(hits) == wanted[:k]
    assert hits.distances.tolist() == pytest.approx([row[0] for row in wanted[:k]])
    last = wanted[:k][-1][0] if wanted[:k] else None
    assert hits.ties_at_k == sum(abs(row[0] - last) < 1e-9 for row in wanted) if wanted else True


@pytest.fixture(scope="module", params=["uniform", "tie-heavy"])
def filled(request, tmp_path_factory):
    """Gives an index that stores both ends, its codes and its oracle; to be read only."""
    folder = tmp_path_factory.mktemp("index") / "index"
    codes = random_codes(CLIPS, distinct=None if request.param == "uniform" else 5)
    record = random_record(CLIPS)
    index = Index.create(folder, bits=BITS, stored_foci=(0, 3), filter_matrix=random_matrix())
    index.add(codes, **record)
    return stvh_jax.Index.open(folder), codes, Oracle(index, codes, record)


def query_of(codes, *places):
    return {focus: values[list(places)] for focus, values in codes.items()}


@pytest.mark.parametrize("focus", FOCI)
def test_every_focus_as_brute_force(filled, focus):
    index, codes, oracle = filled
    queries = [0, 7, 31]
    for k in (1, 10, 2 * CLIPS):
        for query, hits in zip(queries, index.search(query_of(codes, *queries), focus=focus, k=k)):
            check(hits, oracle.search(oracle.distances(query, focus)), k)


def test_names_of_foci(filled):
    index, codes, _ = filled
    query = query_of(codes, 3)
    for name, focus in {"activity": 3, "visual": 0, "2": 2, "1.0": 1}.items():
        named, numbered = (index.search(query, focus=f)[0] for f in (name, focus))
        assert listed(named) == listed(numbered)


@pytest.mark.parametrize("focus", [0.5, 2.3, 1.07])
def test_a_blend_of_two_foci(parts_at_once, filled, focus):
    index, codes, oracle = filled
    below = int(focus)
    share = focus - below
    for query in (2, 40):
        blended = (1 - share) * oracle.distances(query, below)
        blended = (blended + share * oracle.distances(query, below + 1)).round(6)
        check(index.search(query_of(codes, query), focus=focus)[0], oracle.search(blended), 10)


def test_several_clips_make_one_query(filled):
    index, codes, oracle = filled
    places = [1, 5, 9]
    mean = np.mean([oracle.distances(place, 2) for place in places], axis=0).round(6)
    (hits,) = index.search(query_of(codes, *places), focus=2, together=True)
    check(hits, oracle.search(mean), 10)
    for hit in hits:
        assert hit.distances[2] == pytest.approx(hit.distance)


CONDITIONS = {
    "match = '10'": lambda r: np.array(r["match"]) == "10",
    "match = 'it''s' AND start >= 20": lambda r: (
        (np.array(r["match"]) == "it's") & (r["start"] >= 20)
    ),
    "CAST(clip AS BIGINT) % 2 = 1": lambda r: r["clip"] % 2 == 1,
    "activity IN ('spike', 'set') AND NOT match = '2'": lambda r: np.array(
        [a is not None and m != "2" for a, m in zip(r["activity"], r["match"])]
    ),
    "activity IS NULL": lambda r: np.array([a is None for a in r["activity"]]),
    "NOT confidence > 0.3": lambda r: r["confidence"] <= 0.3,
    "confidence > 2": lambda r: np.zeros(CLIPS, bool),
}


@pytest.mark.parametrize("text", CONDITIONS)
@pytest.mark.parametrize("focus", [3, 1, 2.5])
def test_conditions(filled, text, focus):
    index, codes, oracle = filled
    keep = CONDITIONS[text](oracle.record)
    assert index.count(text) == keep.sum()
    distances = oracle.distances(4, int(focus))
    if focus == 2.5:
        distances = (distances + oracle.distances(4, 3)) / 2
    for _ in range(2):  # the second time from memory
        (hits,) = index.search(query_of(codes, 4), focus=focus, where=text)
        check(hits, oracle.search(distances, keep=keep), 10)


def test_within_a_radius(filled):
    index, codes, oracle = filled
    wanted = oracle.search(oracle.distances(8, 1))
    radius = wanted[20][0]
    near = [row for row in wanted if row[0] <= radius]
    query = query_of(codes, 8)
    check(index.search(query, focus=1, k=None, radius=radius)[0], near)
    check(index.search(query, focus=1, k=3, radius=radius)[0], near, 3)
    for part in (0.5, 0.99):  # of a bit: as the whole bits below
        check(index.search(query, focus=1, k=None, radius=radius + part)[0], near)
    blend = (0.5 * oracle.distances(8, 1) + 0.5 * oracle.distances(8, 2)).round(6)
    wanted = [row for row in oracle.search(blend) if row[0] <= 9.5]
    check(index.search(query, focus=1.5, k=None, radius=9.5)[0], wanted)


@pytest.mark.parametrize("text", [None, "CAST(clip AS BIGINT) % 3 > 0"])
def test_surroundings_left_out(filled, text):
    index, codes, oracle = filled
    match, clip = oracle.names[6]
    matches, numbers = np.array(oracle.record["match"]), oracle.record["clip"]
    start, stop = oracle.record["start"], oracle.record["stop"]
    keep = np.ones(CLIPS, bool) if text is None else numbers % 3 > 0
    own = matches == match
    near = own & (start < stop[6] + 20) & (stop > start[6] - 20)
    assert 1 < near.sum() < own.sum()
    itself = own & (numbers == int(clip))
    for options, left_out in [
        ({}, itself),
        ({"exclude_near": 20}, near),
        ({"exclude_match": True}, own),
    ]:
        place = {"start": start[6], "stop": stop[6]}
        without = around(match, clip, **place, **options)
        (hits,) = index.search(query_of(codes, 6), k=50, where=text, without=without)
        check(hits, oracle.search(oracle.distances(6, 3), keep=keep & ~left_out), 50)
    two = [Surroundings("9"), Surroundings("10"), Surroundings("nowhere")]
    (hits,) = index.search(query_of(codes, 6), k=50, where=text, without=two)
    left_out = np.isin(matches, ["9", "10"])
    check(hits, oracle.search(oracle.distances(6, 3), keep=keep & ~left_out), 50)


def test_a_hit_says_why_it_was_found(filled):
    index, codes, oracle = filled
    (hits,) = index.search(query_of(codes, 11), focus=1, k=5)
    for hit in hits:
        place = oracle.names.index((hit.match, hit.clip))
        for focus in FOCI:
            assert hit.distances[focus] == oracle.distances(11, focus)[place]
        agree = np.flatnonzero(oracle.signs[1][11] == oracle.signs[1][place])
        assert hit.agreeing_bits == agree.tolist()
        assert len(hit.agreeing_bits) == BITS - hit.distance
        for name in set(RECORD.names) - {"match", "clip"}:
            value = oracle.record[name][place]
            assert hit.record[name] == value
    assert json.loads(json.dumps([hit.to_dict() for hit in hits]))[0]["clip"] == hits[0].clip


def test_clips_are_got_by_name(filled):
    index, codes, oracle = filled
    names = [oracle.names[place] for place in (17, 3, 17)]
    stored, records = index.get(names)
    for focus in (0, 3):
        np.testing.assert_array_equal(stored[focus], codes[focus][[17, 3, 17]])
    assert [(record["match"], record["clip"]) for record in records] == names
    by_number = (names[2][0], int(names[2][1]))
    assert index.holds([names[0], ("2", -5), by_number]) == [True, False, True]
    with pytest.raises(NotFound, match="clip 2/-5 is not in the index"):
        index.get([("2", -5)])


def test_hits_as_a_table_of_pandas(filled, tmp_path):
    pandas = pytest.importorskip("pandas")
    index, codes, _ = filled
    for where, count in ((None, 7), ("match = 'nowhere'", 0)):
        (hits,) = index.search(query_of(codes, 2), focus=2, k=7, where=where)
        frame = hits.to_pandas()
        hits.export(tmp_path / "hits.csv")
        read = pandas.read_csv(tmp_path / "hits.csv", dtype={"match": str, "clip": str})
        assert list(frame) == list(read) and len(frame) == count
    (hits,) = index.search(query_of(codes, 2), focus=2, k=7)
    frame = hits.to_pandas()
    assert frame["distance"].tolist() == hits.distances.tolist()
    assert frame["clip"].tolist() == [hit.clip for hit in hits]
    assert frame["rank"].tolist() == list(range(1, 8))
    assert frame["distance_1"].tolist() == [hit.distances[1] for hit in hits]
    assert frame["agreeing_bits"].tolist() == [hit.agreeing_bits for hit in hits]
    assert frame["start"].tolist() == [hit.start for hit in hits]
    assert frame["stop"].tolist() == [hit.record["stop"] for hit in hits] == [h.stop for h in hits]


def test_pandas_is_named_where_it_is_missing(filled, monkeypatch):
    index, codes, _ = filled
    (hits,) = index.search(query_of(codes, 2))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pandas, which is not installed; pip install pandas$"):
        hits.to_pandas()


def test_what_is_shown(filled, tmp_path):
    index, codes, oracle = filled
    assert repr(index) == f"Index({index.uri!r}, {CLIPS} clips, {BITS} bits, foci 0, 1, 2, 3)"
    assert repr(index.info.filter_matrix) == (
        f"FilterMatrix({BITS} bits, binary, for all steps, derives foci 0 to 2 from 3)"
    )
    (hits,) = index.search(query_of(codes, 2), focus=1)
    heading, *lines, rest = repr(hits).splitlines()
    assert (heading, rest, len(lines)) == ("10 hits", "  ...", 5)
    for line, (distance, match, clip) in zip(lines, oracle.search(oracle.distances(2, 1))):
        assert line.split()[:3] == [str(distance), "bits", f"{match}/{clip}"]
    assert repr(hits[0]) == f"Hit({hits[0].match}/{hits[0].clip}, {hits[0].distance:g} bits away)"
    (hits,) = index.search(query_of(codes, 2), k=2)
    assert len(repr(hits).splitlines()) == 3
    (hits,) = index.search(query_of(codes, 2), where="match = 'nowhere'")
    assert repr(hits) == "0 hits"


def test_what_is_shown_of_a_store_that_is_gone(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=[3])
    index.add(np.zeros((1, 2), np.uint8), match="a", clip=1)
    (hits,) = index.search(np.zeros(2, np.uint8))
    shutil.rmtree(tmp_path / "index")
    assert repr(hits).startswith("1 hit\n")
    assert repr(index).startswith("Index(")


def test_exports_say_the_same(filled, tmp_path):
    index, codes, _ = filled
    (hits,) = index.search(query_of(codes, 2), focus=2, k=7)
    for ending in ("csv", "json", "parquet"):
        hits.export(tmp_path / f"hits.{ending}")
    with open(tmp_path / "hits.csv", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = json.loads((tmp_path / "hits.json").read_text())
    from_parquet = pq.read_table(tmp_path / "hits.parquet").to_pylist()
    assert len(from_csv) == len(from_json) == len(from_parquet) == 7
    for rank, (hit, line, one, row) in enumerate(
        zip(hits, from_csv, from_json, from_parquet), start=1
    ):
        assert one == {"rank": rank, **hit.to_dict()}
        assert row["agreeing_bits"] == hit.agreeing_bits
        assert row["distances"] == {str(focus): hit.distances[focus] for focus in FOCI}
        assert (int(line["rank"]), line["match"], line["clip"]) == (rank, hit.match, hit.clip)
        assert float(line["distance_1"]) == hit.distances[1]
        assert [int(bit) for bit in line["agreeing_bits"].split()] == hit.agreeing_bits
    with pytest.raises(UserError, match="hits.xls cannot be written; its name must end in .csv, "):
        hits.export(tmp_path / "hits.xls")
    with pytest.raises(UserError, match="cannot write .*nowhere.*: there is no folder"):
        hits.export(tmp_path / "nowhere" / "hits.csv")
