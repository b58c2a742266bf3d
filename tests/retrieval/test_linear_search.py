"""A search by a weight of each bit: equal to a loop over clips and bits, at every focus."""

import json

import numpy as np
import pytest

from stvh_jax import queries
from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.filter_fitting import fit
from stvh_jax.codes.packing import pack, unpack
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval import asking, saved_query
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.hits_report import hits_table, hits_to_dict
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.surroundings import around
from tests.helpers.indexed_clips import listed, random_record

CLIPS, BITS, LAYERS = 151, 32, 3
NAMES = ("set", "spike", "pass")
RNG = np.random.default_rng(3)
VISUAL = 10
# No activity is read from visual bits, as of a graded code.
KERNEL = RNG.standard_normal((BITS, 3)) * (np.arange(BITS) < BITS - VISUAL)[:, None]
READOUT = Readout(NAMES, KERNEL, RNG.standard_normal(3))
SIGNS = {focus: RNG.random((CLIPS, BITS)) < 0.5 for focus in range(LAYERS + 1)}
H = {focus: RNG.standard_normal(BITS) for focus in SIGNS}
RECORD = random_record(CLIPS)
PLACES = [(match, str(clip)) for match, clip in zip(RECORD["match"], RECORD["clip"])]


@pytest.fixture(scope="module", params=["own", "derived", "weighted"])
def index(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear") / "index"
    stored, other = {LAYERS: pack(SIGNS[LAYERS])}, {}
    if request.param == "weighted":
        other = {"bit_weights": laid_out(bits=BITS, visual_bits=VISUAL, layers=LAYERS)}
    else:
        stored[0] = pack(SIGNS[0])
    if request.param == "derived":
        codes = {focus: pack(signs) for focus, signs in SIGNS.items()}
        other = {"filter_matrix": fit(codes, seed=0)}
    made = Index.create(
        folder, bits=BITS, stored_foci=tuple(sorted(stored)), readout=READOUT, **other,
        origin={"checkpoint": "7-abc"},
    )  # fmt: skip
    made.add(stored, **RECORD)
    return Index.open(folder)


def all_queries(index):
    own, _ = index.get([PLACES[5]])
    others, _ = index.get(PLACES[20:23])
    code = queries.from_codes(own)
    return [
        code,
        queries.from_clip(H),
        queries.by_name("spike"),
        queries.toward_class_of(own),
        code + 0.5 * queries.toward_class_of(own),
        queries.like(others, prior=code),
        queries.like(own, not_like=others) - queries.by_name("set"),
    ]


def by_hand(index, query, focus, keep=lambda name: True):
    """Adds up what the bits weigh that are not on the query's side, clip by clip, bit by bit."""
    info, found = index.info, []
    parts = spaces_of(info, info.weights(focus))
    directions = [np.array(query.direction(space), float) for space, _ in parts.values()]
    stored, _ = index.get(PLACES)
    for row, name in enumerate(PLACES):
        distance = total = 0.0
        for direction, (part, (space, share)) in zip(directions, parts.items()):
            length = sum(w * u * u for w, u in zip(space.bit_weights, direction)) ** 0.5
            bits = unpack(info.codes_of(part.focus, stored))[row]
            for bit, u, weight in zip(bits, direction, space.bit_weights):
                amount = abs(share * weight * u) / (length or 1)
                total += amount
                distance += amount * (bit * u < 0)
        if keep(name):
            found.append((distance / total * BITS, *name))
    found.sort(key=lambda hit: (round(hit[0], 6), natural_key(hit[1]), natural_key(hit[2])))
    return found


@pytest.mark.parametrize("focus", ["activity", "visual", 1, 2.3])
def test_every_kind_is_searched_at_every_focus(index, focus):
    if focus not in ("activity", "visual") and len(index.foci) < LAYERS + 1:
        return
    for query in all_queries(index):
        try:
            (hits,) = index.search(query=query, focus=focus, k=20)
        except UserError as error:  # classes are read from the activity's bits
            assert "says nothing at focus" in str(error) and focus != "activity"
            continue
        expected = by_hand(index, query, focus)
        np.testing.assert_allclose(hits.distances, [row[0] for row in expected[:20]], atol=1e-6)
        # Clips that are almost as far may stand in another order than rounded distances say.
        of_clips = {row[1:]: row[0] for row in expected}
        own = [of_clips[hit.match, hit.clip] for hit in hits]
        np.testing.assert_allclose(hits.distances, own, atol=1e-6)


def test_a_code_is_searched_as_by_its_bits(index):
    own, _ = index.get([PLACES[5]])
    for focus in index.foci:
        (linear,) = index.search(query=queries.from_codes(own), focus=focus, k=CLIPS)
        (plain,) = index.search(own, focus=focus, k=CLIPS)
        assert listed(linear) == listed(plain)
        assert linear.ties_at_k == plain.ties_at_k
        assert linear[3].agreeing_bits == plain[3].agreeing_bits or index.info.bit_weights
        assert linear[3].distances == pytest.approx(plain[3].distances)


def test_conditions_radius_and_what_is_left_out(index):
    query = all_queries(index)[4]
    everything = by_hand(index, query, "activity")
    match, clip = everything[0][1:]
    (hits,) = index.search(query=query, k=5, without=around(match, clip, None, None))
    assert [row[1:] for row in listed(hits)] == [row[1:] for row in everything[1:6]]
    (hits,) = index.search(query=query, k=5, where=f"match <> '{match}'")
    others = by_hand(index, query, "activity", keep=lambda name: name[0] != match)
    assert [row[1:] for row in listed(hits)] == [row[1:] for row in others[:5]]
    radius = float(index.search(query=query, k=12)[0].distances[-1])
    (hits,) = index.search(query=query, k=None, radius=radius)
    assert [row[1:] for row in listed(hits)] == [row[1:] for row in everything[: len(hits)]]
    assert len(hits) >= 12


def test_a_hit_says_why_it_was_found(index):
    (hits,) = index.search(query=queries.by_name("set"), k=3)
    (only,) = [hits[0].distances]
    assert [*only] == ([1, 2, 3] if index.info.bit_weights else [3])
    assert only[3] == pytest.approx(hits[0].distance)
    stored, _ = index.get([(hits[0].match, hits[0].clip)])
    direction = READOUT.direction(READOUT.one_hot("set"))
    same = unpack(stored[LAYERS])[0] * direction > 0
    assert hits[0].agreeing_bits == np.flatnonzero(same).tolist()


def test_an_index_keeps_its_readout(index):
    assert index.info.readout.names == NAMES
    np.testing.assert_array_equal(index.info.readout.kernel, READOUT.kernel)


def clips_of(index, *places, relaxed=None):
    return Query(*index.get([PLACES[place] for place in places]), relaxed=relaxed)


def test_clips_are_ranked_by_class_if_nothing_else_is_said(index):
    asked = asking.ask(index, clips_of(index, 5))
    assert asked.way == "class: Hamming + 0.75 x its class"
    own, _ = index.get([PLACES[5]])
    expected = queries.from_codes(own) + 0.75 * queries.toward_class_of(own)
    hits = asking.search(index, asked, k=7)
    (same,) = index.search(query=expected, k=8)
    assert listed(hits) == [row for row in listed(same) if row[1:] != PLACES[5]][:7]
    relaxed = {focus: h[None] for focus, h in H.items()}
    asked = asking.ask(index, clips_of(index, 5, relaxed=relaxed))
    assert asked.way == "class: asymmetric + 0.75 x its class"
    expected = queries.from_clip(H) + 0.75 * queries.toward_class(READOUT.probabilities(H[LAYERS]))
    (same,) = index.search(query=expected, k=8)
    assert (
        listed(asking.search(index, asked, k=7))
        == [row for row in listed(same) if row[1:] != PLACES[5]][:7]
    )


def test_rankings_are_chosen(index):
    asked = asking.ask(index, clips_of(index, 5), ranking="hamming")
    assert (asked.way, asked.query) == ("hamming", None)
    with pytest.raises(UserError, match="has to be encoded, not looked up"):
        asking.ask(index, clips_of(index, 5), ranking="asymmetric")
    with pytest.raises(UserError, match="ranking 'best'; choose class, asymmetric, hamming"):
        asking.ask(index, clips_of(index, 5), ranking="best")


def test_examples_names_and_clips_make_one_query(index):
    asked = asking.ask(
        index, clips_of(index, 5, 6), activity="spike", liked=PLACES[20:22], not_liked=PLACES[30:31]
    )
    assert asked.title.endswith("spike, 2 liked, 1 not")
    hits = asking.search(index, asked, k=CLIPS)
    found = {row[1:] for row in listed(hits)}
    gone = {PLACES[5], PLACES[6], *PLACES[20:22], PLACES[30]}
    assert found == {*PLACES} - gone
    table = hits_table(index, asked, hits, focus="activity")
    assert f"ranked by {asked.way}" in table.splitlines()[0]
    assert json.loads(json.dumps(hits_to_dict(index, asked, hits, focus="activity")))["title"]


def test_a_query_is_saved_and_taught_further(index, tmp_path):
    first = asking.ask(index, clips_of(index, 5), liked=PLACES[20:22])
    first.saved(index, "activity").save(tmp_path / "query.json")
    loaded = saved_query.load(tmp_path / "query.json")
    again = asking.ask(index, saved=loaded, not_liked=[PLACES[30]])
    at_once = asking.ask(index, clips_of(index, 5), liked=PLACES[20:22], not_liked=[PLACES[30]])
    hits, same = (index.search(query=each.query, k=30)[0] for each in (again, at_once))
    assert listed(hits) == listed(same)
    assert again.liked == tuple(PLACES[20:22]) and again.not_liked == (PLACES[30],)
    with pytest.raises(UserError, match="is liked and not liked; give it once"):
        asking.ask(index, saved=loaded, not_liked=[PLACES[20]])
    plain = asking.ask(index, clips_of(index, 5), ranking="hamming")
    plain.saved(index, 0).save(tmp_path / "plain.json")
    assert saved_query.load(tmp_path / "plain.json").query.name == "Hamming"


def test_a_query_of_another_model_is_refused(index, tmp_path):
    asking.ask(index, activity="set").saved(index, 3).save(tmp_path / "query.json")
    values = json.loads((tmp_path / "query.json").read_text())
    for change, message in (
        ({"checkpoint": "8-other"}, "of checkpoint 8-other, the index of 32 bits of 7-abc"),
        ({"bits": 64}, "of codes of 64 bits"),
        ({"adaptation": 5}, "adapted to other clips"),
    ):
        (tmp_path / "other.json").write_text(json.dumps(values | change))
        with pytest.raises(UserError, match=message):
            asking.ask(index, saved=saved_query.load(tmp_path / "other.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "stvh query 9"}, {"query": {}}, {"bits": "x"}, {"bits": True}, {"title": 3},
        {"liked": "13/9"}, {"liked": [3]}, {"liked": ["x"]}, {"liked": ["/"]},
        {"focus": []}, {"focus": True}, {"checkpoint": 1},
        {"adaptation": None}, {"more": 1}, {"title": "x" * 10_000},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_of_something_else_is_one_line(tmp_path, change, index):
    asking.ask(index, activity="set").saved(index, 3).save(tmp_path / "query.json")
    values = json.loads((tmp_path / "query.json").read_text())
    (tmp_path / "query.json").write_text(json.dumps(values | change))
    with pytest.raises(Damaged) as error:
        saved_query.load(tmp_path / "query.json")
    assert "\n" not in str(error.value) and "query.json" in str(error.value)
    with pytest.raises(NotFound):
        saved_query.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing is asked for"),
        ({"activity": "dance"}, "no activity 'dance'; this index knows set, spike, pass"),
        ({"liked": [("nobody", "1")]}, "clip nobody/1 is not in the index"),
        ({"liked": PLACES[:1], "not_liked": PLACES[:1]}, "is liked and not liked"),
    ],
)
def test_what_makes_no_question_is_refused(index, options, message):
    with pytest.raises(UserError, match=message):
        asking.ask(index, **options)


def test_an_index_without_a_readout_knows_no_names(tmp_path):
    plain = Index.create(tmp_path / "plain", bits=BITS, stored_foci=(LAYERS,))
    plain.add(pack(SIGNS[LAYERS]), **RECORD)
    assert asking.ask(plain, clips_of(plain, 5)).way == "hamming"
    with pytest.raises(UserError, match="does not know activities by name"):
        asking.ask(plain, activity="set")
    with pytest.raises(UserError, match="does not know how activities are read"):
        asking.ask(plain, clips_of(plain, 5), ranking="class")
    with pytest.raises(UserError, match="says nothing at focus"):
        plain.search(query=queries.by_name("set"))


def test_what_is_no_search_is_refused(index):
    own, _ = index.get([PLACES[5]])
    for options, message in (
        ({}, "there is nothing to search for"),
        ({"codes": own, "query": queries.from_codes(own)}, "give one of the two"),
        ({"query": queries.from_codes(np.zeros(8, np.uint8))}, "codes"),
        ({"query": queries.from_clip({LAYERS: np.ones(5)})}, "has 5 weights, the codes 32 bits"),
    ):
        with pytest.raises(UserError, match=message):
            index.search(**options)
