"""The index: equal to brute force at every focus, with filters and without; what it keeps."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import stvh_jax
from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval.engine import Engine, EngineKind, Snapshot
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
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
def test_a_blend_of_two_foci(filled, focus):
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


FILTERS = {
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


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("focus", [3, 1, 2.5])
def test_filters(filled, text, focus):
    index, codes, oracle = filled
    keep = FILTERS[text](oracle.record)
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


@pytest.fixture
def small(tmp_path):
    """Gives an index of one focus with three clips."""
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(np.eye(3, 2, dtype=np.uint8), match=["a", "a", "b"], clip=[1, 2, 3])
    return index


def names(index):
    (hits,) = index.search(np.zeros((1, 2), np.uint8), k=None, radius=16)
    return sorted(f"{hit.match}/{hit.clip}" for hit in hits)


def test_the_engine_is_one(small):
    assert isinstance(small.engine, Engine)
    assert isinstance(type(small.engine), EngineKind)
    assert isinstance(small.engine.snapshot(), Snapshot)


def test_writes_are_versions(small, tmp_path):
    first = small.version
    small.upsert(np.full((2, 2), 255, np.uint8), match=["a", "c"], clip=[2, 4])
    assert names(small) == ["a/1", "a/2", "b/3", "c/4"]
    assert small.get([("a", 2)])[0][1].tolist() == [[255, 255]]
    assert small.delete("match = 'a'") == 2
    assert len(small) == 2
    assert names(small) == ["b/3", "c/4"]
    assert [entry["clips"] for entry in small.versions()] == [0, 3, 4, 2]
    assert names(Index.open(tmp_path / "index", version=first)) == ["a/1", "a/2", "b/3"]
    small.restore(first)
    small.compact()
    assert names(Index.open(tmp_path / "index")) == names(small) == ["a/1", "a/2", "b/3"]
    assert small.get([("a", 2)])[0][1].tolist() == [[0, 1]]


def test_hits_are_those_of_the_version_searched(small, tmp_path):
    """Hits are read when first asked for, which may be after a write."""
    (hits,) = small.search(np.array([[0, 1]], np.uint8), k=3)
    small.delete("match = 'a'")
    small.add(np.full((5, 2), 255, np.uint8), match=["c"] * 5, clip=range(5))
    small.compact()
    # The clips have the codes 1 0, 0 1 and 0 0.
    assert listed(hits) == [(0, "a", "2"), (1, "b", "3"), (2, "a", "1")]
    assert [hit.distances[1] for hit in hits] == [0, 1, 2]
    assert names(small) == ["b/3", *(f"c/{clip}" for clip in range(5))]


def test_an_interrupted_write_is_seen(small):
    """The store may have the new version when Ctrl-C is raised."""
    with pytest.raises(KeyboardInterrupt), small.engine._writing():
        small.engine._table.delete("clip = '2'")
        raise KeyboardInterrupt
    assert names(small) == ["a/1", "b/3"]
    assert small.get([("b", 3)])[1][0]["clip"] == "3"


def test_an_old_version_is_read_only(small, tmp_path):
    old = Index.open(tmp_path / "index", version=small.version)
    small.delete("clip = '1'")
    with pytest.raises(UserError, match="was opened at version 2; open it without one to write"):
        old.delete("clip = '2'")
    assert names(old) == ["a/1", "a/2", "b/3"]
    old.refresh()
    old.delete("clip = '2'")
    assert names(old) == ["b/3"]


def test_what_is_not_known_is_null(small):
    small.add(
        np.zeros((2, 2), np.uint8),
        match=np.array([7, 7]),
        clip=[1, 2],
        start=[float("nan"), 3.0],
        stop=np.array([np.nan, 4.0]),
        confidence=[None, 0.5],
    )
    assert small.count("start IS NULL AND match = '7'") == 1
    assert small.count("start > 1") == 1
    (record, _) = small.get([("7", 1), ("7", 2)])[1]
    assert (record["start"], record["stop"], record["confidence"]) == (None, None, None)


def test_a_copy_keeps_its_own_derived_codes(tmp_path, monkeypatch):
    """Two copies that went on differently have the same name, and in a bucket one cache."""
    monkeypatch.setattr(
        "stvh_jax.retrieval.lance.derived_codes.cache_folder", lambda uri: tmp_path / "cache"
    )
    matrix = random_matrix()
    index = Index.create(tmp_path / "a", bits=BITS, stored_foci=(3,), filter_matrix=matrix)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for folder, seed in (("a", 1), ("b", 2)):
        codes = random_codes(40, seed=seed)[3]
        index = Index.open(tmp_path / folder)
        index.add(codes, match=["m"] * 40, clip=range(40))
        (hits,) = index.search(codes[:1], focus=1, k=40)
        assert all(hit.distance == hit.distances[1] for hit in hits)


def test_a_reader_keeps_its_version_until_it_refreshes(small, tmp_path):
    reader = Index.open(tmp_path / "index")
    assert names(reader) == ["a/1", "a/2", "b/3"]
    small.delete("match = 'a'")
    assert names(reader) == ["a/1", "a/2", "b/3"]
    reader.refresh()
    assert names(reader) == ["b/3"]


def test_a_clip_that_another_process_added_since(small, tmp_path):
    other = Index.open(tmp_path / "index")
    assert names(other) == ["a/1", "a/2", "b/3"]
    add(small, ["a"], [7])
    with pytest.raises(Exists, match="clip a/7 is in"):
        add(other, ["a"], [7])
    assert names(other) == ["a/1", "a/2", "a/7", "b/3"]


def test_one_writer_at_a_time(small, tmp_path):
    other = Index.open(tmp_path / "index")
    with (
        small.engine._writing(),
        pytest.raises(UserError, match="another process writes to .*index; try again"),
    ):
        other.delete("clip = '1'")
    other.delete("clip = '1'")
    small.add(np.zeros((1, 2), np.uint8), match=["d"], clip=[9])
    assert names(small) == ["a/2", "b/3", "d/9"]


def test_an_empty_index_finds_nothing(tmp_path):
    index = Index.create(
        tmp_path / "index", bits=BITS, stored_foci=(3,), filter_matrix=random_matrix()
    )
    for focus in (3, 1, 0.5):
        (hits,) = index.search(np.zeros(BITS // 8, np.uint8), focus=focus)
        assert len(hits) == hits.ties_at_k == 0
        assert list(hits) == []
    hits.export(tmp_path / "hits.csv")
    assert len(index) == 0


def test_derived_codes_are_kept_on_disk_and_never_stale(tmp_path):
    folder, matrix = tmp_path / "index", random_matrix()
    index = Index.create(folder, bits=BITS, stored_foci=(3,), filter_matrix=matrix)
    codes = random_codes(50)[3]
    index.add(codes, match=["m"] * 50, clip=range(50))
    wanted = index.search(codes[:1], focus=1)[0]
    (cached,) = (folder / "derived").iterdir()
    assert matrix.digest[:16] in cached.name
    # From the cache, read and not made again.
    reader = Index.open(folder)
    reader.info.filter_matrix.derive(codes[:1], 1)
    content = cached.read_bytes()
    assert listed(reader.search(codes[:1], focus=1)[0]) == listed(wanted)
    assert cached.read_bytes() == content
    for damaged in (b"", content[:100], content[:-7], b"x" * len(content)):
        cached.write_bytes(damaged)
        assert listed(Index.open(folder).search(codes[:1], focus=1)[0]) == listed(wanted)
        assert cached.read_bytes() == content
    # After a write the codes are those of the new version, and the old ones are gone.
    index.upsert(codes[:1], match=["m"], clip=[49])
    hits = index.search(codes[:1], focus=1, k=2)[0]
    assert [(hit.distance, hit.clip) for hit in hits] == [(0, "0"), (0, "49")]
    (renewed,) = (folder / "derived").iterdir()
    assert renewed.name != cached.name


MISTAKES = {
    "codes have 40 bits, this index has 16": lambda i: i.search(np.zeros((1, 5), np.uint8)),
    "codes are float32 .*; give packed ones": lambda i: i.search(np.zeros((1, 2), np.float32)),
    "codes of focus 1 are missing": lambda i: i.search({0: np.zeros((1, 2), np.uint8)}),
    "no code to search for": lambda i: i.search(np.zeros((0, 2), np.uint8)),
    "focus 'act' cannot be searched; choose activity": lambda i: find(i, focus="act"),
    "focus 2 cannot be searched": lambda i: find(i, focus=2),
    "focus 1.5 cannot be searched": lambda i: find(i, focus=1.5),
    "focus nan cannot be searched": lambda i: find(i, focus=float("nan")),
    "k = 0; give a whole number of clips": lambda i: find(i, k=0),
    "k = 2.5; give a whole number": lambda i: find(i, k=2.5),
    "k = 3; give a whole number": lambda i: find(i, k="3"),
    "radius = 3; give 0 to 16": lambda i: find(i, radius="3"),
    "radius = nan; give 0 to 16": lambda i: find(i, radius=float("nan")),
    "where 'start > 1; x': ';' has no place in a condition": lambda i: find(
        i, where="start > 1; x"
    ),
    "where 'start > 1 -- x': '--' has no place": lambda i: i.delete("start > 1 -- x"),
    "where .*;.*: ';' has no place": lambda i: i.count("match = 'it''s' ; x"),
    "where 7: give a text": lambda i: find(i, where=7),
    "where 'clip > 7': .* type 'Utf8'": lambda i: i.count("clip > 7"),
    "version 0; they count from 1": lambda i: i.restore(0),
    "has no version 99; the oldest is 1, the newest 2": lambda i: i.restore(99),
    "codes are not an array of bytes": lambda i: i.search([[1, 2], [3]]),
    "'clip' of the clips is not string .*not iterable": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=1
    ),
    "'match' of the clips is not string .*float": lambda i: add(i, [float("nan")], [1]),
    "'match' of the clips is not string .'' is not a name": lambda i: add(i, [""], [1]),
    "'match' of the clips is not string .*surrogates": lambda i: add(i, ["\ud800"], [1]),
    "a clip has '' as its clip, which is not a name": lambda i: add(i, ["a"], np.array([""])),
    "clip 'b/c' has a '/' in its name; only a match's name may": lambda i: add(i, ["a"], ["b/c"]),
    "match and clip are texts or whole numbers .*float": lambda i: i.holds([("a", 2.5)]),
    "give k, how many clips to find, or a radius": lambda i: find(i, k=None),
    "radius = 17; give 0 to 16 bits": lambda i: find(i, radius=17),
    "where \"mach = '13'\": Schema error: No field named mach; the fields are match, clip, ": (
        lambda i: find(i, where="mach = '13'")
    ),
    "where 'match = = 1': Error parsing statement.*": lambda i: find(i, where="match = = 1"),
    "where 'oops': .*": lambda i: i.delete("oops"),
    "where 'oops ': .*": lambda i: i.count("oops "),
    "clip a/2 is in .*index already; upsert replaces": lambda i: add(i, ["a"], [2]),
    "clip d/7 is given twice": lambda i: add(i, ["d", "d"], [7, "7"]),
    "2 values of 'clip' for 1 codes": lambda i: add(i, ["d"], [7, 8]),
    "'clip' of the clips is not string .*float": lambda i: add(i, ["d"], [2.5]),
    "'start' of the clips is not double": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=[1], start=["x"]
    ),
    "a clip has no match; each needs one": lambda i: add(i, [None], [7]),
    "clips need a match, which names them": lambda i: i.add(np.zeros((1, 2), np.uint8), clip=[1]),
    "clips have no field 'activty'; there are match": lambda i: i.add(
        np.zeros((1, 2), np.uint8), match=["d"], clip=[1], activty=["x"]
    ),
    "clips of match a have no times in the index": lambda i: find(
        i, without=[Surroundings("a", seconds=(0, 1))]
    ),
}


def find(index, **options):
    return index.search(np.zeros((1, 2), np.uint8), **options)


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
    with pytest.raises(UserError, match="-1 seconds around the query; give 0 or more"):
        around("3", 7, 0.0, 1.0, exclude_near=-1)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"bits": 12}, "codes of 12 bits; an index stores multiples of 8"),
        ({"stored_foci": ()}, "stored foci .*; name each once, in order"),
        ({"stored_foci": (3, 0)}, "stored foci .*; name each once, in order"),
        ({"stored_foci": (0, 1)}, "stored foci .*0 to 3, and include 3"),
        ({"bits": "16"}, "codes of 16 bits; an index stores multiples of 8"),
        ({"stored_foci": (-1, 3)}, "stored foci .*; name each once, in order, counted from 0"),
        ({"stored_foci": (0, 1.5), "filter_matrix": None}, "stored foci .*, counted from 0"),
        ({"bits": 32}, "the filter matrix is for 24 bits, the codes have 32"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, parts, message, unchecked_shapes):
    given = {"bits": BITS, "stored_foci": (0, 3), "filter_matrix": random_matrix()}
    with pytest.raises(UserError, match=message):
        Index.create(tmp_path / "index", **given | parts)
    assert not (tmp_path / "index").exists()


def test_where_there_is_no_index(tmp_path, small):
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(NotFound, match="holds no index; make one with: python search.py"):
            Index.open(place)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(Exists, match="holds an index already"):
        Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    with pytest.raises(NotFound, match="has no version 99"):
        Index.open(tmp_path / "index", version=99)
    with pytest.raises(NotFound, match="version 0; they count from 1"):
        Index.open(tmp_path / "index", version=0)
    with pytest.raises(UserError, match="an index needs a place"):
        Index.open("")
    assert names(Index.open(f"file://{tmp_path}/index")) == ["a/1", "a/2", "b/3"]
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(UserError, match="cannot write .*index"):
        small.delete("clip = '1'")


def test_a_store_of_something_else(tmp_path):
    import lancedb

    lancedb.connect(tmp_path / "index").create_table("clips", [{"clip": 1}])
    with pytest.raises(Damaged, match="index is a store of something else"):
        Index.open(tmp_path / "index")


@pytest.mark.parametrize("pattern", ["data/*.lance", "_versions/*.manifest"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "removed"])
def test_a_damaged_store(small, tmp_path, pattern, damage):
    for path in (tmp_path / "index" / "clips.lance").glob(pattern):
        content = path.read_bytes()
        if damage == "removed":
            path.unlink()
        else:
            half = content[: len(content) // 2]
            kept = {"cut": half, "emptied": b"", "overwritten": bytes(len(content))}
            path.write_bytes(kept[damage])
    with pytest.raises(
        (Damaged, NotFound), match="index (cannot be read|holds no index|.* or damaged)"
    ) as error:
        names(Index.open(tmp_path / "index"))
    assert "\n" not in str(error.value)


def test_an_index_of_a_later_version(small):
    text = small.info.to_json().replace("stvh index 2", "stvh index 3")
    with pytest.raises(Damaged, match="its format is 'stvh index 3', not stvh index 1, stvh in"):
        IndexInfo.from_json(text, where="here")
    for text in ("", "[]", "{}"):
        with pytest.raises(Damaged, match="here is not an index that this version reads"):
            IndexInfo.from_json(text, where="here")


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
        ("snapshot.natural_numbers", lambda index: names(index)),
        ("snapshot.ClipSnapshot.first_of", lambda index: add(index, ["z"], [1])),
        ("engine.as_stored", lambda index: add(index, ["z"], [1])),
        ("engine.ClipSnapshot.read", lambda index: index.holds([("a", 1)])),
        ("snapshot.read_columns", lambda index: index.search(np.zeros(2, np.uint8), where="1 = 1")),
    ],
)
def test_a_mistake_of_our_own_is_not_made_a_users(small, monkeypatch, kind, place, call):
    """It surfaces as it is, wherever it is made, and the index is as it was."""

    def broken(*arguments, **options):
        raise kind("ours")

    index = Index.open(small.engine.snapshot().uri)
    with monkeypatch.context() as patched:
        patched.setattr(f"stvh_jax.retrieval.lance.{place}", broken)
        with pytest.raises(kind, match="ours"):
            call(index)
    assert names(index) == ["a/1", "a/2", "b/3"]


@pytest.mark.parametrize("missing", ["lancedb", "faiss", "pyarrow"])
def test_the_library_alone_names_what_is_missing(missing):
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import stvh_jax\n"
        "try: stvh_jax.Index.open('index')\n"
        "except stvh_jax.UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == (
        f"an index needs {missing}, which is not installed; pip install 'stvh_jax[search]'\n"
    ), done.stderr
