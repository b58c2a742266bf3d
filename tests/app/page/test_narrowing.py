"""Fields with counts, and the condition: equal to a loop over the records."""

import collections
import random

import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.app.narrowing import MOST_LISTED, Narrowing
from stvh_jax.app.state import PageState
from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index

CLIPS = 120
VALUES = {
    "match": ["2", "10", "cup 'final'", "it's", "a/b", "né%_"],
    "activity": ["set", "spike", None],
    "predicted": ["set", "pass", None],
    "split": ["train", "test", None],
    "player": ["Bo's", 'Z "Z"', "", "x OR 1=1", None],
    "starred": [True, False, None],
    "rating": [-7, 2, 10, 1 << 53, None],
    "speed": [0.1, -2.5, 1e-7, 30.0, None],
}
FIELDS = ("match", "activity", "split", "player", "starred", "rating", "speed")


@pytest.fixture(scope="module")
def records():
    draw = random.Random(3)
    drawn = [{name: draw.choice(values) for name, values in VALUES.items()} for _ in range(CLIPS)]
    for number, record in enumerate(drawn):
        start = None if number % 11 == 0 else number / 10
        record |= {"clip": str(number), "start": start, "stop": start and start + 0.4}
    return drawn


@pytest.fixture(scope="module")
def index(records, tmp_path_factory):
    columns = {"player": "text", "starred": "bool", "rating": "integer", "speed": "number"}
    folder = tmp_path_factory.mktemp("narrowed") / "index"
    index = Index.create(folder, bits=16, stored_foci=(1,), columns=columns)
    index.add(
        np.zeros((CLIPS, 2), np.uint8),
        **{name: [record[name] for record in records] for name in records[0]},
    )
    return index


@pytest.fixture(scope="module")
def narrowing(index):
    return Narrowing(index, index.clips())


def value_of(record, field):
    """Gives the text of a record's value; None where it has none."""
    value = record[field]
    if field == "activity" and value is None:
        value = record["predicted"]
    if isinstance(value, bool):
        return str(value).lower()
    return pa.scalar(value).cast(pa.string()).as_py() if isinstance(value, (int, float)) else value


def meets(record, state, *, but=None):
    """Says whether a record meets the conditions, but for those on one field."""
    for field, values in state.only:
        if field != but and value_of(record, field) not in values:
            return False
    start = record["start"]
    if state.start is not None and (start is None or start < state.start):
        return False
    return state.stop is None or (start is not None and start < state.stop)


def states():
    """Draws conditions."""
    draw = random.Random(4)
    values = VALUES | {"starred": ["true", "false"], "activity": ["set", "spike", "pass"]}
    for field in ("rating", "speed"):
        values[field] = [value_of({field: value}, field) for value in VALUES[field]]
    for _ in range(30):
        fields = draw.sample(FIELDS, draw.randint(0, 3))
        only = {
            field: tuple(draw.sample([v for v in values[field] if v], draw.randint(1, 2)))
            for field in sorted(fields)
        }
        start, stop = draw.choice([(None, None), (3.0, None), (None, 0.0), (None, 9.1), (2.0, 4.5)])
        yield PageState(only=tuple(only.items()), start=start, stop=stop)


def test_counts_are_those_under_the_other_conditions(narrowing, records):
    assert narrowing.fields == FIELDS
    for state in states():
        for field in narrowing.listed(state):
            counts = collections.Counter(
                value_of(record, field.name)
                for record in records
                if meets(record, state, but=field.name)
            )
            every = {value_of(record, field.name) for record in records} - {None}
            assert {value.text: value.count for value in field.values} == {
                text: counts[text] for text in every
            }
            assert {value.text for value in field.chosen} == set(state.values_of(field.name))
            assert field.more == 0


def test_the_condition_finds_the_same_clips(narrowing, index, records):
    for state in states():
        wanted = [record["clip"] for record in records if meets(record, state)]
        where = narrowing.where(state)
        assert (where is None) == (state == PageState())
        found = index.clips(where)["clip"].to_pylist()
        assert sorted(found, key=int) == wanted
        clips = index.clips()["clip"].take(narrowing.rows(state)).to_pylist()
        assert sorted(clips, key=int) == wanted


def test_values_stand_in_their_natural_order(narrowing):
    assert narrowing.values("match") == ["2", "10", "a/b", "cup 'final'", "it's", "né%_"]
    assert narrowing.values("rating") == ["-7", "2", "10", str(1 << 53)]
    assert [float(text) for text in narrowing.values("speed")] == [-2.5, 1e-7, 0.1, 30.0]
    assert narrowing.values("nothing") == []


def test_a_value_that_is_no_such_value_finds_nothing(narrowing, index):
    for value in ("x' OR '1'='1", "--", "\\", "%"):
        state = PageState(only=(("match", (value,)),))
        assert len(narrowing.rows(state)) == 0
        assert len(index.clips(narrowing.where(state))) == 0


def test_a_number_that_no_clip_has_is_refused(narrowing):
    for value in ("3", "1) OR (1=1", "2.0", "nan", ""):
        with pytest.raises(UserError, match="no clip has rating .*; choose a value of the list"):
            narrowing.where(PageState(only=(("rating", (value,)),)))


def test_another_field_is_refused(narrowing):
    for name in ("rank", "1=1 OR match", "start"):
        with pytest.raises(UserError, match="no field .*choose match, activity, split"):
            narrowing.where(PageState(only=((name, ("1",)),)))


def test_of_many_values_the_chosen_are_listed_first(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    count = MOST_LISTED + 15
    index.add(
        np.zeros((count, 2), np.uint8), match=[f"m{n}" for n in range(count)], clip=["1"] * count
    )
    narrowing = Narrowing(index, index.clips())
    state = PageState(only=(("match", ("m70", "m3")),))
    (field,) = narrowing.listed(state)
    assert [value.text for value in field.values] == (
        ["m3", "m70", *(f"m{n}" for n in range(MOST_LISTED - 1) if n != 3)]
    )
    assert field.more == 15
