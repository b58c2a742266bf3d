"""The map in a browser: it is drawn, follows the slider, says what it shows and what was chosen."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

import stvh_jax.app

STATIC = pathlib.Path(stvh_jax.app.__file__).parent / "static"
HOST = "http://page.test"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
PAGE = """<!doctype html><html lang="en"><head><title>Map</title>
<link rel="stylesheet" href="/map.css"></head>
<body><main><h1>Map</h1><div id="map" data-src="/map?version=1"></div></main>
<script src="/map.js"></script></body></html>"""
# Three clips, one of them alone on its side at each focus.
MAP = {
    "foci": [0, 2],
    "unit": 1000,
    "layouts": [[-900, 0, 900, 0, 0, 900], [900, 0, -900, 0, 0, 900]],
    "matches": ["m"],
    "match": [0, 0, 0],
    "clip": ["1", "2", "3"],
    "labels": ["<b>spike</b>"],
    "label": [0, 0, -1],
    "predicted": [0, 1, 0],
}
QUERY = {"kind": "query", "places": [[0, 0], [0, 0]]}
HIT = {"kind": "hit", "rank": 1, "match": "m", "clip": "9", "places": [[0, -0.8], [0.02, 0.02]]}
# Says of the left and the right half whether anything is drawn there.
DRAWN = """() => {
  const canvas = document.querySelector("canvas"), sides = [false, false];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 3; i < data.length; i += 4)
    if (data[i]) sides[Number(((i - 3) / 4) % canvas.width >= canvas.width / 2)] = true;
  return sides;
}"""
# Counts the drawings, in each of which two groups of clips are filled.
COUNT_DRAWINGS = """() => {
  const { fill } = CanvasRenderingContext2D.prototype;
  window.drawings = 0;
  CanvasRenderingContext2D.prototype.fill = function () {
    window.drawings += 0.5;
    fill.call(this);
  };
}"""


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield opened
        opened.close()


class Served:
    """A page with a map; what is fetched can be made to fail."""

    def __init__(self, browser, **options):
        self.fetched, self.failing, self.errors, self.map = [], False, [], MAP
        context = browser.new_context(viewport={"width": 500, "height": 500}, **options)
        self.page = context.new_page()
        self.page.route("**/*", self.answer)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self.on_message)

    def on_message(self, message):
        if message.type == "error" and "503" not in message.text:
            self.errors.append(message.text)

    def answer(self, route):
        path = route.request.url.removeprefix(HOST)
        if path == "/":
            policy = {"Content-Security-Policy": POLICY}
            route.fulfill(body=PAGE, content_type="text/html", headers=policy)
        elif path.startswith("/map?"):
            self.fetched.append(path)
            body = json.dumps(self.map)
            route.fulfill(status=503 if self.failing else 200, body=body)
        else:
            kind = "text/css" if path.endswith("css") else "text/javascript"
            route.fulfill(path=STATIC / path[1:], content_type=kind)

    def open(self):
        self.page.goto(HOST)
        return self.page

    def show(self, scale, *marks):
        self.page.evaluate("([scale, marks]) => stvhMap.show(scale, marks)", [scale, marks])


@pytest.fixture
def served(browser):
    made = Served(browser, reduced_motion="reduce")
    yield made
    made.page.context.close()


def label(page):
    return page.get_attribute("canvas", "aria-label")


def test_it_says_what_it_shows(served):
    page = served.open()
    page.wait_for_selector(".map-key li")
    assert page.locator(".map-key li").all_inner_texts() == [
        "\u25cf <b>spike</b>", "\u25cf no activity known"
    ]  # fmt: skip
    assert page.get_attribute("canvas", "role") == "img"
    served.show(0, QUERY, HIT)
    page.wait_for_function("() => document.querySelector('canvas').ariaLabel.includes('1 hit')")
    assert label(page) == "Map of 3 clips; the query; 1 hit; hit 1 lies below the query."
    served.show(1, QUERY, HIT)
    page.wait_for_function("() => document.querySelector('canvas').ariaLabel.includes('close to')")
    served.show(1)
    page.wait_for_function("() => document.querySelector('canvas').ariaLabel === 'Map of 3 clips.'")
    assert served.fetched == ["/map?version=1"] and served.errors == []


def test_a_clip_or_a_hit_is_chosen_by_a_click(served):
    page = served.open()
    page.evaluate("""() => {
      window.chosen = [];
      addEventListener("stvh-map-choose", (event) => window.chosen.push(event.detail));
    }""")
    page.wait_for_selector(".map-key li")
    served.show(0, QUERY, HIT)
    page.wait_for_function("() => document.querySelector('canvas').ariaLabel.includes('1 hit')")
    box = page.locator("canvas").bounding_box()
    inner = np.array([box["width"] - 30, box["height"] - 30])
    corner = np.array([box["x"], box["y"]]) + 15
    for place, clip, text in [
        ((-0.9, 0), "1", "m/1: <b>spike</b>"),
        ((0.9, 0), "2", "m/2: <b>spike</b> (predicted)"),
        ((0, 0.9), "3", "m/3: no activity known"),
        ((0, -0.8), "9", "hit 1: m/9"),
    ]:
        at = corner + inner * (np.array([1 + place[0], 1 - place[1]]) / 2)
        page.mouse.move(*at)
        assert page.inner_text(".map-tip") == text
        page.mouse.click(*at)
        assert page.evaluate("chosen.at(-1)") == {"match": "m", "clip": clip}
    page.mouse.move(*(corner + inner * [0.25, 0.9]))
    assert not page.is_visible(".map-tip")
    page.mouse.click(*(corner + inner * [0.25, 0.9]))
    assert page.evaluate("chosen.length") == 4 and served.errors == []


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_the_map_goes_over_from_focus_to_focus(browser, motion):
    served = Served(browser, reduced_motion=motion)
    served.map = MAP | {"layouts": [[-900, 0] * 3, [900, 0] * 3]}  # on the left, then the right
    page = served.open()
    page.wait_for_selector(".map-key li")
    for scale, sides in ((0, [True, False]), (1, [False, True]), (0.2, [True, False])):
        served.show(scale)
        page.wait_for_function(f"sides => String(({DRAWN})()) === String(sides)", arg=sides)
    page.wait_for_timeout(300)
    page.evaluate(COUNT_DRAWINGS)
    served.show(1)
    page.wait_for_function(f"() => String(({DRAWN})()) === 'false,true'")
    page.wait_for_timeout(300)
    # At once, or by drawings on the way.
    assert (page.evaluate("drawings") == 1) == (motion == "reduce") and served.errors == []
    page.context.close()


def test_a_failed_map_can_be_tried_again_and_a_new_version_is_fetched(served):
    served.failing = True
    page = served.open()
    page.wait_for_selector(".map-again:visible")
    assert page.inner_text(".map-message") == "The map could not be loaded."
    served.failing = False
    page.click(".map-again")
    page.wait_for_selector(".map-key li")
    assert not page.is_visible(".map-again")
    page.evaluate("document.getElementById('map').dataset.src = '/map?version=2'")
    served.map = MAP | {"layouts": [[], []], "match": [], "clip": [], "labels": [], "label": []}
    served.show(0.5)
    page.wait_for_selector(".map-message:has-text('The map is empty')")
    served.show(0.25)
    page.wait_for_timeout(100)
    assert served.fetched == ["/map?version=1"] * 2 + ["/map?version=2"] and served.errors == []
