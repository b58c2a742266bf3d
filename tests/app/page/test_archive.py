"""The index behind the page: the answers are those of the library, also of several threads."""

import concurrent.futures
import threading

import numpy as np
import pytest

from stvh_jax.app import archive as archive_module
from stvh_jax.app.archive import Archive
from stvh_jax.app.saved import SavedQueries
from stvh_jax.app.state import PageState
from stvh_jax.app.uploads import Uploads
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import asking, moments, queries
from stvh_jax.retrieval.index import Index

ONE, OTHER = ("cup final", "5"), ("gala", "7")
STATES = [
    PageState(clips=(ONE,)),
    PageState(clips=(ONE,), scale=0.0, count=5),
    PageState(clips=(ONE, OTHER), scale=0.37, count=480),
    PageState(clips=(ONE,), elsewhere=True),
    PageState(clips=(ONE,), activity="set", scale=0.5),
    PageState(activity="spike", only=(("match", ("gala", "it's")),)),
    PageState(liked=(("gala", "3"),), not_liked=(("gala", "1"), OTHER), start=2.0, stop=12.0),
    PageState(clips=(ONE,), liked=(("away", "4"),), only=(("activity", ("pass",)),)),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Gives `opened(index)`: an archive."""
    folder = tmp_path_factory.mktemp("archive")
    made = []

    def open_archive(index):
        uploads = Uploads(index.uri, folder)
        made.append(uploads)
        return Archive(index, uploads=uploads, saved=SavedQueries(folder / "saved"))

    yield open_archive
    for uploads in made:
        uploads.close()


@pytest.fixture(scope="module")
def archive(shown, opened):
    return opened(shown.open())


def plain(found):
    return [
        (each.match, each.best.clip, each.distance, [hit.clip for hit in each.hits])
        for each in found
    ]


def directly(index, state):
    """Searches without the archive."""
    clips = None
    if state.clips:
        clips = queries.clips_query(index, state.clips, lambda: pytest.fail("no model is needed"))
    asked = asking.ask(
        index, clips, activity=state.activity, liked=state.liked, not_liked=state.not_liked
    )
    parts = [f"{name} IN ({', '.join(map(sql, own))})" for name, own in state.only]
    parts = [part.replace("activity IN", "coalesced IN") for part in parts]
    if state.start is not None:
        parts.append(f"start >= {state.start} AND start < {state.stop}")
    where = " AND ".join(parts) or None
    if where is not None and "coalesced" in where:
        given = where.replace("coalesced", "activity")
        said = where.replace("coalesced", "predicted")
        where = f"({given}) OR (activity IS NULL AND {said})"

    def search(k):
        return asking.search(
            index, asked, k=k, where=where, focus=3 * state.scale, exclude_match=state.elsewhere
        )

    beside = [] if clips is None else clips.records
    return moments.find_moments(search, state.count, beside=beside)


def sql(text):
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_answers_are_those_of_the_library(archive, shown, state):
    answer, wanted = archive.answer(state), directly(shown.open(), state)
    assert plain(answer.moments) == plain(wanted) and wanted
    assert answer.focus == pytest.approx(3 * state.scale)
    assert answer.clips == len(shown.records)
    more = plain(directly(shown.open(), PageState(**{**vars(state), "count": 1000})))
    assert answer.all_shown == (len(more) == len(wanted))


def test_several_threads_get_what_one_gets(archive):
    alone = [plain(archive.answer(state).moments) for state in STATES]
    archive._asked.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(archive.answer, STATES * 6))
    assert [plain(answer.moments) for answer in answers] == alone * 6


def test_a_time_is_of_the_clip_that_shows_it_or_the_nearest(archive, shown):
    for seconds in np.arange(0, 21.5, 0.37):
        of_match = [each for each in shown.records if each["match"] == "gala"]

        def apart(record, at=seconds):
            return max(0, record["start"] - at, at - record["stop"]), abs(record["start"] - at)

        nearest = min(of_match, key=apart)
        assert archive.clip_at("gala", seconds) == ("gala", nearest["clip"])
    assert archive.clip_at("gala", 40.0) is None
    for match in ("nobody's", "' OR 1=1 --"):
        with pytest.raises(NotFound, match="no match is called"):
            archive.clip_at(match, 1.0)


def test_the_first_page_shows_clips_spread_over_what_is_chosen(archive):
    records, count = archive.some(PageState())
    assert (len(records), count) == (24, archive.table.num_rows)
    assert {record["match"] for record in records} == {"cup final", "gala", "away", "it's"}
    records, count = archive.some(PageState(only=(("match", ("away",)),)))
    assert count == 6 and [record["match"] for record in records] == ["away"] * 6


def test_what_is_not_there_is_one_line(archive):
    with pytest.raises(NotFound, match="gala/99 is not in the index"):
        archive.record(("gala", "99"))
    with pytest.raises(NotFound, match="not in the index; choose one of its clips, or upload"):
        archive.answer(PageState(clips=(("gala", "99"),)))
    with pytest.raises(UserError, match="'juggle'; this index knows pass, set, spike"):
        archive.answer(PageState(activity="juggle"))
    with pytest.raises(NotFound, match="no query"):
        archive.answer(PageState(saved="mine"))
    with pytest.raises(NotFound, match="upload is gone"):
        archive.answer(PageState(upload="x"))
    with pytest.raises(UserError, match="ask for one of the two"):
        archive.answer(PageState(upload="x", clips=(ONE,)))


def test_what_others_add_is_found(tmp_path, opened, monkeypatch):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(np.zeros((2, 2), np.uint8), match="a", clip=["1", "2"])
    archive = opened(Index.open(tmp_path / "index"))
    asked = PageState(clips=(("a", "1"),))
    code_map = archive.map.get()
    assert plain(archive.answer(asked).moments) == [("a", "2", 0.0, ["2"])]
    index.add(np.zeros((1, 2), np.uint8), match="b", clip="1", activity="set")
    archive.refresh()  # not yet: it looks every other second
    assert archive.matches == ["a"]
    monkeypatch.setattr(archive_module, "_LOOK", 0.0)
    archive.refresh()
    assert archive.matches == ["a", "b"] and archive.table.num_rows == 3
    found = [(name, clip) for name, clip, *_ in plain(archive.answer(asked).moments)]
    assert found == [("a", "2"), ("b", "1")]
    assert archive.map.get() is not code_map
    assert [field.name for field in archive.fields(asked)] == ["match", "activity"]
    before = archive.map
    archive.refresh()
    assert archive.map is before  # nothing is new
    index.delete("match = 'a'")
    archive.refresh()
    assert archive.matches == ["b"]
    with pytest.raises(NotFound):
        archive.answer(asked)


def test_a_search_waits_for_its_turn(archive):
    begun, answered = threading.Event(), []

    def ask():
        begun.set()
        answered.append(archive.answer(STATES[0]))

    with archive.turn:
        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(30)
        thread.join(0.05)
        assert not answered
    thread.join(30)
    assert answered
