"""Hits that overlap in time are one moment; a query that stands reports what is added."""

import http.server
import itertools
import json
import threading

import numpy as np
import pytest

from stvh_jax import queries
from stvh_jax.errors import UserError
from stvh_jax.retrieval import asking, watching
from stvh_jax.retrieval.hits_report import hit_line, hits_to_dict, moments_table
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import (
    apart_from,
    find_moments,
    moments_of,
    overlap_in_time,
    step_of,
)
from stvh_jax.retrieval.queries import Query

CLIPS, BITS = 400, 32
RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Windows of a second every half second in three matches, and clips without times."""
    made = Index.create(tmp_path_factory.mktemp("moments") / "i", bits=BITS, stored_foci=(1,))
    codes = RNG.integers(0, 256, (CLIPS, BITS // 8), np.uint8)
    start = np.arange(CLIPS) // 4 * 0.5
    start[::40] = np.nan
    made.add(
        codes,
        match=[f"m{number % 4}" for number in range(CLIPS)],
        clip=[f"c{number}" for number in range(CLIPS)],
        start=start,
        stop=start + 1,
    )
    return Index.open(made.uri)


def joined_by_hand(hits):
    """Joins every two hits that overlap, again and again, until nothing changes."""
    groups = [{place} for place in range(len(hits))]

    def overlap(one, other):
        a, b = hits[one], hits[other]
        if a.match != b.match or None in (a.record["start"], b.record["start"]):
            return False
        return a.record["start"] < b.record["stop"] and b.record["start"] < a.record["stop"]

    while True:
        pair = next(
            (
                (a, b)
                for a, b in itertools.combinations(groups, 2)
                if any(overlap(x, y) for x in a for y in b)
            ),
            None,
        )
        if pair is None:
            return sorted(sorted(group) for group in groups)
        groups = [group for group in groups if group not in pair] + [pair[0] | pair[1]]


@pytest.mark.parametrize("k", [1, 10, 80])
def test_moments_are_hits_that_overlap(index, k):
    (hits,) = index.search(RNG.integers(0, 256, BITS // 8, np.uint8), k=k)
    hits = list(hits)
    moments = moments_of(hits)
    names = [[(hit.match, hit.clip) for hit in moment.hits] for moment in moments]
    expected = [[(hits[p].match, hits[p].clip) for p in group] for group in joined_by_hand(hits)]
    assert names == expected
    assert [moment.distance for moment in moments] == sorted(m.distance for m in moments)
    for moment in moments:
        times = [(h.record["start"], h.record["stop"]) for h in moment.hits if h.record["start"]
                 is not None]  # fmt: skip
        if times:
            assert (moment.start, moment.stop) == (min(times)[0], max(t for _, t in times))
        else:
            assert (moment.start, moment.stop) == (None, None)
    assert overlap_in_time(hits) == (len(moments) < len(hits))


def test_as_many_moments_are_found_as_asked_for(index):
    codes, records = index.get([("m1", "c201")])
    query = asking.ask(index, Query(codes, records), ranking="hamming")
    asked_for = []

    def search(count):
        asked_for.append(count)
        return asking.search(index, query, k=count)

    moments = find_moments(search, 12, beside=records)
    assert len(moments) == 12 and asked_for[0] == 48
    own = records[0]
    for moment in moments:  # the query's own surroundings are left out
        for hit in moment.hits:
            apart = hit.match != "m1" or hit.record["start"] is None
            assert apart or hit.record["start"] >= own["stop"] or hit.record["stop"] <= own["start"]
    assert find_moments(search, CLIPS, beside=())  # all there are
    table = moments_table(index, query, moments, focus="activity")
    assert table.splitlines()[0].startswith("like m1/c201 at focus activity: 12 moments in 400")
    assert len(table.splitlines()) == 15 and table.endswith("\n")
    hits = search(5)
    values = json.loads(
        json.dumps(hits_to_dict(index, query, hits, focus="activity", moments=moments))
    )
    assert [each["rank"] for each in values["moments"]] == list(range(1, 13))
    assert moments_table(index, query, [], focus="visual").count("\n") == 1


@pytest.fixture
def growing(tmp_path):
    made = Index.create(tmp_path / "index", bits=BITS, stored_foci=(1,))
    made.add(np.zeros((2, 4), np.uint8), match=["a", "a"], clip=["old", "older"], start=[0, 1])
    return made


NEAR, FAR = np.full((1, 4), 1, np.uint8), np.full((1, 4), 255, np.uint8)


def steps(*actions):
    """Gives what waits: it lets each action happen in turn, and then the time is over."""
    now, left = [0.0], list(actions)

    def wait(seconds):
        now[0] += 1 if left else 1000
        if left:
            left.pop(0)()

    return {"wait": wait, "clock": lambda: now[0], "interval": 0.5, "until": 500}


def test_what_is_added_and_near_is_reported(growing):
    query = asking.ask(growing, saved=None, liked=[("a", "old")])
    writer = Index.open(growing.uri)
    actions = steps(
        lambda: writer.add(np.concatenate([NEAR, FAR]), match=["b", "b"], clip=["near", "far"]),
        lambda: None,
        lambda: writer.delete("clip = 'near'"),
        lambda: writer.upsert(np.concatenate([NEAR, NEAR]), match=["b", "c"], clip=["near", "far"]),
    )
    hits = list(watching.watch(growing, query, 8, **actions))
    assert [(hit.match, hit.clip) for hit in hits] == [("b", "near"), ("b", "near"), ("c", "far")]
    assert all(hit.distance <= 8 for hit in hits)
    assert hit_line(hits[0]).endswith("bits away  b/near")


def test_a_share_of_the_archive_is_a_distance(index):
    query = asking.ask(index, liked=[("m1", "c201")])
    within = watching.distance_of_share(index, query, 10)
    (hits,) = index.search(query=query.query, k=41)
    assert within == pytest.approx(float(hits.distances[40]))  # the example itself is left out
    for percent in (0, 101, float("nan")):
        with pytest.raises(UserError, match="give more than 0, up to 100"):
            watching.distance_of_share(index, query, percent)
    with pytest.raises(UserError, match="has no clip to compare with"):
        watching.distance_of_share(index, query, 10, where="match = 'nobody'")


def test_an_interval_is_more_than_nothing(growing):
    query = asking.ask(growing, liked=[("a", "old")])
    with pytest.raises(UserError, match="an interval of 0 seconds"):
        next(watching.watch(growing, query, 8, interval=0))


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "https://127.0.0.1:1/", "ftp://localhost", "x", "", "http://[::1",
     "http://127.0.0.1:99999/", "http://127.0.0.1.example.com/"],
)  # fmt: skip
def test_webhooks_are_of_this_machine(url):
    with pytest.raises(UserError, match="give an address of this machine"):
        watching.check_webhook(url)


def test_hits_are_posted():
    received, status = [], [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status[0])
            if status[0] == 302:
                self.send_header("Location", "http://example.com/")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/hits"
        watching.check_webhook(url)
        watching.post(url, {"match": "b"})
        assert received == [{"match": "b"}]
        for status[0], message in ((500, "did not take a hit"), (302, "sends on to")):
            with pytest.raises(UserError, match=message):
                watching.post(url, {})
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(UserError, match="did not take a hit"):
        watching.post(url, {})


def test_a_query_by_a_direction_is_watched(growing):
    query = asking.Asked(None, None, queries.from_codes(NEAR), title="near")
    actions = steps(lambda: growing.add(NEAR, match=["b"], clip=["x"]))
    (hit,) = watching.watch(growing, query, 0, **actions)
    assert (hit.match, hit.clip, hit.distance) == ("b", "x", 0)


@pytest.mark.parametrize("k", [1, 5, 12, 400])
def test_moments_are_made_of_as_few_hits_as_there_need_be(index, k):
    (hits,) = index.search(RNG.integers(0, 256, BITS // 8, np.uint8), k=CLIPS)
    hits = list(hits)
    counts = [len(moments_of(hits[:n])) for n in range(len(hits) + 1)]
    enough = counts.index(min(k, max(counts)))
    found = find_moments(lambda count: hits[:count], k, beside=())
    made = moments_of(hits[:enough])
    assert [each.hits for each in found] == [each.hits for each in made]
    assert len(found) == min(k, max(counts))


def test_a_small_archive_is_not_one_moment(cut_often):
    """Of a match that is cut without gaps all clips are hits; not all are the moment found."""
    codes = np.zeros((12, BITS // 8), np.uint8)
    codes[[1, 2, 3, 5]] = 255, 15, 255, 1
    cut_often.upsert(codes, **{
        name: cut_often.clips()[name].to_pylist() for name in ("match", "clip", "start", "stop")
    })  # fmt: skip
    query = np.zeros(BITS // 8, np.uint8)
    found = find_moments(
        lambda k: cut_often.search(query, k=k, where="match = 'a'")[0], 10, beside=(), step=0.5
    )
    assert [[hit.clip for hit in each.hits] for each in found] == [["0"], ["4"]]


@pytest.fixture
def cut_often(tmp_path):
    """Clips of 0.1 seconds: every half second of one match, and of another with a gap."""
    made = Index.create(tmp_path / "i", bits=BITS, stored_foci=(1,), origin={"every": 0.5})
    codes = np.zeros((12, BITS // 8), np.uint8)
    start = np.array([0, 0.5, 1, 1.5, 2, 2.5, 0, 0.5, 1, 3, 3.5, 4])
    made.add(codes, match=["a"] * 6 + ["b"] * 6, clip=range(12), start=start, stop=start + 0.1)
    return made


def times(moments):
    return sorted((each.match, each.start, each.stop) for each in moments)


def test_clips_shorter_than_the_step_are_joined(cut_often, index):
    (hits,) = cut_often.search(np.zeros(BITS // 8, np.uint8), k=12)
    assert step_of(cut_often) == 0.5 and step_of(index) == 0
    assert len(moments_of(hits)) == 12 and not overlap_in_time(hits)
    expected = [("a", 0, 3.0), ("b", 0, 1.5), ("b", 3, 4.5)]
    assert [each[0] for each in times(moments_of(hits, step=0.5))] == ["a", "b", "b"]
    assert [each[1:] for each in times(moments_of(hits, step=0.5))] == [
        pytest.approx(each[1:]) for each in expected
    ]
    assert overlap_in_time(hits, step=0.5)
    assert len(moments_of(hits, step=0.4)) == 12  # they do not follow one another


def test_what_follows_the_query_is_one_with_it(cut_often):
    (hits,) = cut_often.search(np.zeros(BITS // 8, np.uint8), k=12)
    _, (own,) = cut_often.get([("a", "2")])
    left = apart_from(hits, [own], step=0.5)
    assert [hit.clip for hit in left if hit.match == "a"] == ["0", "4", "5"]
    assert len([hit for hit in left if hit.match == "b"]) == 6
    assert len(apart_from(hits, [own])) == 11  # without a step it is the clip alone
    neighbours = [hit for hit in hits if (hit.match, hit.clip) in (("a", "1"), ("b", "8"))]
    assert not overlap_in_time(neighbours, step=0.5)
    assert overlap_in_time(neighbours, beside=[own], step=0.5)
    moments = find_moments(lambda k: hits, 5, beside=[own], step=0.5)
    assert all(each.match != "a" or "2" not in [h.clip for h in each.hits] for each in moments)
    unknown = {"match": "a", "start": None, "stop": None}
    assert len(apart_from(hits, [unknown], step=0.5)) == 12
