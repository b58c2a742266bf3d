"""Codes with bit weights on a Milvus server: what brute force finds, and an index in a folder."""

import itertools
import threading

import numpy as np
import pytest

from stvh_jax import queries
from stvh_jax.codes.bit_weights import BitWeights, laid_out
from stvh_jax.codes.packing import pack, unpack
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import Exists, UserError
from stvh_jax.retrieval import moments, video_indexing
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.surroundings import Surroundings, around
from stvh_jax.video.footage import open_video
from tests.helpers.indexed_clips import MATCHES, listed, random_record
from tests.helpers.weighted_clips import FOCI, LAYERS, WEIGHTS, Oracle, check

CLIPS = 150
EVERY_FOCUS = [*FOCI, 1.37, 0.01, 2.5]


def readout_of(weights):
    """Reads three activities from the bits that weigh something at the last focus."""
    random = np.random.default_rng(3)
    kernel = random.standard_normal((weights.bits, 3)) * (weights.weights[-1] > 0)[:, None]
    return Readout(("set", "spike", "pass"), kernel, random.standard_normal(3))


def make(uri, weights, **options):
    return Index.create(
        str(uri),
        bits=weights.bits,
        stored_foci=(LAYERS,),
        bit_weights=weights,
        readout=readout_of(weights),
        **{"origin": {"checkpoint": "7-abc"}, **options},
    )


@pytest.fixture(
    scope="module",
    params=[("within bytes", 5), ("many groups", CLIPS)],
    ids=str,
)
def pair(request, milvus, tmp_path_factory):
    """Gives an index in a folder, the same on the server, the signs of its codes, and its oracle.

    All codes are drawn from a number of different ones.
    """
    name, different = request.param
    weights, random = WEIGHTS[name], np.random.RandomState(1)
    signs = (random.rand(different, weights.bits) < 0.5)[random.randint(0, different, CLIPS)]
    record = random_record(CLIPS)
    places = [tmp_path_factory.mktemp("weighted") / "index"]
    places.append(f"{milvus}/weighted_{name.replace(' ', '_')}_{different}")
    for place in places:
        make(place, weights).add(pack(signs), **record)
    here, there = (Index.open(str(place)) for place in places)
    return here, there, signs, Oracle(weights, signs, record)


def told(found):
    return [
        (one.distances.tolist(), one.ties_at_k, [hit.to_dict() for hit in one]) for one in found
    ]


def both(pair, *arguments, **options):
    """Searches both indexes, which find the same; gives what the server found."""
    here, there = (index.search(*arguments, **options) for index in pair[:2])
    assert told(there) == told(here)
    return there


@pytest.mark.parametrize("focus", EVERY_FOCUS)
def test_every_focus_is_searched(pair, focus):
    _, _, signs, oracle = pair
    expected = [oracle.search([signs[query]], focus) for query in (3, 17)]
    for k in (1, 10, 2 * CLIPS):
        for hits, of_query in zip(both(pair, pack(signs[[3, 17]]), focus=focus, k=k), expected):
            check(hits, of_query, k)


@pytest.mark.parametrize("focus", [0, 1, 1.37, LAYERS])
def test_several_clips_are_one_query(pair, focus):
    _, _, signs, oracle = pair
    places = [3, 17, 90]
    (hits,) = both(pair, pack(signs[places]), focus=focus, together=True, k=12)
    check(hits, oracle.search(signs[places].tolist(), focus), 12)


@pytest.mark.parametrize("focus", [0, 2, 2.5, LAYERS])
def test_within_a_radius(pair, focus):
    _, _, signs, oracle = pair
    query, expected = pack(signs[8]), oracle.search([signs[8]], focus)
    (everything,) = both(pair, query, focus=focus, k=CLIPS)
    # A distance that was found is a radius that holds it, and what is as near.
    radius = float(everything.distances[20])
    near = [row for row in expected if row[0] <= radius + 1e-6]
    check(both(pair, query, focus=focus, k=None, radius=radius)[0], near)
    check(both(pair, query, focus=focus, k=3, radius=radius)[0], near, 3)
    scale = focus / LAYERS
    assert told(both(pair, query, scale=scale, k=5)) == told(both(pair, query, focus=focus, k=5))


@pytest.mark.parametrize("focus", [0, 2.25, LAYERS])
def test_conditions_and_what_is_left_out(pair, focus):
    _, _, signs, oracle = pair
    name = next(name for name in oracle.signs if name[0] == "2")
    for condition, passes in [
        ("match IN ('2', 'it''s')", lambda other: other[0] in {"2", "it's"}),
        ("confidence > 2", lambda _: False),
        (None, lambda _: True),
    ]:
        for without, out in [
            ([], lambda _: False),
            (around(*name, None, None), lambda other: other == name),
            ([Surroundings("2")], lambda other: other[0] == "2"),
        ]:
            expected = oracle.search(
                [signs[6]],
                focus,
                lambda each, passes=passes, out=out: passes(each) and not out(each),
            )
            options = {"where": condition, "without": without, "focus": focus, "k": 20}
            check(both(pair, pack(signs[6]), **options)[0], expected, 20)


def test_what_was_found_is_proven(pair, monkeypatch):
    """The server gives few clips at a time, so that most searches ask again."""
    snapshot = pytest.importorskip("stvh_jax.retrieval.milvus.snapshot")
    monkeypatch.setattr(snapshot, "_LIMIT", 64)
    monkeypatch.setattr(snapshot, "_SLACK", 2)
    _, _, signs, oracle = pair
    for focus in EVERY_FOCUS:
        (hits,) = both(pair, pack(signs[11]), focus=focus, k=9)
        check(hits, oracle.search([signs[11]], focus), 9)
    both(pair, pack(signs[:2]), focus=1.5, k=None, radius=5, together=True)


def linear_queries(index):
    own, _ = index.get([clip_of(index, 5)])
    others, _ = index.get([clip_of(index, place) for place in (20, 30, 40)])
    random = np.random.default_rng(5)
    code = queries.from_codes(own)
    return [
        code,
        queries.from_clip({LAYERS: random.standard_normal(index.info.bits)}),
        queries.by_name("spike"),
        code + 0.75 * queries.toward_class_of(own),
        queries.like(own, not_like=others) - queries.by_name("set"),
    ]


def clip_of(index, place):
    record = index.clips().slice(place, 1).to_pylist()[0]
    return record["match"], record["clip"]


@pytest.mark.parametrize("focus", [0, 1, 1.37, LAYERS])
def test_linear_queries_of_few_clips_are_exact(pair, focus):
    here, there = pair[:2]
    options = [{"k": 9}, {"k": 5, "where": "match = '2'"}, {"k": None, "radius": 6}]
    for query, limits in zip(linear_queries(here), itertools.cycle(options)):
        try:
            (expected,) = here.search(query=query, focus=focus, **limits)
        except UserError as error:  # activities are read from bits that weigh nothing here
            with pytest.raises(UserError, match=str(error)):
                there.search(query=query, focus=focus, **limits)
            continue
        (found,) = there.search(query=query, focus=focus, **limits)
        assert listed(found) == listed(expected)
        assert found.distances.tolist() == expected.distances.tolist()
        assert [hit.distances for hit in found[:1]] == [hit.distances for hit in expected[:1]]
        assert found.ties_at_k == expected.ties_at_k


@pytest.mark.parametrize("focus", [0, 1, 2.5, LAYERS])
def test_a_linear_query_ranks_what_is_near_by_signs(pair, focus, monkeypatch):
    """Whatever is among the first by signs, at the foci around it or at the ends, is ranked."""
    snapshot = pytest.importorskip("stvh_jax.retrieval.milvus.snapshot")
    monkeypatch.setattr(snapshot, "_RANKED", 0)
    monkeypatch.setattr(snapshot, "_RANKED_FOR_EACH", 10)
    here, there, _, oracle = pair
    query = linear_queries(here)[1]
    (everything,) = here.search(query=query, focus=focus, k=CLIPS)
    exact = {(hit.match, hit.clip): hit.distance for hit in everything}
    (hits,) = there.search(query=query, focus=focus, k=3)
    assert [hit.distance for hit in hits] == [exact[hit.match, hit.clip] for hit in hits]
    random = np.random.default_rng(5).standard_normal(here.info.bits)
    near = set()
    for row in {int(focus), -int(-focus // 1), 0, LAYERS}:
        by_signs = oracle.search([random > 0], row)
        near |= {row[1:] for row in by_signs if row[0] < by_signs[29][0]}
    best = sorted(exact[name] for name in near)[:3]
    assert all(hit.distance <= distance for hit, distance in zip(hits, best))


def test_its_clips_and_codes_are_the_same(pair, tmp_path):
    here, there, signs, oracle = pair
    assert there.foci == tuple(FOCI) and there.info.stored_foci == (LAYERS,)
    assert there.info.bit_weights.to_json() == here.info.bit_weights.to_json()
    assert len(there) == CLIPS and there.count("match = '2'") == here.count("match = '2'")
    for where in (None, "match = '2' AND confidence > 0.5", "match = 'nowhere'"):
        assert there.clips(where).equals(here.clips(where))
        exported, expected = (each.export_codes(where=where) for each in (there, here))
        assert exported.keys() == expected.keys()
        for name, array in exported.items():
            np.testing.assert_array_equal(array, expected[name])
    names = [*oracle.signs][:7]
    codes, records = there.get(names)
    np.testing.assert_array_equal(unpack(codes[LAYERS]) > 0, signs[:7])
    assert records == here.get(names)[1]
    (hits,) = there.search(pack(signs[4]), focus=1, k=30)
    (expected,) = here.search(pack(signs[4]), focus=1, k=30)
    step = 2.0
    found = [moments.moments_of(each, step=step) for each in (hits, expected)]
    assert [[each.to_dict() for each in one] for one in found[:1]] == [
        [each.to_dict() for each in one] for one in found[1:]
    ]


def test_it_is_written_to(milvus, monkeypatch):
    collection = pytest.importorskip("stvh_jax.retrieval.milvus.collection")
    monkeypatch.setattr(collection, "ROWS", 40)  # several requests a write
    weights, random = WEIGHTS["within bytes"], np.random.RandomState(2)
    signs, record = random.rand(60, weights.bits) < 0.5, random_record(60)

    def part(low, high):
        return {name: values[low:high] for name, values in record.items()}

    make(f"{milvus}/written", weights).add(pack(signs[:50]), **part(0, 50))
    index = Index.open(f"{milvus}/written")
    with pytest.raises(Exists, match="is in .* already"):
        index.add(pack(signs[49:]), **part(49, 60))
    index.add(pack(signs[50:]), **part(50, 60))
    signs[[3, 4]] = ~signs[[3, 4]]
    index.upsert(pack(signs[3:5]), **part(3, 5))
    assert index.delete("match = '9'") == record["match"].count("9")
    index.compact()
    oracle = Oracle(weights, signs, record)
    for focus in (0, 1.37, LAYERS):
        expected = oracle.search([signs[3]], focus, lambda name: name[0] != "9")
        check(index.search(pack(signs[3]), focus=focus, k=50)[0], expected, 50)


def rows(index):
    arrays = index.export_codes()
    return [*zip(index.clips().to_pylist(), arrays["codes"].tolist())]


def test_codes_go_from_folders_to_the_server_and_back(milvus, tmp_path):
    weights, random = WEIGHTS["whole bytes"], np.random.RandomState(4)
    one, two = (make(tmp_path / name, weights) for name in ("one", "two"))
    for index, matches in ((one, MATCHES[:2]), (two, MATCHES[2:])):
        for match in matches:
            codes = random.randint(0, 256, (9, weights.bits // 8)).astype(np.uint8)
            index.add(codes, match=match, clip=range(9), start=range(9), media=f"/{match}.mp4")
    there = make(f"{milvus}/joined", weights)
    assert [there.add_from(each) for each in (one, two, one)] == [18, 27, 0]
    back = make(tmp_path / "back", weights)
    assert back.add_from(there) == 45
    assert rows(there) == rows(back)
    assert sorted(map(str, rows(there))) == sorted(map(str, rows(one) + rows(two)))
    there.export_codes(tmp_path / "codes.parquet")
    target = make(f"{milvus}/imported", weights)
    assert target.import_codes(tmp_path / "codes.parquet") == 45
    assert rows(target) == rows(there)


def test_visual_bits_are_not_adapted_there(milvus, tmp_path):
    weights, random = laid_out(bits=24, visual_bits=8, layers=LAYERS), np.random.RandomState(0)
    embedded = random.randn(20, 30)
    codes, clips = random.randint(0, 256, (20, 3)).astype(np.uint8), [str(n) for n in range(20)]
    here, there = make(tmp_path / "here", weights), make(f"{milvus}/unadapted", weights)
    for index in (here, there):
        index.add(codes, match="m", clip=clips)
    assert there.adaptation is None
    with pytest.raises(UserError, match="on a Milvus server cannot be adapted; adapt one in a fol"):
        there.adapt(embedded, match="m", clip=clips)
    here.adapt(embedded, match="m", clip=clips)
    with pytest.raises(UserError, match=r"cannot be added to .*: its adaptation is \d+, not 0"):
        there.add_from(here)
    here.export_codes(tmp_path / "codes.npz")
    with pytest.raises(UserError, match="has visual bits of another adaptation than this index"):
        there.import_codes(tmp_path / "codes.npz", match="n")


def test_weights_that_need_more_bits_than_a_server_takes():
    pytest.importorskip("pymilvus")
    rows = np.full((LAYERS + 1, 8), 12_506)
    rows[1] = [100_006, 1, 2, 3, 5, 7, 11, 13]
    weights = BitWeights(rows)
    with pytest.raises(UserError, match="makes 100048 bits of 8 here; it may make 32768: make the"):
        make("http://localhost:1/clips", weights)


def test_a_collection_whose_making_was_cut_short_is_opened(milvus, monkeypatch):
    collection = pytest.importorskip("stvh_jax.retrieval.milvus.collection")
    weights = WEIGHTS["whole bytes"]
    with monkeypatch.context() as patched:
        patched.setattr(collection, "_load", lambda *_: None)
        make(f"{milvus}/cut_short", weights)
    with pytest.raises(Exists, match="holds a collection already"):
        make(f"{milvus}/cut_short", weights)
    index = Index.open(f"{milvus}/cut_short")
    index.add(np.zeros((1, 4), np.uint8), match="m", clip="1")
    assert [hit.clip for hit in index.search(np.zeros(4, np.uint8))[0]] == ["1"]


def test_jobs_fill_one_collection_and_a_video_is_moved(milvus, graded, tmp_path):
    from stvh_jax.inference.encoder import load
    from tests.helpers.filmed import film, opened

    encoder, cutting = load(graded), video_indexing.Cutting(every=0.4)
    videos = [film(tmp_path, name, seed=seed) for seed, name in enumerate(["a", "b"])]
    archives = [video_indexing.Archive(graded, encoder, f"{milvus}/jobs", cutting) for _ in videos]
    failed = []

    def work(archive, path):
        try:
            video, tracks = opened(path)
            footage = video_indexing.Footage(video, tracks, path.stem, keep=True)
            video_indexing.index_video(archive, footage, cutting)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=each) for each in zip(archives, videos)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    index = Index.open(f"{milvus}/jobs")
    clips = index.clips()
    assert sorted(set(clips["match"].to_pylist())) == ["a", "b"] and len(clips) == 20
    (tmp_path / "new").mkdir()
    path = videos[0].rename(tmp_path / "new" / "a.mp4")
    _, tracks = opened(videos[1])
    footage = video_indexing.Footage(open_video(path), tracks, "a")
    done = video_indexing.index_video(archives[1], footage, cutting)
    assert (done.added, done.held) == (0, 10)
    assert set(index.clips("match = 'a'")["media"].to_pylist()) == {str(path)}
    assert index.clips("match = 'b'").equals(clips.slice(10)) and len(index) == 20
