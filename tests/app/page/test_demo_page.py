"""The page on rendered matches, indexed by the demo's model as `make page` does it.

STVH_PICTURE=docs/page.png keeps what the browser shows as the picture of the README.
"""

import os
import pathlib
import re
import time

import pytest

from data.synthetic.footage import synthesize_footage
from stvh_jax.cli import search
from stvh_jax.retrieval.index import Index
from tests.app.page.conftest import PATIENCE, Watched
from tests.helpers.served import serving

pytest.importorskip("av")
pytestmark = pytest.mark.slow
RUN = pathlib.Path(__file__).parents[3] / "notebooks" / "demo_run.zip"
MATCHES, MINUTES = 3, 0.4


@pytest.fixture
def footage(tmp_path):
    """Renders the matches."""
    folder = tmp_path / "footage"
    synthesize_footage(folder, matches=MATCHES, minutes=MINUTES, progress=lambda line: None)
    return folder


@pytest.fixture
def page(browser, footage, tmp_path):
    """Indexes them, with the labels of the first alone, and opens the index in a browser."""
    labels = (footage / "labels.csv").read_text().splitlines(keepends=True)
    own = [labels[0], *(line for line in labels if line.startswith("match-1"))]
    (tmp_path / "labels.csv").write_text("".join(own))
    words = ["index", "--run", str(RUN), "--video", str(footage / "match-*.mp4")]
    words += ["--tracks", str(footage / "{match}.txt"), "--labels", str(tmp_path / "labels.csv")]
    assert search.main(argv=[*words, "--out", str(tmp_path / "index")]) == 0
    with serving(Index.open(tmp_path / "index"), tmp_path) as served:
        watched = Watched(browser, served)
        yield watched.open("/?clip=match-1/10000")
        watched.close()
        assert watched.unexpected() == []


def wait_until(page, condition):
    """Waits for the page; its policy forbids to evaluate a condition in a loop of its own."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def move_slider(page, key, address):
    page.locator("#scale").focus()
    page.keyboard.press(key)
    wait_until(page, f"location.search.includes('{address}')")


# One test, as what it looks at takes half a minute to make.
def test_from_a_match_to_its_activities_to_an_upload(page, footage):
    # What they do: the label of the query, given or predicted.
    given = page.locator(".query-card .activity").text_content()
    found = page.locator("#hits .activity").all_text_contents()[:5]
    assert [text.removesuffix("?") for text in found].count(given) >= 4
    assert page.locator("#hits .activity.predicted").first.text_content().endswith("?")

    # Who and where: its match.
    move_slider(page, "Home", "scale=0")
    assert page.locator("#hits .choose b").all_text_contents()[:2] == ["match-1", "match-1"]

    # Clips play, with the boxes of people.
    page.locator("#hits > .card").first.hover()
    wait_until(page, "document.querySelector('#hits video').currentTime > 0.2")
    assert page.locator("#hits > .card").first.locator("svg rect").count() >= 10
    keep_picture(page)

    # An uploaded clip finds its own moment.
    page.locator("#upload-video").set_input_files(footage / "match-2.mp4")
    page.locator("#upload-tracks").set_input_files(footage / "match-2.txt")
    page.locator("#upload-at").fill("0:00:12")
    page.locator("#upload button").click()
    page.wait_for_url(re.compile("upload="), timeout=150_000)
    move_slider(page, "End", "upload=")
    assert page.locator("#hits .choose").first.text_content().startswith("match-2")


def keep_picture(page):
    """Keeps what is seen, where the environment says so."""
    path = os.environ.get("STVH_PICTURE")
    if path:
        page.goto(f"{page.url.split('?')[0]}?clip=match-1/10000&scale=0.4")
        page.locator("#map canvas").wait_for()
        wait_until(page, "document.querySelector('.query-card video').currentTime > 0.2")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path)
