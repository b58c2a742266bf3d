"""Linear queries: their directions against loops over bits, their sums, and their plain values."""

import json

import numpy as np
import pytest

from stvh_jax import queries
from stvh_jax.codes import query_json, query_kinds
from stvh_jax.codes.linear_query import CodeSpace, weighted_code
from stvh_jax.codes.packing import pack
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import UserError

BITS, NAMES = 16, ("set", "spike", "pass")
RNG = np.random.default_rng(0)
# In 64 bits, of numbers that 32 bits hold.
KERNEL, BIAS = (RNG.standard_normal(shape).astype("f4").astype("f8") for shape in ((BITS, 3), 3))
SIGNS = np.where(RNG.random((8, BITS)) < 0.5, -1, 1)
CODES = pack(SIGNS)
WEIGHTS = {
    "all alike": np.ones(BITS),
    "some nothing": np.repeat([0.0, 3.0], BITS // 2),
    "each its own": RNG.random(BITS),
}


@pytest.fixture(params=list(WEIGHTS))
def space(request):
    return CodeSpace(
        focus=3,
        bit_weights=WEIGHTS[request.param],
        readout=Readout(NAMES, KERNEL, BIAS),
        codes_of=lambda codes: codes[3] if isinstance(codes, dict) else codes,
    )


def unit(direction, space):
    """Gives a direction the length of one, bit by bit."""
    square = sum(w * u * u for w, u in zip(space.bit_weights, direction))
    return np.array(direction) / square**0.5


def test_a_code_is_its_signs(space):
    for codes in (CODES[2], CODES[2:3], {3: CODES[2]}, {3: CODES[2:3], 1: CODES[:1]}):
        np.testing.assert_array_equal(queries.from_codes(codes).direction(space), SIGNS[2])


def test_a_clip_is_what_the_network_said(space):
    h = RNG.standard_normal(BITS)
    np.testing.assert_array_equal(queries.from_clip({3: h[None], 0: h}).direction(space), h)
    with pytest.raises(UserError, match="says nothing of focus 3"):
        queries.from_clip({2: h}).direction(space)


def test_classes_are_directions(space):
    middle = [sum(KERNEL[k]) / 3 for k in range(BITS)]
    columns = np.array([[KERNEL[k, g] - middle[k] for k in range(BITS)] for g in range(3)])
    found = queries.by_name("pass").direction(space)
    np.testing.assert_allclose(found, columns[2], rtol=1e-6)
    shares = np.array([0.5, 0.2, 0.3])
    found = queries.toward_class(shares[None]).direction(space)
    np.testing.assert_allclose(found, shares @ columns, rtol=1e-6)
    scores = [sum(SIGNS[4, k] * KERNEL[k, g] for k in range(BITS)) + BIAS[g] for g in range(3)]
    powers = np.exp(scores) / np.exp(scores).sum()
    found = queries.toward_class_of(CODES[4]).direction(space)
    np.testing.assert_allclose(found, powers @ columns, rtol=1e-5)


def test_no_class_is_read_from_other_codes(space):
    other = CodeSpace(1, space.bit_weights, None, space.codes_of)
    for query in (queries.by_name("set"), queries.toward_class([1, 0, 0])):
        assert not query.direction(other).any()
        with pytest.raises(UserError, match="says nothing at focus 1; choose another focus"):
            weighted_code(query, [(other, 1)], where="focus 1")
    both = queries.from_codes(CODES[0]) + queries.by_name("set")
    found = weighted_code(both, [(other, 1)], where="focus 1")
    weighs = space.bit_weights > 0
    np.testing.assert_array_equal(np.unpackbits(found.code)[weighs], SIGNS[0][weighs] > 0)


def test_summands_have_the_length_of_their_factors(space):
    first, second = queries.from_codes(CODES[0]), queries.by_name("spike")
    third = queries.from_clip({3: 100 * RNG.standard_normal(BITS)})
    total = first + 0.5 * second - 2 * third
    expected = (
        unit(first.direction(space), space)
        + 0.5 * unit(second.direction(space), space)
        - 2 * unit(third.direction(space), space)
    )
    np.testing.assert_allclose(total.direction(space), expected)
    np.testing.assert_allclose((2 * (first + second) * 3).direction(space)[:3],
                               (6 * first + 6 * second).direction(space)[:3])  # fmt: skip
    assert total.name == "Hamming + 0.5 x spike + -2 x asymmetric"
    assert repr(total) == f"<query {total.name}>"


def loss_of(v, space, liked, not_liked, prior):
    """Computes what examples minimise, example by example, in coordinates of equal weights."""
    total = sum((a - b) ** 2 for a, b in zip(v, prior)) / (2 * query_kinds._FREEDOM)
    for rows, y in ((liked, 1), (not_liked, -1)):
        for row in rows:
            x = np.sqrt(space.bit_weights) * row
            x /= sum(x**2) ** 0.5
            total += np.log(1 + np.exp(-y * sum(a * b for a, b in zip(v, x)))) / len(rows)
    return total


@pytest.mark.parametrize("with_prior", [False, True])
def test_examples_are_a_regression(space, with_prior):
    prior = queries.from_codes(CODES[7]) if with_prior else None
    query = queries.like(CODES[:3], not_like=CODES[3:5], prior=prior)
    root = np.sqrt(space.bit_weights)
    start = np.zeros(BITS)
    if with_prior:
        start = root * unit(SIGNS[7], space)
    best = root * query.direction(space)
    least = loss_of(best, space, SIGNS[:3], SIGNS[3:5], start)
    for _ in range(50):
        step = 0.1 * RNG.standard_normal(BITS) * (root > 0)
        assert least <= loss_of(best + step, space, SIGNS[:3], SIGNS[3:5], start) + 1e-6
    # It does what it is for: the liked are nearer than the others.
    scores = SIGNS @ (space.bit_weights * query.direction(space))
    assert scores[:3].min() > scores[3:5].max() or not with_prior


def test_examples_are_added_to_those_before(space):
    first = queries.like(CODES[:2], not_like=CODES[5:6])
    more = first.with_more(CODES[2:4], CODES[6:7])
    at_once = queries.like(CODES[:4], not_like=CODES[5:7])
    np.testing.assert_allclose(more.direction(space), at_once.direction(space))
    with pytest.raises(UserError, match="of other foci or bits"):
        first.with_more({3: CODES[:1]}, {3: CODES[:0]})


def test_whole_numbers_stay_whole():
    spaces = [(CodeSpace(f, np.full(BITS, 2.0), None, lambda c: c), share) for f, share in
              ((1, 30), (2, 70))]  # fmt: skip
    found = weighted_code(queries.from_codes(CODES[1]), spaces, where="focus 1.7")
    np.testing.assert_array_equal(found.weights, np.repeat([60, 140], BITS))
    np.testing.assert_array_equal(found.code, np.tile(CODES[1], 2))


def test_weights_are_rounded_to_a_sum(space):
    query = queries.from_clip({3: RNG.standard_normal(BITS)})
    found = weighted_code(query, [(space, 1)], where="focus 3")
    exact = space.bit_weights * query.direction(space)
    assert abs(found.weights.sum() - 2**30) < BITS
    np.testing.assert_allclose(found.signed / 2**30, exact / np.abs(exact).sum(), atol=1e-9)


QUERIES = [
    queries.from_codes(CODES[0]),
    queries.from_codes({3: CODES[0], 1: CODES[1]}),
    queries.from_clip({3: RNG.standard_normal(BITS), 0: np.ones(BITS)}),
    queries.toward_class([0.1, 0.9, 0]),
    queries.toward_class_of(CODES[3]),
    queries.by_name("spike"),
    queries.like(CODES[:3], not_like=CODES[4:5], prior=queries.by_name("set")),
    queries.like({3: CODES[:2]}),
    queries.like(CODES[:0], not_like=CODES[:1]),
    queries.from_codes(CODES[0]) + 0.5 * queries.by_name("set") - queries.from_codes(CODES[1]),
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_queries_are_written_and_read(query, space):
    text = json.dumps(query_json.to_json(query))
    again = query_json.from_json(json.loads(text))
    assert again.name == query.name
    np.testing.assert_array_equal(again.direction(space), query.direction(space))
    assert json.dumps(query_json.to_json(again)) == text


def deep(levels):
    query = {"kind": "activity", "activity": "set"}
    for _ in range(levels):
        query = {"kind": "sum", "terms": [[1, query]]}
    return query


@pytest.mark.parametrize(
    "values",
    [
        None, 3, [], {}, {"kind": "x"}, {"kind": ["codes"]}, {"kind": "codes"}, deep(40),
        {"kind": "codes", "codes": "zz"}, {"kind": "codes", "codes": {}},
        {"kind": "codes", "codes": ["2", "00"]}, {"kind": "codes", "codes": {"a": "00"}},
        {"kind": "clip", "relaxed": {"3": [1, "x"]}}, {"kind": "clip", "relaxed": {"3": [1e999]}},
        {"kind": "clip", "relaxed": {"3": []}}, {"kind": "clip", "relaxed": {}},
        {"kind": "class", "probabilities": [-1, 2]},
        {"kind": "class", "probabilities": [[1, 2], [1, 2]]},
        {"kind": "activity", "activity": 3}, {"kind": "sum", "terms": []},
        {"kind": "sum", "terms": [[0, deep(0)]]}, {"kind": "sum", "terms": [["nan", deep(0)]]},
        {"kind": "like", "these": [2], "not_like": [2], "prior": None},
        {"kind": "like", "these": [3, "0000"], "not_like": [2], "prior": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_query_is_not_read(values):
    with pytest.raises(UserError) as error:
        query_json.from_json(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: queries.from_codes(CODES[:2]), "give those of one clip"),
        (lambda: queries.from_codes({}), "codes of no focus"),
        (lambda: queries.from_clip({}), "given by focus"),
        (lambda: queries.from_clip({3: [[1, np.nan]]}), "not finite numbers"),
        (lambda: queries.from_clip({3: np.ones((2, 4))}), "give one clip's"),
        (lambda: queries.toward_class("r_spike"), "not finite numbers"),
        (lambda: queries.by_name(3), "give its name"),
        (lambda: queries.like(CODES[:0]), "there are no examples"),
        (lambda: queries.like(np.zeros((10_001, 2), np.uint8)), "give up to 10000"),
        (lambda: queries.like(CODES, prior="x"), "beside the examples is of type str"),
        (lambda: 0 * queries.by_name("set"), "a finite number other than 0"),
        (lambda: float("nan") * queries.by_name("set"), "a finite number other than 0"),
    ],
)
def test_what_makes_no_query_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_only_queries_are_added():
    with pytest.raises(TypeError):
        queries.by_name("set") + 1
    with pytest.raises(TypeError):
        queries.by_name("set") * "x"


def test_what_is_of_other_codes_is_refused(space):
    with pytest.raises(UserError, match="2 probabilities; this index knows 3 activities"):
        queries.toward_class([0.5, 0.5]).direction(space)
    for query in (
        queries.from_clip({3: [1, 2]}),
        queries.from_clip({3: [1]}) + queries.by_name("set"),
    ):
        with pytest.raises(UserError, match="weights, the codes 16 bits"):
            weighted_code(query, [(space, 1)], where="focus 3")


def test_an_unknown_activity_is_named(space):
    with pytest.raises(UserError, match="no activity 'dance'; this index knows set, spike, pass"):
        queries.by_name("dance").direction(space)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("a", "b")}, "has the names"),
        ({"names": ("a", "a", "b")}, "has the names"),
        ({"bias": np.zeros(2)}, "give numbers"),
        ({"kernel": np.full((BITS, 3), np.nan)}, "not finite"),
        ({"kernel": np.full((BITS, 3), "x")}, "give numbers"),
    ],
)
def test_what_reads_no_activities_is_refused(change, message):
    given = {"names": NAMES, "kernel": KERNEL, "bias": BIAS}
    with pytest.raises(UserError, match=message):
        Readout(**given | change)


def test_a_readout_is_written_and_read():
    readout = Readout(NAMES, KERNEL, BIAS)
    again = Readout.from_json(json.loads(json.dumps(readout.to_json())))
    assert again.names == NAMES
    np.testing.assert_array_equal(again.kernel, readout.kernel)
    np.testing.assert_array_equal(again.bias, readout.bias)
    for values in (
        None,
        {},
        {"names": 3, "bias": "", "kernel": ""},
        readout.to_json() | {"bias": "!"},
    ):
        with pytest.raises(UserError, match="a readout"):
            Readout.from_json(values)
