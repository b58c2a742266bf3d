"""Many threads ask the page at once: each gets what it would get alone; the index has one user."""

import collections
import concurrent.futures
import functools
import pathlib
import random
import re
import sys
import threading
import urllib.parse
from collections.abc import Callable

import pytest
from starlette.requests import Request

from benchmarks import page_index
from benchmarks.page_users import shown
from stvh_jax.app import failures
from stvh_jax.app.archive import Archive
from stvh_jax.app.loops import Loops
from stvh_jax.app.narrowing import Narrowing
from stvh_jax.app.receiving import Receiver
from stvh_jax.app.research_views import ResearchViews
from stvh_jax.app.saved import SavedQueries
from stvh_jax.app.state import FIRST, PageState
from stvh_jax.app.taking_views import TakingViews
from stvh_jax.app.uploads import Uploads
from stvh_jax.app.views import Views
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.lance.engine import LanceEngine
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot

CLIPS, EACH = 600, 100
CLIP = ("clip", "match_002/10000")
TAUGHT = [("like", "match_003/5000"), ("like", "match_001/40000"), ("not", "match_004/0")]
# What the page says of a search that is another each time.
TIME_TAKEN = re.compile(rb"searched in [0-9.]+ ms")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_index, "CLIPS_EACH", EACH)
        return page_index.make(tmp_path_factory.mktemp("made"), CLIPS)


class Pages:
    """The page as it is served, freshly opened."""

    def __init__(self, uri, folder):
        self.archive = Archive(
            Index.open(uri), uploads=Uploads(uri, folder), saved=SavedQueries(folder / "queries")
        )
        loops = Loops(self.archive.index, self.archive.turn, folder / "loops")
        views = Views(self.archive, loops)
        takes = TakingViews(views, Receiver(folder, self.archive.uploads.limits), folder)
        routes = [*views.routes(), *takes.routes(), *ResearchViews(views, None).routes()]
        self.answers: dict[str, Callable] = {route.path: route.endpoint for route in routes}

    def get(self, path, *parameters):
        """Gives the status of an answer, and what is in it or where it leads."""
        query = urllib.parse.urlencode(parameters).encode()
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query}
        answer = self.answers[path](Request({**scope, "headers": []}))
        content = getattr(answer, "path", None) and pathlib.Path(answer.path).read_bytes()
        content = TIME_TAKEN.sub(b"", content or answer.body)
        return answer.status_code, content, answer.headers.get("location")


@pytest.fixture
def opened(made, tmp_path, monkeypatch):
    """Gives `opened(name)`: the page, with files of its own."""
    monkeypatch.setattr(failures, "_IN_ALL", 24)  # queries of the researcher's tab

    def open_pages(name="pages"):
        (tmp_path / name).mkdir()
        return Pages(made, tmp_path / name)

    return open_pages


def searches():
    """Gives searches at several foci, under many conditions."""
    activity = ("activity", page_index.ACTIVITIES[0])
    conditions = [
        [],
        [("is.activity", page_index.ACTIVITIES[1]), ("to", "0:00:40")],
        [("is.split", "train"), ("from", "0:00:10"), ("elsewhere", "1")],
        *([("is.match", f"match_{number:03d}")] for number in range(1, 7)),
    ]
    asked = [[CLIP], [activity], [CLIP, activity, *TAUGHT]]
    for search, scale in zip(asked, ("0.75", "0.4", "0.1")):
        for condition in conditions:
            yield ("/results", *search, *condition, ("scale", scale))
        yield ("/results", *search, ("count", "60"))


def other_pages():
    """Gives what there is beside searches."""
    yield ("/",)
    yield ("/", ("is.activity", page_index.ACTIVITIES[1]), ("to", "0:00:40"))
    yield ("/results", ("clip", "no/clip"))
    yield ("/ask", ("text", "match_002 0:00:12"))
    yield ("/poster", CLIP)
    yield ("/boxes", CLIP)
    yield ("/map",)
    yield ("/research", CLIP, ("other", "0.2"))
    yield ("/take/hits.csv", CLIP, *TAUGHT)
    yield ("/take/cuts.edl", CLIP)
    yield ("/take/query.json", CLIP, *TAUGHT)


@pytest.fixture
def hasty():
    """Lets threads take turns a hundred times as often as they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 100)
    yield
    sys.setswitchinterval(interval)


class Watch:
    """Watches who uses the index, and when.

    Attributes:
      used: what of it was used.
      out_of_turn: what was used by somebody whose turn it was not.
      at_once: what was used while another thread used it.
    """

    METHODS = (
        (LanceEngine, ("snapshot", "count", "refresh")),
        (ClipSnapshot, ("search_linear", "search", "records", "find", "list_clips")),
    )

    def __init__(self, turn, monkeypatch):
        self.used, self.out_of_turn, self.at_once = set(), [], []
        self._turn, self._threads = turn, collections.Counter()
        for kind, names in self.METHODS:
            for name in names:
                monkeypatch.setattr(kind, name, self._watched(getattr(kind, name)))

    def _watched(self, method):
        @functools.wraps(method)
        def call(*arguments, **options):
            name, thread = method.__name__, threading.get_ident()
            self.used.add(name)
            if not self._turn._is_owned():
                self.out_of_turn.append(name)
            self._threads[thread] += 1
            try:
                answer = method(*arguments, **options)
                if sum(count > 0 for count in self._threads.copy().values()) > 1:
                    self.at_once.append(name)
                return answer
            finally:
                self._threads[thread] -= 1

        return call


def test_many_threads_get_the_answers_of_one(opened, hasty, monkeypatch):
    requests = [*searches(), *other_pages()]
    alone, together = opened("alone"), opened("together")
    # Marks on the map are there once somebody has asked for the map.
    for pages in (alone, together):
        pages.get("/map")
    expected = {request: alone.get(*request) for request in requests}
    assert len({content for _, content, _ in expected.values()}) == len(requests)
    several = [*requests, *searches(), *searches()]
    random.Random(0).shuffle(several)
    watch = Watch(together.archive.turn, monkeypatch)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda request: (request, together.get(*request)), several)
        for request, answer in answers:
            assert answer == expected[request], request
    assert watch.used and not watch.at_once


def test_the_index_is_used_in_turns_alone(opened, monkeypatch):
    pages = opened()
    watch = Watch(pages.archive.turn, monkeypatch)
    pages.archive._looked = 0  # so that it looks for new clips
    for request in (*other_pages(), *searches(), ("/results", CLIP, ("count", "480"))):
        pages.get(*request)
        assert not watch.out_of_turn, request
    assert watch.used == {name for _, names in Watch.METHODS for name in names}


def test_the_clips_of_a_condition_are_counted_once(opened, monkeypatch):
    pages, counted, state = opened(), [], PageState(only=(("match", ("match_001",)),))
    count = Narrowing._count

    def counting(narrowing, state):
        counted.append(threading.get_ident())
        return count(narrowing, state)

    monkeypatch.setattr(Narrowing, "_count", counting)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: pages.archive.fields(state), range(32)))
    assert len(counted) == 1
    (match, *_) = found[0]
    assert [value.count for value in match.values] == [EACH] * (CLIPS // EACH)
    assert all(each == found[0] for each in found)
    pages.archive.fields(PageState())
    assert len(counted) == 2


def test_a_page_names_the_clips_that_it_shows(opened):
    pages = opened()
    _, content, _ = pages.get("/results", CLIP)
    names = shown(content)
    assert len(names) == len(set(names)) == FIRST
    assert {pages.get("/poster", ("clip", name))[0] for name in names[:3]} == {200}
