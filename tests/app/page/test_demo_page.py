"""The page on rendered matches, indexed by the demo's model as `make page` does it.

STVH_PICTURE=docs/page.png keeps what the browser shows as the picture of the README.
"""

import os
import pathlib
import re

import pytest

from data.synthetic.footage import synthesize_footage
from stvh_jax.cli import search
from stvh_jax.retrieval.index import Index
from tests.app.page.conftest import Watched
from tests.helpers.served import serving

pytest.importorskip("av")
pytestmark = pytest.mark.slow
RUN = pathlib.Path(__file__).parents[3] / "notebooks" / "demo_run.zip"
MATCHES, MINUTES = 3, 0.4


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Renders the matches."""
    folder = tmp_path_factory.mktemp("footage")
    synthesize_footage(folder, matches=MATCHES, minutes=MINUTES, progress=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def demo(footage, tmp_path_factory):
    """Indexes them, with the labels of the first alone, and serves the index."""
    folder = tmp_path_factory.mktemp("demo")
    labels = (footage / "labels.csv").read_text().splitlines(keepends=True)
    own = [labels[0], *(line for line in labels if line.startswith("match-1"))]
    (folder / "labels.csv").write_text("".join(own))
    words = ["index", "--run", str(RUN), "--video", str(footage / "match-*.mp4")]
    words += ["--tracks", str(footage / "{match}.txt"), "--labels", str(folder / "labels.csv")]
    assert search.main(argv=[*words, "--out", str(folder / "index")]) == 0
    with serving(Index.open(folder / "index"), folder) as page:
        yield page


@pytest.fixture
def seen(browser, demo):
    """Gives a browser on it, which has nothing to complain of in the end."""
    watched = Watched(browser, demo)
    yield watched
    watched.close()
    assert watched.unexpected() == []


def _activities(page):
    return page.locator("#hits .activity").all_text_contents()


def test_hits_move_from_the_same_match_to_the_same_activity(seen):
    page = seen.open("/?clip=match-1/10000")
    given = page.locator(".query-card .activity").text_content()
    found = [text.removesuffix("?") for text in _activities(page)[:5]]
    assert found.count(given) >= 4
    page.locator("#scale").focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('#scale').value === '0'")
    page.wait_for_function("() => location.search.includes('scale=0')")
    matches = page.locator("#hits .choose b").all_text_contents()[:5]
    assert matches.count("match-1") >= 4
    assert page.locator(".activity.predicted").first.text_content().endswith("?")


def test_a_clip_plays_with_the_boxes_of_its_people(seen):
    page = seen.open("/?clip=match-1/10000")
    page.locator("#hits > .card").first.hover()
    page.wait_for_function("() => document.querySelector('#hits video').currentTime > 0.2")
    page.wait_for_function(
        "() => document.querySelectorAll('#hits > .card:first-child rect').length === 12"
    )


def test_an_uploaded_clip_finds_its_own_moment(seen, footage):
    page = seen.open("/")
    page.locator("#upload-video").set_input_files(footage / "match-2.mp4")
    page.locator("#upload-tracks").set_input_files(footage / "match-2.txt")
    page.locator("#upload-at").fill("0:00:12")
    page.locator("#upload button").click()
    page.wait_for_url(re.compile("upload="), timeout=150_000)
    nearest = page.locator("#hits .choose").first.text_content()
    assert "match-2" in nearest
    assert "0:00:1" in nearest


def test_an_upload_that_is_no_video_is_one_line(seen, footage):
    seen.allowed = "status of 400"
    page = seen.open("/")
    page.locator("#upload-video").set_input_files(footage / "labels.csv")
    page.locator("#upload-tracks").set_input_files(footage / "match-2.txt")
    page.locator("#upload button").click()
    page.locator("#upload-status", has_text="video").filter(has_not_text="seconds …").wait_for(
        timeout=150_000
    )
    assert page.locator("#hits > .card").count() == 24
    assert page.locator("#upload button").is_enabled()


def test_the_picture(seen, tmp_path):
    page = seen.open("/?clip=match-1/10000&scale=0.4")
    page.locator("#map canvas").wait_for()
    page.wait_for_function("() => document.querySelector('.query-card video').currentTime > 0.2")
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('#hits .stage')).slice(0, 6).length === 6"
    )
    page.wait_for_load_state("networkidle")
    path = os.environ.get("STVH_PICTURE") or tmp_path / "page.png"
    page.screenshot(path=path)
    assert pathlib.Path(path).stat().st_size > 50_000
