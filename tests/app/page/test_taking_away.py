"""What is taken away from the page and brought to it: files, saved queries, uploads."""

import csv
import html
import io
import json
import re

import av
import pytest

from stvh_jax.retrieval import saved_query
from tests.app.conftest import RUN
from tests.app.page.conftest import Watched
from tests.app.page.test_page import names, settled, wait_for_address
from tests.helpers.served import serving

QUERY = "clip=cup+final/5&is.match=gala&is.match=cup+final&count=6"


@pytest.fixture(scope="module")
def own(shown, tmp_path_factory):
    """Serves the index from a folder of its own, in which queries are saved, with a model."""
    folder = tmp_path_factory.mktemp("own")
    with serving(shown.open(), folder, run=RUN) as page:
        yield page


@pytest.fixture
def seen(browser, own):
    watched = Watched(browser, own)
    yield watched
    watched.close()
    assert watched.unexpected() == []


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def taken(page, button):
    """Clicks a button; gives the name and the content of the file that comes."""
    with page.expect_download() as download:
        page.locator("#take").get_by_role("button", name=button).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_selected_hits_are_taken_away(seen):
    page = seen.open(f"/?{QUERY}")
    shown = names(page)
    name, content = taken(page, "CSV")
    assert name == "hits.csv"
    assert [f"{row['match']}/{row['clip']}" for row in rows(content)] == shown
    for place in (1, 3):
        page.locator("#hits > .card").nth(place).get_by_role("checkbox").check()
    assert page.locator("#taken").inner_text() == "2 selected."
    name, content = taken(page, "CSV")
    assert [f"{row['match']}/{row['clip']}" for row in rows(content)] == [shown[1], shown[3]]
    name, content = taken(page, "Cut list")
    assert name == "cuts.edl" and content.decode().count("* FROM CLIP NAME") == 2
    name, content = taken(page, "Query")
    assert json.loads(content)["title"] == "cup final/5"
    assert page.url.endswith(QUERY)


def test_a_reel_shows_what_was_selected(own):
    chosen = ["cup final/8", "gala/10"]
    answer = own.ask(f"/take/reel.mp4?{QUERY}&select=cup+final/8&select=gala/10")
    assert answer.status == 200 and answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == 'attachment; filename="reel.mp4"'
    hits = rows(own.ask(f"/take/hits.csv?{QUERY}").content)
    known = [f"{row['match']}/{row['clip']}" for row in hits]
    count = sum(name in known for name in chosen)
    assert count
    with av.open(io.BytesIO(answer.content)) as reel:
        seconds = float(reel.streams.video[0].duration * reel.streams.video[0].time_base)
    assert seconds == pytest.approx(2.8 * count, abs=0.1)  # a second before and after each


def test_what_is_taken_is_what_is_shown(own, tmp_path):
    state = "clip=cup+final/5&like=gala/4&scale=0.5&is.activity=set&count=9"
    hits = rows(own.ask(f"/take/hits.csv?{state}").content)
    shown = re.findall('data-key="([^"]*/[^"]*)"', own.ask(f"/results?{state}").text)
    assert [f"{row['match']}/{row['clip']}" for row in hits] == list(map(html.unescape, shown))
    assert [int(row["rank"]) for row in hits] == list(range(1, 10))
    path = tmp_path / "query.json"
    path.write_bytes(own.ask(f"/take/query.json?{state}").content)
    query = saved_query.load(path)
    assert query.liked == ["gala/4"] and query.focus == 1.5
    chapters = own.ask(f"/take/chapters.txt?{QUERY}").text.splitlines()
    assert len(chapters) == 6 and chapters[0].startswith("0:00")


WRONG = {
    "/take/hits.csv": (400, "nothing is asked for"),
    "/take/hits.csv?activity=juggle": (400, "no activity 'juggle'"),
    f"/take/cuts.edl?{QUERY}&select=away/1": (404, "nothing was found"),
    "/take/reel.mp4?clip=cup+final/5&is.match=away": (404, "away.mp4"),
    "/take/cuts.edl?clip=cup+final/5&is.match=it%27s": (400, "it's/4 has no video"),
    f"/take/hits.csv?{QUERY}&select=x": (400, "'x' is not the name of a clip"),
}


@pytest.mark.parametrize("address", WRONG)
def test_what_cannot_be_taken_is_one_line(own, address):
    status, line = WRONG[address]
    answer = own.ask(address)
    assert answer.status == status and line in answer.text and "\n" not in answer.text


def test_a_query_is_saved_and_asked_again(seen, own):
    page = seen.open("/?clip=cup+final/5&activity=set&scale=0.5")
    before = names(page)
    page.get_by_label("Save this query as").fill("corner kicks")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved as corner kicks").wait_for()
    assert names(page) == before
    page.goto("/")
    assert page.locator("#known option[value='corner kicks']").count() == 1
    page.get_by_label("Find").fill("corner kicks")
    page.get_by_label("Find").press("Enter")
    wait_for_address(page, saved=["corner kicks"])
    settled(page, own)
    assert page.get_by_role("heading", level=1).inner_text() == "Moments like cup final/5, set"


def save(served, text, **headers):
    return served.ask("/save", method="POST", body=text.encode(), **headers)


def test_saving_says_what_is_wrong(own):
    assert save(own, "activity=set&name=a").status == 303
    own.archive.saved.delete("a")
    for text, line in {
        "name=x": "nothing is asked for",
        "activity=set": "is not a name for a query",
        "activity=set&name=../../etc/x": "is not a name for a query",
        "activity=juggle&name=x": "no activity 'juggle'",
        "clip=gala/99&name=x": "gala/99 is not in the index",
        "activity=set&name=" + "x" * 70_000: "too much to save",
    }.items():
        answer = save(own, text)
        assert answer.status in (400, 404) and line in answer.text
    assert save(own, "activity=set&name=twice", accept="text/plain").status == 200
    answer = save(own, "activity=set&name=twice", accept="text/plain")
    assert answer.status == 400 and "there is a query twice already" in answer.text
    answer = own.ask("/save", method="POST", body=b"activity=\xff&name=x")
    assert answer.status == 400 and "UTF-8" in answer.text


def upload(page, video, tracks):
    page.get_by_label("A short video").set_input_files(video)
    page.get_by_label("its people").set_input_files(tracks)
    page.get_by_role("button", name="Upload and search").click()


def test_an_upload_that_is_no_video_is_one_line(seen, shown, tmp_path):
    seen.allowed = "status of 400"
    page = seen.open()
    upload(page, shown.folder / "gala.txt", shown.folder / "gala.txt")
    line = page.locator("#upload-status", has_text="video is not a readable video")
    line.wait_for(timeout=120_000)  # another process looks at it
    assert len(names(page)) == 24 and "\n" not in line.inner_text()
    (tmp_path / "empty.mp4").write_bytes(b"")
    upload(page, tmp_path / "empty.mp4", shown.folder / "gala.txt")
    page.locator("#upload-status", has_text="the file of the video is empty").wait_for()
    assert page.get_by_role("button", name="Upload and search").is_enabled()


def test_an_upload_that_cannot_be_encoded_says_why(watched, shown):
    watched.allowed = "status of 400"
    page = watched.open()
    upload(page, shown.folder / "gala.mp4", shown.folder / "gala.txt")
    # Nobody knows which model made the codes of this index.
    page.locator("#upload-status", has_text="--run").wait_for()


def test_an_upload_without_the_page_s_form_is_refused(own):
    for body, headers in (
        (b"video=x", {"content_type": "application/x-www-form-urlencoded"}),
        (b"", {}),
        (b"--x\r\n", {"content_type": "multipart/form-data; boundary=x"}),
    ):
        answer = own.ask("/upload", method="POST", body=body, **headers)
        assert answer.status == 400 and "\n" not in answer.text
    assert own.get("/upload/poster", upload="x").status == 404
