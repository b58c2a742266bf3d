"""What the page shows besides hits: clips that play, the map, and what goes wrong."""

import json
import re

import numpy as np

from tests.app.page.test_page import names, search, settled, status, wait_for_address
from tests.helpers.served import serving


def test_clips_play_where_they_are_looked_at(watched, served):
    page = watched.open("/?clip=cup+final/5&is.match=gala")
    card = page.locator("#hits > .card").nth(1)
    card.hover()
    video = card.locator("video")
    page.wait_for_function(
        "video => !video.paused && video.currentTime > 0", arg=video.element_handle()
    )
    page.wait_for_function("card => card.querySelector('svg rect')", arg=card.element_handle())
    video.evaluate("video => { video.dataset.stopped = '1'; video.pause(); }")
    drawn = card.locator("svg rect").evaluate_all(
        "all => all.map(each => ['y', 'x', 'height', 'width'].map(name => each.getAttribute(name)))"
    )
    boxes = json.loads(served.get("/boxes", clip=names(page)[1]).content)
    scale = np.array([boxes["height"], boxes["width"]] * 2) / 10_000
    frames = [np.array(frame).reshape(-1, 4) * scale for frame in boxes["boxes"]]
    for frame in frames:
        frame[:, 2:] -= frame[:, :2]
    drawn = np.array(drawn, float)
    assert any(frame.shape == drawn.shape and np.allclose(frame, drawn) for frame in frames)
    video.evaluate("video => { video.dataset.stopped = ''; return video.play(); }")
    page.locator("h1").hover()
    page.wait_for_function("video => video.paused", arg=video.element_handle())


def test_few_clips_all_play(watched):
    page = watched.open("/?clip=cup+final/5&is.match=gala&is.activity=spike&from=0:00:06")
    assert 1 < len(names(page)) <= 8
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('#hits video')).some(video => !video.paused)"
    )


def test_who_wants_no_motion_gets_none(watched, served):
    page = watched.open(
        "/?clip=cup+final/5&is.match=gala&is.activity=spike", reduced_motion="reduce"
    )
    page.locator("#hits > .card").nth(1).hover()
    page.keyboard.press("j")
    page.keyboard.press("[")
    wait_for_address(page, scale=["0.95"])
    settled(page, served)
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.evaluate(
        "Array.from(document.querySelectorAll('video')).every(each => each.paused)"
    )
    page.keyboard.press("j")
    page.keyboard.press(" ")  # but who asks for it
    page.wait_for_function("() => document.querySelectorAll('.here video')[0].paused === false")


def test_a_clip_whose_video_is_gone_says_why(watched):
    page = watched.open("/?is.match=away")
    text = page.locator(".problem").first.inner_text()
    assert re.fullmatch(
        r"/.*/away\.mp4 is gone; put it back, or index it again from its new place", text
    )
    page.locator("#hits .choose").first.click()
    wait_for_address(page, **{"is.match": ["away"], "clip": ["away/0"]})


def test_a_server_that_is_away_is_told_and_asked_again(watched, served):
    watched.allowed = "net::ERR_FAILED"
    page = watched.open("/?clip=cup+final/5")
    before = names(page)
    page.route("**/results*", lambda route: route.abort())
    page.locator("#scale").focus()
    page.keyboard.press("Home")
    page.get_by_text("The server does not answer. Is it still running?").wait_for()
    assert names(page) == before
    page.unroute("**/results*")
    page.get_by_role("button", name="Try again").click()
    wait_for_address(page, scale=["0"])
    settled(page, served)
    assert "24 moments" in status(page).inner_text()


def test_a_page_outlives_its_server(watched, shown, tmp_path):
    watched.allowed = "net::ERR_"
    with serving(shown.open(), tmp_path) as first:
        page = watched.open(first.address + "/?clip=cup+final/5")
        port = first.door.port
    page.keyboard.press("[")
    page.get_by_text("The server does not answer. Is it still running?").wait_for()
    with serving(shown.open(), tmp_path, port=port) as second:
        page.get_by_role("button", name="Try again").click()
        wait_for_address(page, scale=["0.95"])
        settled(page, second)


def test_a_question_that_fails_keeps_what_is_shown(watched):
    watched.allowed = "status of 400"
    page = watched.open("/?clip=cup+final/5")
    before = names(page)
    page.get_by_label("from", exact=True).fill("soon")
    page.get_by_label("from", exact=True).press("Enter")
    page.locator(".error").wait_for()
    assert "'soon' is not a time; give h:mm:ss" in page.locator(".error").inner_text()
    assert names(page) == before and page.get_by_label("from", exact=True).input_value() == "soon"


def test_a_point_of_the_map_becomes_the_query(watched, served):
    page = watched.open("/?clip=cup+final/5")
    canvas = page.locator("#map canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => document.querySelector('#map canvas').ariaLabel.includes('the query; 12 hits')"
    )
    box = canvas.bounding_box()
    # Some point has a clip under it.
    for step in range(1, 40):
        x, y = box["width"] * step / 40, box["height"] * (0.35 + 0.3 * (step % 7) / 7)
        page.mouse.move(box["x"] + x, box["y"] + y)
        if page.locator(".map-tip").is_visible():
            break
    text = page.locator(".map-tip").inner_text()
    name = re.search(r"(?:hit \d+: )?(.*/\d+)", text)[1]
    page.mouse.down()
    page.mouse.up()
    wait_for_address(page, clip=[name])
    settled(page, served)
    assert page.get_by_role("heading", level=1).inner_text() == f"Moments like {name}"
    assert page.locator(".map-key li").all_inner_texts() == ["● pass", "■ set", "▲ spike"]


def test_the_map_morphs_with_the_slider(watched):
    page = watched.open("/?clip=cup+final/5")
    page.wait_for_function(
        "() => document.querySelector('#map canvas').ariaLabel.includes('12 hits')"
    )
    drawing = "document.querySelector('#map canvas').toDataURL()"
    before = page.evaluate(drawing)
    page.locator("#scale").focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"before => {drawing} !== before", arg=before)


def test_a_map_that_fails_is_asked_for_again(watched):
    watched.allowed = "net::ERR_FAILED"
    page = watched.blank()
    page.route("**/map?*", lambda route: route.abort())
    page.goto("/")
    page.get_by_text("The map could not be loaded.").wait_for()
    page.unroute("**/map?*")
    page.locator(".map-again").click()
    page.wait_for_function(
        "() => document.querySelector('#map canvas').ariaLabel === 'Map of 53 clips.'"
    )


def test_pairs_of_activities_lead_to_their_confusions(watched):
    page = watched.open("/research?clip=cup+final/5&scale=0")
    page.get_by_role("link", name=re.compile("^pass and set: ")).click()
    page.wait_for_url(re.compile(r"pair=pass&pair=set#pair$"))
    section = page.locator("#pair")
    assert section.get_by_role("heading").inner_text() == "Clips of pass that find set"
    section.get_by_role("link").first.click()
    page.wait_for_url("**/?clip=**")
    assert page.get_by_role("heading", level=1).inner_text().startswith("Moments like ")
    assert page.locator("#scale").input_value() == "0"


def test_a_search_from_the_research_page_goes_on(watched):
    page = watched.open("/research")
    search(page, "spike")
    page.wait_for_url("**/?activity=spike")
    page.get_by_role("link", name="Research").click()
    page.get_by_label("Clip", exact=True).fill("gala/4")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Two searches side by side").wait_for()
