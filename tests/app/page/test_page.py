"""The page in a browser: finding, the slider, teaching, narrowing, links, and the map."""

import re
import urllib.parse

import pytest

# What a browser says of an answer that is no success.
REFUSED = "status of 40[04]"


def names(page):
    """Gives the names of the cards in order."""
    return page.locator("#hits > .card").evaluate_all(
        "cards => cards.map(card => card.dataset.name)"
    )


def asked(page):
    """Gives the parameters of the page's address."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)


def wait_for_address(page, **parameters):
    """Waits until the address has some parameters; None is one that it lacks."""
    page.wait_for_function(
        """wanted => {
          const pairs = new URLSearchParams(location.search);
          return Object.entries(wanted).every(([name, value]) => value === null
            ? !pairs.has(name) : JSON.stringify(pairs.getAll(name)) === JSON.stringify(value));
        }""",
        arg={name: value if value is None else [*value] for name, value in parameters.items()},
    )


def settled(page, served):
    """Waits until the page shows what the server answers to its address; gives the names."""
    query = urllib.parse.urlsplit(page.url).query
    text = served.ask(f"/results?{query}").text
    wanted = re.findall(r'<li class="card[^>]*data-key="([^"]*)"', text)
    wanted = [name.replace("&#39;", "'") for name in wanted]
    page.wait_for_function(
        """wanted => JSON.stringify(wanted) === JSON.stringify(
          Array.from(document.querySelectorAll("#hits > .card"), card => card.dataset.name))""",
        arg=wanted,
    )
    return wanted


def search(page, text):
    page.get_by_label("Find").fill(text)
    page.get_by_role("button", name="Search", exact=True).click()


def status(page):
    return page.locator("[data-part=status]")


@pytest.mark.parametrize(
    "text, title, clip",
    [
        ("spike", "spike", None),
        ("cup final 0:00:05", "cup final/5", "cup final/5"),
        ("gala/7", "gala/7", "gala/7"),
    ],
)
def test_what_is_written_is_searched_for(watched, text, title, clip):
    page = watched.open()
    search(page, text)
    page.wait_for_url("**/?**")
    assert page.get_by_role("heading", level=1).inner_text() == f"Moments like {title}"
    assert len(names(page)) == 24 and clip not in names(page)
    assert (
        "24 moments" in status(page).inner_text()
        and "53 clips searched" in status(page).inner_text()
    )
    activity = page.locator("#hits .card .activity").first.inner_text()
    assert "spike" in activity if text == "spike" else activity


def test_nonsense_is_answered_by_a_line_that_helps(watched):
    watched.allowed = REFUSED
    page = watched.open()
    search(page, "nonsense")
    page.wait_for_url("**/ask?**")
    line = page.locator(".error").inner_text()
    assert line.startswith(
        "nothing here is called 'nonsense'; write an activity (pass, set, spike)"
    )
    assert len(names(page)) == 24


def test_a_card_becomes_the_query_and_back_returns(watched, served):
    page = watched.open("/?clip=cup+final/5")
    before = names(page)
    link = page.locator("#hits .choose").nth(2)
    link.click()
    wait_for_address(page, clip=[before[2]])
    settled(page, served)
    heading = page.get_by_role("heading", level=1)
    assert heading.inner_text() == f"Moments like {before[2]}"
    assert before[2] not in names(page)
    page.go_back()
    assert settled(page, served) == before
    assert heading.inner_text() == "Moments like cup final/5"
    page.go_forward()
    wait_for_address(page, clip=[before[2]])
    settled(page, served)


def test_the_slider_changes_the_order_while_it_is_dragged(watched, served):
    page = watched.open("/?clip=cup+final/5")
    right = names(page)
    box = page.locator("#scale").bounding_box()
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 8, height)
    page.mouse.down()
    for place in (0.8, 0.5, 0.2, 0.0):
        page.mouse.move(box["x"] + 8 + place * (box["width"] - 16), height, steps=4)
    wait_for_address(page, scale=["0"])  # before it is let go
    left = settled(page, served)
    page.mouse.up()
    # On the left the same match is near, on the right the same activity.
    assert sum(name.startswith("cup final/") for name in left[:15]) >= 13
    assert sum(name.startswith("cup final/") for name in right[:15]) < 10
    assert len(page.context.pages) == 1 and page.evaluate("history.length") == 2
    assert page.locator("#scale").input_value() == "0"


def test_the_slider_moves_by_keys(watched, served):
    page = watched.open("/?clip=cup+final/5")
    page.locator("#scale").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    wait_for_address(page, scale=["0.97"])
    page.keyboard.press("Home")
    wait_for_address(page, scale=["0"])
    settled(page, served)
    assert page.locator("#scale").get_attribute("aria-valuetext") == "0 percent what they do"
    page.keyboard.press("End")
    wait_for_address(page, scale=None)
    settled(page, served)
    assert page.evaluate("document.activeElement.id") == "scale"


def test_teaching_asks_again_and_tells_the_share(watched, served):
    page = watched.open("/?clip=cup+final/5")
    first = names(page)
    again = page.locator("#again")
    assert again.is_disabled()
    cards = page.locator("#hits > .card")
    for place, sign in ((0, "like"), (1, "like"), (2, "not")):
        cards.nth(place).locator(f"button[name={sign}]").click()
    assert cards.nth(0).locator("button[name=like]").get_attribute("aria-pressed") == "true"
    assert names(page) == first  # nothing moves that nobody moved
    assert again.inner_text() == "Search again (2 +, 1 −)"
    again.click()
    wait_for_address(page, like=first[:2], round=["0.67"], **{"not": [first[2]]})
    after = settled(page, served)
    assert not set(first[:3]) & set(after)
    taught = page.locator("#taught").inner_text()
    assert "2 liked, 1 not." in taught and "67 %" in taught
    page.locator("#hits > .card").nth(0).locator("button[name=not]").click()
    page.locator("#again").click()
    wait_for_address(page, round=["0.67", "0.00"])
    settled(page, served)
    assert "67 % → 0 %" in page.locator("#taught").inner_text()
    page.get_by_role("link", name="Forget it").click()
    wait_for_address(page, like=None, round=None)
    assert settled(page, served) == first


def test_narrowing_shows_counts_and_leaves_out_the_rest(watched, served):
    page = watched.open("/?clip=cup+final/5")
    page.locator("summary", has_text="match").click()
    counts = page.locator("details[data-key=match] li").all_inner_texts()
    assert [" ".join(text.split()) for text in counts] == [
        "away 6", "cup final 20", "gala 21", "it's 6"
    ]  # fmt: skip
    page.locator("#narrow").get_by_label("it's").check()
    wait_for_address(page, **{"is.match": ["it's"]})
    assert {name.split("/")[0] for name in settled(page, served)} == {"it's"}
    assert page.locator("details[data-key=match]").get_attribute("open") is not None
    page.locator("summary", has_text="as a condition").click()
    assert page.locator(".condition code").inner_text() == "--where \"match IN ('it''s')\""
    page.locator("#narrow").get_by_label("it's").uncheck()
    wait_for_address(page, **{"is.match": None})
    page.get_by_role("checkbox", name="other matches only").check()
    wait_for_address(page, elsewhere=["1"])
    assert not {name for name in settled(page, served) if name.startswith("cup final/")}
    page.get_by_label("from", exact=True).fill("0:00:10")
    page.get_by_label("from", exact=True).press("Enter")
    wait_for_address(page, **{"from": ["0:00:10"]})
    assert {name.split("/")[0] for name in settled(page, served)} == {"gala"}


def test_where_nothing_fits_a_condition_can_be_lifted(watched, served):
    page = watched.open("/?clip=cup+final/5&is.match=cup+final&elsewhere=1&from=0:00:02")
    assert page.get_by_text("No moment fits.").is_visible()
    lifted = page.locator("[data-part=none] a")
    assert lifted.all_inner_texts() == [
        "match: cup final ×", "time: 0:00:02.0 to … ×", "other matches only ×"
    ]  # fmt: skip
    lifted.nth(0).click()
    wait_for_address(page, **{"is.match": None, "elsewhere": ["1"]})
    assert len(settled(page, served)) > 10
    assert not page.get_by_text("No moment fits.").is_visible()


def test_a_link_restores_the_page(watched, served):
    page = watched.open("/?clip=cup+final/5")
    page.locator("#scale").focus()
    page.keyboard.press("Home")
    wait_for_address(page, scale=["0"])
    page.get_by_role("checkbox", name="other matches only").check()
    wait_for_address(page, elsewhere=["1"], scale=["0"])
    settled(page, served)
    page.locator("#hits > .card").first.locator("button[name=like]").click()
    page.locator("#again").click()
    wait_for_address(page, round=["1.00"])
    shown = settled(page, served)
    other = watched.open(page.url)
    assert names(other) == shown
    for selector in ("#scale", "#taught", "[data-part=narrow]", ".chips"):
        parts = [each.locator(selector).first for each in (page, other)]
        assert parts[0].inner_text() == parts[1].inner_text()
    assert other.locator("#scale").input_value() == page.locator("#scale").input_value() == "0"
    assert other.get_by_role("checkbox", name="other matches only").is_checked()


def test_more_moments_come_below(watched, served):
    page = watched.open("/?clip=cup+final/5")
    before = names(page)
    page.get_by_role("link", name="More moments").click()
    wait_for_address(page, count=["48"])
    after = settled(page, served)
    assert after[:24] == before and len(after) == 48
    page.get_by_role("link", name="More moments").click()
    wait_for_address(page, count=["72"])
    assert len(settled(page, served)) == 50
    assert page.locator("#more").count() == 0


def test_a_chip_is_left_out(watched, served):
    page = watched.open("/?clip=cup+final/5&activity=set")
    page.get_by_role("link", name="Leave out: like cup final/5").click()
    wait_for_address(page, clip=None, activity=["set"])
    settled(page, served)
    page.get_by_role("link", name="Leave out: set").click()
    page.wait_for_function("() => !location.search")
    settled(page, served)
    assert page.get_by_role("heading", level=1).inner_text() == "What to look for?"
    assert page.locator("#scale").count() == 0
