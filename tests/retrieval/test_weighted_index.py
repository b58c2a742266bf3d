"""An index of codes with bit weights: equal to a loop over clips and bits, at every focus."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from stvh_jax.codes.packing import pack
from stvh_jax.errors import Damaged, Exists, UserError
from stvh_jax.retrieval.asking import ask
from stvh_jax.retrieval.hits_report import hits_table, hits_to_dict
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.surroundings import Surroundings, around
from tests.helpers.indexed_clips import listed, random_record
from tests.helpers.weighted_clips import FOCI, LAYERS, WEIGHTS, Oracle, check

CLIPS = 211


@pytest.fixture(
    scope="module", params=[(name, many) for name in WEIGHTS for many in ("uniform", "tie-heavy")]
)
def filled(request, tmp_path_factory):
    """Gives an index, opened again, the signs of its codes, and its oracle; to be read only."""
    name, many = request.param
    weights, random = WEIGHTS[name], np.random.RandomState(1)
    signs = random.rand(CLIPS, weights.bits) < 0.5
    if many == "tie-heavy":
        signs = signs[random.randint(0, 5, CLIPS)]
    folder, record = tmp_path_factory.mktemp("weighted") / "index", random_record(CLIPS)
    index = Index.create(
        folder, bits=weights.bits, stored_foci=(LAYERS,), bit_weights=weights, origin={"run": "r"}
    )
    index.add({LAYERS: pack(signs)}, **record)
    return Index.open(folder), signs, Oracle(weights, signs, record)


def test_every_focus_is_searched(parts_at_once, filled):
    index, signs, oracle = filled
    assert index.foci == tuple(FOCI) and index.info.stored_foci == (LAYERS,)
    queries = [3, 17]
    for focus in (0, 1, 2, LAYERS, 1.37, 0.01, 2.5):
        expected = [oracle.search([signs[query]], focus) for query in queries]
        for k in (1, 10, 2 * CLIPS):
            found = index.search(pack(signs[queries]), focus=focus, k=k)
            for hits, of_query in zip(found, expected):
                check(hits, of_query, k)


def test_names_and_scales_are_foci(filled):
    index, signs, _ = filled
    query = pack(signs[4])
    for options, focus in [
        ({}, LAYERS),
        ({"focus": "activity"}, LAYERS),
        ({"focus": "visual"}, 0),
        ({"scale": 0}, 0),
        ({"scale": 1}, LAYERS),
        ({"scale": 0.5}, 1.5),
        ({"scale": np.float32(0.25)}, 0.75),
    ]:
        named, numbered = index.search(query, **options)[0], index.search(query, focus=focus)[0]
        assert listed(named) == listed(numbered)


def test_several_queries_are_one(filled):
    index, signs, oracle = filled
    places = [1, 5, 9]
    for focus in (0, 1.37, LAYERS):
        (hits,) = index.search(pack(signs[places]), focus=focus, together=True)
        check(hits, oracle.search(signs[places].tolist(), focus), 10)
    for hit in hits:
        assert hit.distances[LAYERS] == hit.distance


@pytest.mark.parametrize("focus", [0, 1, 2.25, LAYERS])
def test_conditions_and_what_is_left_out(filled, focus):
    index, signs, oracle = filled
    matches = {"2", "it's"}
    name = next(name for name in oracle.signs if name[0] in matches)
    for condition, passes in [
        (None, lambda _: True),
        ("match IN ('2', 'it''s')", lambda name: name[0] in matches),
        ("confidence > 2", lambda _: False),
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
            for _ in range(2):  # the second time from memory
                (hits,) = index.search(
                    pack(signs[6]), focus=focus, where=condition, without=without, k=20
                )
                check(hits, expected, 20)


@pytest.mark.parametrize("focus", [0, 1.37, LAYERS])
def test_within_a_radius(filled, focus):
    index, signs, oracle = filled
    query, expected = pack(signs[8]), oracle.search([signs[8]], focus)
    (everything,) = index.search(query, focus=focus, k=None, radius=index.info.bits)
    check(everything, expected)
    # A distance that was found is a radius that holds it, and what is as near.
    radius = float(everything.distances[20])
    near = [row for row in expected if row[0] <= radius + 1e-6]
    check(index.search(query, focus=focus, k=None, radius=radius)[0], near)
    check(index.search(query, focus=focus, k=3, radius=radius)[0], near, 3)
    nearer = [row for row in expected if row[0] < radius - 1e-6]
    check(index.search(query, focus=focus, k=None, radius=max(0, radius - 1e-6))[0], nearer or near)


def test_a_hit_says_why_it_was_found(filled, tmp_path):
    index, signs, oracle = filled
    (hits,) = index.search(pack(signs[11]), focus=1, k=5)
    for hit in hits:
        other = oracle.signs[hit.match, hit.clip]
        for focus in FOCI:
            expected = oracle.distance(signs[11], other, focus)
            assert hit.distances[focus] == pytest.approx(expected)
        assert hit.distances[1] == hit.distance
        assert hit.agreeing_bits == np.flatnonzero(signs[11] == other).tolist()
    asked = ask(index, Query(*index.get([(hits[0].match, hits[0].clip)])), ranking="hamming")
    table = hits_table(index, asked, hits, focus=1.0).splitlines()
    assert [f"focus {focus}" in table[2] for focus in FOCI] == [True] * 4
    assert table[3].endswith(f"{len(hits[0].agreeing_bits)} of {index.info.bits}")
    values = hits_to_dict(index, asked, hits, focus=1.0)
    assert json.loads(json.dumps(values))["hits"][0]["distances"]["1"] == hits[0].distance
    for ending in ("csv", "json", "parquet"):
        hits.export(tmp_path / f"hits.{ending}")
    with open(tmp_path / "hits.csv", newline="") as file:
        line = next(csv.DictReader(file))
    assert [float(line[f"distance_{focus}"]) for focus in FOCI] == list(hits[0].distances.values())


def test_it_is_written_to(tmp_path):
    weights, random = WEIGHTS["within bytes"], np.random.RandomState(2)
    signs, record = random.rand(40, weights.bits) < 0.5, random_record(40)

    def part(low, high):
        return {name: values[low:high] for name, values in record.items()}

    Index.create(tmp_path / "index", bits=24, stored_foci=[LAYERS], bit_weights=weights).add(
        pack(signs[:30]), **part(0, 30)
    )
    index = Index.open(tmp_path / "index")
    first = index.version
    with pytest.raises(Exists, match="is in .* already"):
        index.add(pack(signs[29:]), **part(29, 40))
    index.add(pack(signs[30:]), **part(30, 40))
    signs[[3, 4]] = ~signs[[3, 4]]
    index.upsert(pack(signs[3:5]), **part(3, 5))
    assert index.delete("match = '9'") == sum(match == "9" for match in record["match"])
    index.compact()
    oracle = Oracle(weights, signs, record)
    expected = oracle.search([signs[7]], 1.37, lambda name: name[0] != "9")
    for opened in (index, Index.open(tmp_path / "index")):
        check(opened.search(pack(signs[7]), focus=1.37, k=50)[0], expected)
    assert len(Index.open(tmp_path / "index", version=first)) == 30
    np.testing.assert_array_equal(index.get([expected[0][1:]])[0][LAYERS], pack(signs[7])[None])


def info(**changes):
    given = {"bits": 32, "stored_foci": (LAYERS,), "filter_matrix": None, "name": "n"}
    return IndexInfo(**given | {"bit_weights": WEIGHTS["whole bytes"]} | changes)


def test_what_it_is_survives_json():
    text = info().to_json()
    again = IndexInfo.from_json(text, where="here")
    np.testing.assert_array_equal(again.bit_weights.weights, WEIGHTS["whole bytes"].weights)
    assert (again.format, again.foci, again.to_json()) == (3, tuple(FOCI), text)
    plain = json.loads(info(bit_weights=None).to_json())
    assert plain["format"] == "stvh index 2" and "bit_weights" not in plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "stvh index 2"}, "format 2 and its bit weights do not go together"),
        ({"bit_weights": None}, "format 3 and its bit weights do not go together"),
        ({"bit_weights": [[1.5] * 32] * 4}, "bit weights are float64"),
        ({"bit_weights": "x"}, "bit weights are"),
        ({"bit_weights": [[32] * 32] * 3}, "bit weights of foci 0 to 2 weigh one code"),
        ({"format": "stvh index 5"}, "its format is 'stvh index 5', not stvh index 1, "),
    ],
)
def test_other_json_is_one_line(changes, words):
    text = json.dumps(json.loads(info().to_json()) | changes)
    with pytest.raises(Damaged, match=words):
        IndexInfo.from_json(text, where="here")


def test_an_earlier_version_refuses_it(monkeypatch):
    """It would search the one code by plain Hamming distance, at focus L alone."""
    monkeypatch.setattr(
        "stvh_jax.retrieval.index_info._FORMATS", {"stvh index 1": 1, "stvh index 2": 2}
    )
    with pytest.raises(Damaged, match="its format is 'stvh index 3', not stvh index 1, stvh"):
        IndexInfo.from_json(info().to_json(), where="here")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": 24}, "the bit weights are for 32 bits, the codes have 24"),
        ({"stored_foci": (0, LAYERS)}, r"stored foci \[0, 3\]; bit weights .* so give \[3\]"),
        ({"stored_foci": (2,)}, r"stored foci \[2\]; bit weights .* so give \[3\]"),
        ({"bit_weights": [[1]]}, "the bit weights are of type list"),
        ({"format": 2}, "format 2 and its bit weights do not go together"),
    ],
)
def test_parts_that_do_not_fit_are_one_line(changes, words, unchecked_shapes):
    with pytest.raises(UserError, match=words):
        info(**changes)


def test_no_focus_is_derived_beside():
    from tests.helpers.indexed_clips import random_matrix

    with pytest.raises(UserError, match="no focus is derived; leave out the filter matrix"):
        info(filter_matrix=random_matrix(bits=32))


def test_what_foci_weigh_has_no_common_divisor():
    weights = WEIGHTS["whole bytes"]  # 24 bits of the activity, then 8 visual ones
    described = info()
    for focus in (0, 1, 1.5, 0.01, 3):
        parts, unit = described.part_weights(described.weights(focus))
        assert math.gcd(unit, *parts.values()) == 1
        total = sum(weight * len(weights.groups[part.group]) for part, weight in parts.items())
        assert total == unit * weights.bits
    assert len(described.part_weights({0: 100})[0]) == 1
    plain = dataclasses.replace(described, bit_weights=None, format=2)
    assert list(plain.part_weights({3: 100})[0].values()) == [1]


MISTAKES = {
    "scale nan; give a number from 0, visual, to 1, activity": {"scale": float("nan")},
    "scale -1; give": {"scale": -1},
    "scale 2; give": {"scale": 2},
    "scale '0.5'; give": {"scale": "0.5"},
    "scale True; give": {"scale": True},
    "scale inf; give": {"scale": math.inf},
    "focus 'visual' and scale 0.5; give one of the two": {"focus": "visual", "scale": 0.5},
    "focus 3.01 cannot be searched; choose activity, visual, or 0, 1, 2, 3": {"focus": 3.01},
    "focus -1 cannot be searched": {"focus": -1},
    "radius = 25; give 0 to 24 bits": {"radius": 25},
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, words, unchecked_shapes):
    index = Index.create(
        tmp_path / "index", bits=24, stored_foci=[LAYERS], bit_weights=WEIGHTS["within bytes"]
    )
    with pytest.raises(UserError, match=words):
        index.search(np.zeros(3, np.uint8), **MISTAKES[words])


def test_foci_with_codes_of_their_own_have_scales_too(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(0, 1, 3))
    codes = np.random.RandomState(0).randint(0, 256, (3, 9, 2)).astype(np.uint8)
    stored = dict(zip((0, 1, 3), codes))
    index.add(stored, match=["m"] * 9, clip=range(9))
    query = {focus: values[2] for focus, values in stored.items()}
    for scale, focus in ((0, 0), (0.1, 0.3), (1 / 3, 1), (1, 3)):
        found, expected = index.search(query, scale=scale), index.search(query, focus=focus)
        assert listed(found[0]) == listed(expected[0])
    with pytest.raises(UserError, match="focus 1.5 cannot be searched; choose .* or 0, 1, 3, or"):
        index.search(query, scale=0.5)
