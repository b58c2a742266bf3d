"""The state of the page and its address: what the address says is the whole state."""

import dataclasses
import random
import urllib.parse

import pytest

from stvh_jax.app.state import FIRST, MOST, PageState, read_state
from stvh_jax.errors import UserError

LETTERS = "aZ09 -_.+%&=#?;'\"<>\\é語"


def _word(draw):
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 9)))


def _clips(draw):
    names = [("/".join(_word(draw) for _ in range(draw.randint(1, 2))), _word(draw)) for _ in "123"]
    return tuple(dict.fromkeys(names[: draw.randint(0, 3)]))


def _state(draw):
    """Draws a state of the page."""

    def maybe(value):
        return value if draw.random() < 0.5 else None

    return PageState(
        clips=_clips(draw),
        activity=maybe(_word(draw)),
        saved=maybe(_word(draw)),
        upload=maybe(_word(draw)),
        scale=draw.randint(0, 100) / 100,
        liked=_clips(draw),
        not_liked=_clips(draw),
        rounds=tuple(draw.randint(0, 100) / 100 for _ in range(draw.randint(0, 3))),
        only=tuple(sorted((field, (_word(draw),)) for field in {_word(draw), _word(draw)})),
        start=maybe(draw.randint(0, 200_000) / 10),
        stop=maybe(draw.randint(0, 200_000) / 10),
        elsewhere=draw.random() < 0.5,
        count=draw.choice((FIRST, 1, 48, MOST)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_an_address_restores_the_state(seed):
    draw = random.Random(seed)
    for _ in range(100):
        state = _state(draw)
        path, _, query = state.address("/research").partition("?")
        assert path == "/research"
        assert read_state(urllib.parse.parse_qsl(query)) == state
        assert read_state(state.parameters()) == state


def test_the_usual_state_has_the_shortest_address():
    assert PageState().address() == "/"
    assert PageState(clips=(("a b", "1"),)).address() == "/?clip=a+b%2F1"
    assert not PageState().asks and not PageState().narrowed


def test_what_is_read_is_what_the_address_then_says():
    # A state that is shown with fewer digits than were given would change with the next click.
    given = [
        *(
            ("scale", "0.333333"),
            ("from", "5.2499"),
            ("to", "1:00:59.96"),
            ("round", "0.123456789"),
        ),
        *(("count", "7"), ("elsewhere", "yes"), ("clip", "a/1"), ("clip", "a/1"), ("clip", "b/2")),
        *(("unknown", "x"), ("is.match", ""), ("activity", "")),
    ]
    state = read_state(given)
    assert read_state(state.parameters()) == state
    assert state.clips == (("a", "1"), ("b", "2"))
    assert (state.scale, state.only, state.activity) == (0.33, (), None)


WRONG = {
    "clip": ("nothing", "/", "a/", "/1"),
    "like": ("x",),
    "scale": ("-0.1", "1.1", "nan", "inf", "much"),
    "round": ("2", "x"),
    "from": ("soon", "1:60", "-5"),
    "to": ("1:60:00",),
    "count": ("0", "-1", "481", "1e3", "²", "99999999999999999999"),
}


@pytest.mark.parametrize("name, text", [(n, text) for n, texts in WRONG.items() for text in texts])
def test_a_value_that_makes_no_sense_is_one_line(name, text):
    with pytest.raises(UserError) as raised:
        read_state([(name, text)])
    assert "\n" not in str(raised.value) and text.strip("/") in str(raised.value)


def test_too_many_values_are_refused():
    for name, value, most in (("clip", "a/{}", 400), ("not", "a/{}", 400), ("is.match", "{}", 200)):
        many = [(name, value.format(number)) for number in range(most + 1)]
        read_state(many[:-1])
        with pytest.raises(UserError, match=str(most)):
            read_state(many)


def test_a_condition_is_lifted_alone():
    state = PageState(only=(("match", ("a",)), ("split", ("b", "c"))), scale=0.5)
    assert state.without_field("match") == dataclasses.replace(state, only=(("split", ("b", "c")),))
    assert state.values_of("split") == ("b", "c") and state.values_of("player") == ()
