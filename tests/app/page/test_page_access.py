"""The page for everybody: by keyboard, by screen reader, without its script, and at any width."""

import re

import pytest

from tests.app.page.test_page import asked, names, settled, wait_for_address

QUERY = "/?clip=cup+final/5"
# Each kind of page with something of everything on it.
VIEWS = {
    "browsing": "/?is.match=gala&is.match=away",
    "results": QUERY + "&activity=set&like=gala/4&round=0.5&is.activity=set&from=0:00:01&scale=0.5",
    "nothing": QUERY + "&is.match=cup+final&elsewhere=1",
    "research": "/research?clip=cup+final/5&pair=pass&pair=set&scale=0.5",
}
SIZES = {"phone": (375, 812), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def axe():
    module = pytest.importorskip("axe_playwright_python.sync_playwright")
    return module.Axe()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(watched, axe, theme, size):
    width, height = SIZES[size]
    viewport = {"width": width, "height": height}
    page = watched.blank(viewport=viewport, color_scheme=theme, reduced_motion="reduce")
    for name in ("browsing", "results", "research"):
        page.goto(VIEWS[name])
        page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()


def test_axe_finds_nothing_in_what_is_rarely_seen(watched, axe):
    watched.allowed = "status of 404"
    page = watched.open(VIEWS["nothing"], reduced_motion="reduce")
    for address in (VIEWS["nothing"], "/ask?text=nonsense"):
        page.goto(address)
        page.keyboard.press("?")
        for _ in "ab":
            found = axe.run(page)
            assert found.violations_count == 0, found.generate_report()
            page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [320, 375, 768, 1280, 3840])
def test_no_width_scrolls_sideways(watched, width):
    page = watched.blank(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    for path in VIEWS.values():
        page.goto(path)
        page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = page.locator("main :is(a, button, input, h1, h2, p)").evaluate_all(
            """(all, width) => all.filter(each => {
              const {left, right} = each.getBoundingClientRect();
              const hidden = each.closest(".visually-hidden, .research-wide");
              return right > left && !hidden && (left < 0 || right > width);
            }).map(each => each.outerHTML)""",
            width,
        )
        assert beyond == []


def test_a_wide_screen_shows_more_and_a_phone_has_large_targets(watched):
    wide = watched.open(QUERY, viewport={"width": 3840, "height": 2160})
    first = wide.locator("#hits > .card").evaluate_all(
        "cards => cards.filter(card => card.offsetTop === cards[0].offsetTop).length"
    )
    assert first >= 6
    phone = watched.open(QUERY, viewport={"width": 375, "height": 812}, has_touch=True)
    # What stands beside the hits on a desk is far below them here.
    phone.get_by_role("link", name="Narrow, teach, take away").click()
    phone.wait_for_function("() => document.activeElement.id === 'tools' && scrollY > 1000")
    assert not wide.get_by_role("link", name="Narrow, teach, take away").is_visible()
    small = phone.locator("button:visible, .choose:visible, select:visible").evaluate_all(
        """all => all.filter(each => {
          const {width, height} = each.getBoundingClientRect();
          return Math.min(width, height) < 24;
        }).map(each => each.outerHTML)"""
    )
    assert small == []


def focused(page):
    """Describes what has the focus, and whether that can be seen."""
    return page.evaluate(
        """() => {
          const own = document.activeElement, style = getComputedStyle(own);
          const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
          const name = own.id || own.name || own.textContent.trim() || own.getAttribute("href");
          return [own.tagName, own.dataset.reached = "1", shown, name];
        }"""
    )


def test_the_tabulator_reaches_every_control_and_shows_where_it_is(watched):
    page = watched.open(QUERY + "&is.match=it%27s")
    count = page.locator(":is(a[href], button, input, summary):visible").count()
    for _ in range(count + 10):
        page.keyboard.press("Tab")
        tag, _, shown, name = focused(page)
        if tag == "BODY":
            break
        assert shown, f"{tag} {name} does not show that it has the focus"
    missed = page.locator(
        ":is(a[href], button, input, summary):visible:not([data-reached]):not(:disabled)"
    ).evaluate_all("all => all.map(each => each.outerHTML)")
    assert missed == []


def test_everything_works_by_keys(watched, served):
    page = watched.open()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("cup final 0:00:05")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?clip=**")
    first = names(page)
    here = "document.querySelector('#hits > .here')?.dataset.name"
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        assert page.evaluate(here) == first[place]
    page.keyboard.press("x")
    assert page.locator("#taken").inner_text() == "1 selected."
    page.keyboard.press("x")
    assert page.locator("#taken").inner_text() == "All that is shown, or what you select."
    page.keyboard.press("+")
    page.keyboard.press("j")
    page.keyboard.press("-")
    assert page.locator("#again").inner_text() == "Search again (1 +, 1 −)"
    page.keyboard.press("-")  # once more takes it back
    assert page.locator("#again").inner_text() == "Search again (1 +, 0 −)"
    page.keyboard.press("a")
    wait_for_address(page, like=[first[1]], round=["1.00"])
    settled(page, served)
    page.keyboard.press("[")
    wait_for_address(page, scale=["0.95"])
    page.keyboard.press("]")
    wait_for_address(page, scale=None)
    shown = settled(page, served)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    place = page.evaluate("document.querySelector('#hits > .here .choose')?.href") or page.url
    wait_for_address(page, like=None)
    assert asked(page)["clip"][0] in shown, place


def test_keys_are_listed_and_leave_text_alone(watched):
    page = watched.open(QUERY)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    page.keyboard.press("j")
    assert page.locator(".here").count() == 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.get_by_label("Find").focus()
    page.keyboard.type("jkx+-a/?[] ")
    assert page.get_by_label("Find").input_value() == "jkx+-a/?[] "
    assert page.url.endswith(QUERY.removeprefix("/"))


def test_space_plays_and_pauses(watched):
    page = watched.open(QUERY + "&is.match=gala", reduced_motion="reduce")
    page.keyboard.press("j")
    video = page.locator(".here video").element_handle()
    page.keyboard.press(" ")
    page.wait_for_function("video => !video.paused && video.currentTime > 0", arg=video)
    page.keyboard.press(" ")
    page.wait_for_function("video => video.paused", arg=video)


def test_a_reader_is_told_what_there_is(watched):
    page = watched.open(QUERY)
    for role, name in {
        "searchbox": None, "slider": "What is alike: from who and where to what they do",
        "main": None, "navigation": "Views", "complementary": "Narrow, teach, take away",
    }.items():  # fmt: skip
        if role != "searchbox":
            assert page.get_by_role(role, name=name).count() == 1
    headings = page.get_by_role("heading").all_inner_texts()
    assert headings[:2] == ["Moments like cup final/5", "Moments"]
    card = page.locator("#hits article").nth(1)
    assert card.get_attribute("aria-label").startswith("2: ")
    assert card.get_by_role("button", name=re.compile("^More like 2: ")).count() == 1
    assert page.locator("[data-part=status]").get_attribute("role") == "status"
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_it_works_without_its_script(watched, served):
    page = watched.open(java_script_enabled=False)
    page.get_by_label("Find").fill("cup final 0:00:05")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**/?clip=cup+final%2F5")

    def shown():
        return [card.get_attribute("data-name") for card in page.locator("#hits > .card").all()]

    first = shown()
    assert len(first) == 24
    page.locator("#scale").fill("0")
    page.locator("#scale-form button").click()
    page.wait_for_url(re.compile("[?&]scale=0"))
    assert sum(name.startswith("cup final/") for name in shown()[:15]) >= 13
    page.go_back()
    page.locator("#hits button[name=like]").first.click()
    page.wait_for_url(re.compile("[?&]like="))
    assert first[0] not in shown() and len(shown()) == 24
    page.locator("summary", has_text="match").click()
    page.locator("#narrow input[value=gala]").check()
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(re.compile("[?&]is.match=gala"))
    assert {name.split("/")[0] for name in shown()} == {"gala"}
    page.goto(QUERY)
    page.get_by_role("link", name="More moments").click()
    page.wait_for_url("**count=48")
    assert len(shown()) == 48 and shown()[:24] == first
    page.locator("#hits .choose").nth(3).click()
    page.wait_for_url("**/?clip=**")
    assert page.get_by_role("heading", level=1).inner_text() == f"Moments like {first[3]}"
