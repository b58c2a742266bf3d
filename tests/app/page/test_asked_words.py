"""What is written into the box: activities, clips, times, saved queries, and anything else."""

import pytest

from stvh_jax.app.asked_words import address_of
from stvh_jax.app.state import PageState
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import asking


@pytest.fixture(scope="module")
def archive(served):
    return served.archive


UNDERSTOOD = {
    "spike": "/?activity=spike",
    "  SP ": "/?activity=spike",
    "cup final/5": "/?clip=cup+final%2F5",
    "cup final 0:00:05": "/?clip=cup+final%2F5",
    "cup final  0:05.9": "/?clip=cup+final%2F6",
    "it's 0:00:02": "/?clip=it%27s%2F2",
    "gala/20": "/?clip=gala%2F20",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_words_are_understood(archive, text):
    assert address_of(archive, PageState(), text) == UNDERSTOOD[text]


REFUSED = {
    "nonsense": "nothing here is called 'nonsense'; write an activity .pass, set, spike., a clip",
    "": "nothing here is called",
    "s": "'s' may be set, spike; write one of them",
    "0:00:05": "this time is of which match. write MATCH 0:12:31",
    "away 0:00:30": "match away has no video that is there",
    "nobody 0:00:05": "no match is called 'nobody'; write one of the list under Narrow",
    "gala/99": "gala/99 is not in the index",
    "gala/": "not the name of a clip",
    "gala 0:00:75": "60 seconds or more",
    "<script>alert(1)</script>": "not in the index",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_understood_is_one_line(archive, text):
    with pytest.raises(UserError, match=REFUSED[text]) as raised:
        address_of(archive, PageState(), text)
    assert "\n" not in str(raised.value)


def test_a_time_alone_is_of_the_query_s_match_or_the_chosen_one(archive):
    for state in (PageState(clips=(("gala", "1"),)), PageState(only=(("match", ("gala",)),))):
        address = address_of(archive, state, "0:00:05")
        assert address.startswith("/?clip=gala%2F5")


def test_conditions_stay_and_what_was_asked_goes(archive):
    state = PageState(
        clips=(("gala", "1"),), liked=(("gala", "2"),), rounds=(0.5,), scale=0.25, count=48,
        only=(("match", ("gala",)),), start=1.0, elsewhere=True,
    )  # fmt: skip
    assert address_of(archive, state, "spike") == (
        "/?activity=spike&scale=0.25&is.match=gala&from=0%3A00%3A01.0&elsewhere=1"
    )


def test_a_saved_query_is_asked_by_its_name(shown, archive, monkeypatch, tmp_path):
    from stvh_jax.app.saved import SavedQueries

    saved = SavedQueries(tmp_path)
    index = shown.open()
    saved.save("spike", asking.ask(index, activity="set").saved(index, 3))
    monkeypatch.setattr(archive, "saved", saved)
    assert address_of(archive, PageState(), "spike") == "/?saved=spike"  # before the activity
    (query,) = [archive.asked(PageState(saved="spike")).query]
    assert query is not None
    saved.delete("spike")
    assert address_of(archive, PageState(), "spike") == "/?activity=spike"
    with pytest.raises(NotFound):
        archive.asked(PageState(saved="gone"))
