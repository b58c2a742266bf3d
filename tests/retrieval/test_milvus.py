"""An index on a Milvus server finds what one on disk finds; conditions mean what SQL's mean."""

import socket

import numpy as np
import pytest

from stvh_jax import queries
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.packing import unpack
from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.retrieval.engine import Engine, EngineKind, Snapshot
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.milvus.where import translate
from stvh_jax.retrieval.record import RECORD_1
from stvh_jax.retrieval.surroundings import around

BITS, LAYERS = 32, 3


def test_conditions_are_translated():
    """Clips are numbers here, as in indexes that were written before clips had names."""
    null = "-1.7014118346046923e+38"
    for where, expected in {
        "match = '13'": 'match == "13"',
        "MATCH == '13' and clip <> -5": '(match == "13" and clip != -5)',
        "60 > clip": "clip < 60",
        "clip<=1 OR clip >2 AND clip< 3": "(clip <= 1 or (clip > 2 and clip < 3))",
        "(clip = 1 or clip = 2) and clip = 3": "((clip == 1 or clip == 2) and clip == 3)",
        "start >= 60": f"(start != {null} and start >= 60.0)",
        "NOT start >= 6e1": f"(start != {null} and start < 60.0)",
        "not not clip = 1": "clip == 1",
        "clip=1 OR clip=2 OR clip=3 OR clip=4": (
            "((clip == 1 or clip == 2) or (clip == 3 or clip == 4))"
        ),
        "NOT (clip = 1 AND match IN ('a', 'b'))": '(clip != 1 or match not in ["a", "b"])',
        "clip not in (1,2)": "clip not in [1, 2]",
        "activity IS NULL": 'activity == ""',
        "NOT activity IS NULL": 'activity != ""',
        "match IS NULL": "clip != clip",
        "activity != 'x'": '(activity != "" and activity != "x")',
        "match = 'it''s \"\\'": 'match == "it\'s \\"\\\\"',
        "confidence > .3": f"(confidence != {null} and confidence > 0.3)",
    }.items():
        assert translate(where, RECORD_1) == expected
    assert translate("clip = '7'") == 'clip == "7"'


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("mach = '13'", "no field 'mach'; the fields are match, clip, start"),
        ("match = 13", "write it as '13'"),
        ("clip = '13'", "write '13' without quotes"),
        ("clip = 1.5", "whole number of 64 bits, 1.5 is not"),
        ("clip = 99999999999999999999", "9 is not"),
        ("start > 1e999", "too large"),
        ("activity = NULL", "write activity IS NULL"),
        ("match LIKE '1%'", "\"match LIKE '1%'\" is not allowed in a condition on Milvus"),
        ("match = '13", "a quote in it is not closed"),
        ("clip @ 3", "'@' is not allowed in a condition"),
        ("clip = 12abc", "'abc' is not understood there"),
        ("clip = 1 clip = 2", "'clip' is not understood there; is AND or OR missing"),
        ("clip = 1 and", "a value or a condition is missing after 'and'"),
        ("(clip = 1", r"\) is missing after '1'"),
        ("clip in 1", "'clip IN 1' is not allowed in a condition"),
        ("clip", "comparison .* is missing at 'clip'"),
        ("clip =", "a value or a condition is missing after '='"),
        ("", "it is empty"),
    ],
)
def test_conditions_that_cannot_be_read(where, message):
    with pytest.raises(UserError, match=message) as error:
        translate(where, RECORD_1)
    assert str(error.value).startswith(f"where {where!r}: ")


def test_clips_are_texts():
    with pytest.raises(UserError, match="clip is a text; write it as '7'"):
        translate("clip < 7")


def matrix():
    factors = np.random.default_rng(1).choice([-1, 1], (1, BITS, BITS))
    return FilterMatrix(factors, layers=LAYERS)


def some_clips(kind: str, count: int = 1200):
    """Gives codes of foci 1 and 3 and records of clips; `alike` ones have one of six codes."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (2, count if kind == "random" else 6, BITS // 8), np.uint8)
    if kind == "alike":
        codes = codes[:, random.integers(0, 6, count)]
    matches = ["2", "10", "1", "it's", 'a "b" \\ c/d', "Bühne {x}"]
    places = random.permutation(count)
    record = {
        "match": [matches[place % 6] for place in places],
        "clip": [("", "seq")[place // 6 % 2] + str(place // 6) for place in places.tolist()],
        "start": [None if place % 6 == 3 else place / 60 for place in places],
        "stop": [None if place % 6 == 3 else place / 60 + 4 for place in places],
        "activity": [[None, "l_set", "l-pass"][place % 3] for place in places],
        "confidence": [None if place % 4 == 0 else place % 10 / 10 for place in places],
        "media": [f"{place}.mp4" for place in places],
    }
    return {1: codes[0], 3: codes[1]}, record


def both(server, folder, name, stored_foci):
    """Makes an empty index on disk and the same on the server."""
    options = {"bits": BITS, "stored_foci": stored_foci, "filter_matrix": matrix()}
    origin = {"run": "runs/1", "split": "test"}
    return [
        Index.create(uri, **options, origin=origin)
        for uri in (str(folder / name), f"{server}/{name}")
    ]


@pytest.fixture(scope="module", params=["random", "alike"])
def pair(request, milvus, tmp_path_factory):
    """Gives an index on disk and the same on the server, of random codes or of few."""
    folder = tmp_path_factory.mktemp("index")
    indexes = both(milvus, folder, request.param, (3,) if request.param == "random" else (1, 3))
    codes, record = some_clips(request.param)
    for index in indexes:
        index.add(codes, **record)
    # Opened anew, by nothing but its address.
    return [
        Index.open(str(folder / request.param)),
        Index.open(f"{milvus}/{request.param}"),
    ]


def queries_of(count=3):
    random = np.random.default_rng(7)
    return {focus: random.integers(0, 256, (count, BITS // 8), np.uint8) for focus in (1, 3)}


def found(index, codes, **options):
    return [
        (one.distances.tolist(), one.ties_at_k, [hit.to_dict() for hit in one])
        for one in index.search(codes, **options)
    ]


def check_same(pair, codes, **options):
    on_disk, on_server = (found(index, codes, **options) for index in pair)
    assert on_server == on_disk
    return on_disk


def test_the_index_describes_itself(pair):
    on_disk, on_server = pair
    assert isinstance(on_server.engine, Engine) and isinstance(type(on_server.engine), EngineKind)
    assert isinstance(on_server.engine.snapshot(), Snapshot)
    assert len(on_server) == len(on_disk) == 1200
    assert on_server.foci == (0, 1, 2, 3)
    assert on_server.info.origin == {"run": "runs/1", "split": "test"}
    assert on_server.info.filter_matrix.digest == matrix().digest


@pytest.mark.parametrize("where", [None, "match = '2' AND start >= 100", "match = 'nowhere'"])
def test_its_clips_and_codes_are_the_same(pair, where):
    on_disk, on_server = pair
    assert on_server.clips(where).equals(on_disk.clips(where))
    for focus in (None, 2):
        exported, expected = (index.export_codes(focus=focus, where=where) for index in pair)
        assert exported.keys() == expected.keys()
        for name, array in exported.items():
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("focus", ["visual", 1, 2, "activity", 2.3])
def test_hits_are_those_of_the_index_on_disk(pair, focus):
    hits = check_same(pair, queries_of(), focus=focus, k=20)
    assert [len(records) for _, _, records in hits] == [20] * 3
    check_same(pair, queries_of(1), focus=focus, k=1)


def test_hits_are_those_of_brute_force(pair):
    index, query = pair[1], queries_of(1)
    codes, record = some_clips("random" if index.info.stored_foci == (3,) else "alike")
    signs, asked = (
        {focus: unpack(array) for focus, array in index.info.all_codes(each).items()}
        for each in (codes, query)
    )
    distances = {focus: (signs[focus] != asked[focus]).sum(axis=1) for focus in index.foci}
    names = list(zip(record["match"], record["clip"]))
    order = ["1", "2", "10", "Bühne {x}", 'a "b" \\ c/d', "it's"]

    def place_of(clip):
        return clip.startswith("seq"), int(clip.removeprefix("seq"))

    for focus, wanted in ((0, distances[0]), (2.3, 0.7 * distances[2] + 0.3 * distances[3])):
        wanted = wanted.round(6)
        nearest = sorted(
            range(len(names)),
            key=lambda place: (
                wanted[place],
                order.index(names[place][0]),
                place_of(names[place][1]),
            ),
        )[:15]
        (hits,) = index.search(query, focus=focus, k=15)
        assert [(hit.match, hit.clip) for hit in hits] == [names[place] for place in nearest]
        np.testing.assert_allclose(hits.distances, wanted[nearest])
        assert hits.ties_at_k == (wanted == wanted[nearest[-1]]).sum()
        for hit, place in zip(hits, nearest):
            assert hit.distances == {each: distances[each][place] for each in index.foci}


@pytest.mark.parametrize(
    "options",
    [
        {"together": True, "k": 20},
        {"together": True, "focus": 1.5, "k": 5},
        {"radius": 12, "k": None},
        {"radius": 12, "k": 7},
        {"radius": 12.5, "k": None, "focus": 2.3},
        {"radius": 12, "k": None, "together": True},
        {"radius": 0, "k": 3},
        {"k": 5000, "where": "clip < '50'"},
    ],
)
def test_options_mean_the_same(pair, options):
    check_same(pair, queries_of(), **options)


@pytest.mark.parametrize(
    "where",
    [
        "match = '10' AND start >= 20",
        "match = 'it''s'",
        "match IN ('a \"b\" \\ c/d', 'Bühne {x}')",
        "activity = 'l_set' OR confidence > 0.3",
        "NOT (activity = 'l_set' OR confidence > 0.3)",
        "activity <> 'l-pass'",
        "activity IS NULL AND NOT clip IN ('2', 'seq1', '3')",
        "start IS NOT NULL AND confidence = 0.7 AND match > '1'",
        "predicted IS NULL AND match IS NOT NULL AND '50' > clip",
        "match IS NULL",
        " OR ".join(f"clip = '{clip}'" for clip in range(0, 200, 2)),
    ],
)
def test_conditions_mean_the_same(pair, where):
    check_same(pair, queries_of(1), where=where, focus=2, k=30)
    assert pair[0].count(where) == pair[1].count(where)


@pytest.mark.parametrize(
    ("clips", "near", "options"),
    [
        ([("2", "seq7")], {}, {}),
        ([("2", "seq7"), ("10", "seq3")], {}, {"focus": 1.2}),
        ([("2", "seq7")], {"exclude_match": True}, {}),
        ([("2", 10 * clip) for clip in range(15)], {}, {}),
        ([("2", "seq7"), ("1", 100)], {"exclude_near": 3.0}, {"where": "clip > '5'"}),
    ],
)
def test_clips_like_those_of_the_index(pair, clips, near, options):
    codes, records = pair[1].get(clips)
    expected_codes, expected = pair[0].get(clips)
    assert records == expected
    for focus in expected_codes:
        np.testing.assert_array_equal(codes[focus], expected_codes[focus])
    without = []
    for record in records:
        place = [record[name] for name in ("match", "clip", "start", "stop")]
        without += around(*place, **near)
    check_same(pair, codes, together=True, without=without, **options)


def test_linear_queries_rank_what_has_most_of_their_signs(pair):
    """All clips of the small index are ranked, so that the answer is that of the index on disk."""
    weights = np.random.default_rng(8).standard_normal((LAYERS + 1, BITS))
    query = queries.from_clip(dict(enumerate(weights)))
    for focus in (0, 0.5, LAYERS):
        for options in ({"k": 7}, {"k": 5, "where": "match = '2'"}, {"k": None, "radius": 12}):
            there, here = (index.search(query=query, focus=focus, **options)[0] for index in pair)
            assert [(hit.match, hit.clip) for hit in there] == [
                (hit.match, hit.clip) for hit in here
            ]
            np.testing.assert_allclose(there.distances, here.distances)


def test_what_the_server_leaves_out_is_asked_for_in_parts(pair, monkeypatch):
    snapshot = pytest.importorskip("stvh_jax.retrieval.milvus.snapshot")
    monkeypatch.setattr(snapshot, "_LIMIT", 128)
    monkeypatch.setattr(snapshot, "_SLACK", 8)
    for options in ({"k": 10}, {"k": None, "radius": 8}, {"k": 5, "focus": 1.5}):
        check_same(pair, queries_of(1), **options)
    monkeypatch.setattr(snapshot, "PARTS", 1)
    with pytest.raises(UserError, match="the nearest 128 clips are not enough to be sure"):
        pair[1].search(queries_of(1), k=1000)


def test_writes_are_seen_at_once_and_whole(milvus, tmp_path, monkeypatch):
    collection = pytest.importorskip("stvh_jax.retrieval.milvus.collection")
    pair = both(milvus, tmp_path, "writes", (3,))
    # Several requests a write.
    monkeypatch.setattr(collection, "ROWS", 200)
    monkeypatch.setattr(collection, "_NAMES", 60)
    codes, record = some_clips("random", 240)
    later = {3: codes[3][::-1].copy()}
    for index in pair:
        assert list(index.search(queries_of(1))[0]) == []
        index.add(codes, **record)
        assert len(index) == 240
        with pytest.raises(Exists, match=r"clip 2/\S+ is in .* already"):
            index.add(codes[3][::6], **{name: values[::6] for name, values in record.items()})
        assert len(index.clips()) == 240
    assert pair[1].clips().equals(pair[0].clips())
    check_same(pair, queries_of(), focus=1)
    for index in pair:
        index.upsert(later, **record)
        assert len(index) == 240
    check_same(pair, queries_of(), focus=1)
    doomed = sum(
        match == "2" or (confidence is not None and confidence < 0.5)
        for match, confidence in zip(record["match"], record["confidence"])
    )
    where = "match = '2' OR confidence < 0.5"
    assert [index.delete(where) for index in pair] == [doomed, doomed]
    check_same(pair, queries_of(), focus=2, k=500)
    assert [index.delete("match = '2'") for index in pair] == [0, 0]
    pair[1].compact()
    pair[1].refresh()
    check_same(pair, queries_of(), focus=2.5, k=50)
    hit = pair[1].search(queries_of(1))[0][0]
    snapshot = pair[1].engine.snapshot()
    (row,) = snapshot.find([(hit.match, hit.clip)])
    assert pair[1].delete("clip >= '0'") == 240 - doomed
    with pytest.raises(NotFound, match="was deleted from .* after it was found"):
        snapshot.records(np.array([row]))


def test_what_milvus_cannot_do(pair, milvus):
    index = pair[1]
    name = "random" if index.info.stored_foci == (3,) else "alike"
    assert index.version is None
    for call in (
        index.versions,
        lambda: index.restore(1),
        lambda: Index.open(f"{milvus}/{name}", version=1),
    ):
        with pytest.raises(UserError, match="Milvus keeps no versions"):
            call()
    with pytest.raises(Exists, match="holds a collection already"):
        Index.create(f"{milvus}/{name}", bits=BITS, stored_foci=(1,))
    with pytest.raises(UserError, match="codes have 16 bits, this index has 32"):
        index.search({focus: array[:, :2] for focus, array in queries_of().items()})
    with pytest.raises(UserError, match="no field 'mach'"):
        index.delete("mach = '2'")
    assert index.holds([("2", 0), ("2", 99999)]) == [True, False]
    with pytest.raises(NotFound, match="clip 2/99999 is not in the index"):
        index.get([("2", 99999)])
    with pytest.raises(UserError, match="clips of match it's have no times"):
        index.search(queries_of(1), without=around("it's", None, 0.0, 1.0, exclude_near=0))
    with pytest.raises(UserError, match="'media' of a clip has 2000 bytes"):
        index.upsert(queries_of(1), match=["1"], clip=[1], media=["x" * 2000])


def test_other_places(milvus):
    import pymilvus

    client = pymilvus.MilvusClient(uri=milvus)
    client.create_collection("others", dimension=8)
    with pytest.raises(Damaged, match="is a collection, but not an index"):
        Index.open(f"{milvus}/others")
    with pytest.raises(NotFound, match="nothing holds no index; make one with"):
        Index.open(f"{milvus}/nothing")
    with pytest.raises(UserError, match="give http://HOST:PORT/COLLECTION"):
        Index.open(f"{milvus}/no-name")


def test_a_server_that_does_not_answer(monkeypatch):
    collection = pytest.importorskip("stvh_jax.retrieval.milvus.collection")
    monkeypatch.setattr(collection, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Milvus server answers at {address}"):
            Index.open(f"{address}/clips")
    with pytest.raises(UserError, match=f"no Milvus server answers at {address}"):
        Index.create(f"{address}/clips", bits=BITS, stored_foci=(1,))
