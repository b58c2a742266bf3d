"""The researcher's tab as HTML: tables with headers, links, nothing that its policy forbids."""

import html.parser
import pathlib
import re
import threading
import urllib.parse

import jinja2
import numpy as np
import pytest

import stvh_jax.app
from stvh_jax.app.beside import Side, beside
from stvh_jax.app.research import Research
from stvh_jax.app.state import PageState
from stvh_jax.retrieval.index import Index
from tests.app.test_maps import clustered_codes
from tests.helpers.indexed_clips import BITS, FOCI

APP = pathlib.Path(stvh_jax.app.__file__).parent
CLIPS = 90
# A name that would be markup if it were not escaped.
ACTIVITIES = ("spike & set", '<script>alert("x")</script>', None)
NAMES_ONLY = dict.fromkeys(("distances", "failures", "pair", "beside")) | {
    "focus": "3", "error": "", "state": PageState(), "foci": 4, "models": False, "other": 0.0,
    "hidden": [], "known": [], "activities": [],
}  # fmt: skip


class Page(html.parser.HTMLParser):
    """Collects the elements of a page, and the text of each table cell."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.cells, self._in_cell = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._in_cell = True
            self.cells.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1][2].append(data)

    def all(self, tag):
        return [attrs for own, attrs in self.elements if own == tag]


def address(path, **parameters):
    return f"{path}?{urllib.parse.urlencode(parameters)}"


def render(**shown):
    """Renders the part of the page that is the tab's own."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(APP / "templates"),
    )
    links = {
        "clip_url": lambda name: address("/", clip="/".join(name)),
        "pair_url": lambda one, other: address("/research", of=one, found=other) + "#pair",
    }
    template = environment.get_template("research.html")
    text = template.render(NAMES_ONLY | links | shown)
    return text[text.index('<div class="research">') : text.index("</main>")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    index = Index.create(tmp_path_factory.mktemp("page") / "i", bits=BITS, stored_foci=tuple(FOCI))
    labels = [ACTIVITIES[place] for place in np.random.default_rng(2).integers(0, 3, CLIPS)]
    guesses = [None if place % 2 else ACTIVITIES[0] for place in range(CLIPS)]
    index.add(
        clustered_codes(CLIPS), match="<m>", clip=range(CLIPS), activity=labels, predicted=guesses
    )
    return index, Research(index, index.clips(), threading.Lock())


@pytest.fixture(scope="module")
def whole(filled):
    index, research = filled
    sides = Side("focus <0>", index, 0), Side("focus 3", index, 1)
    pair = ACTIVITIES[0], ACTIVITIES[1]
    compared = beside(*sides, [("<m>", "4")], threading.Lock(), k=40)
    shown = {
        "distances": research.distances(1),
        "failures": research.failures(1),
        "pair": pair,
        "beside": compared,
    }
    return shown, render(**shown)


def test_the_policy_of_the_page_is_kept(whole):
    _, text = whole
    for tag, attributes in Page(text).elements:
        assert tag not in ("script", "style", "m")
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            assert attributes.get(name, "/").startswith("/")


def test_distances_are_a_table_with_headers_and_links(whole):
    shown, text = whole
    distances = shown["distances"]
    page = Page(render(distances=distances))
    heads = [
        "".join(words) for tag, at, words in page.cells if tag == "th" and at["scope"] == "col"
    ]
    assert heads == ["activity", "clips", *distances.names]
    rows = ["".join(words) for tag, at, words in page.cells if tag == "th" and at["scope"] == "row"]
    assert rows == list(distances.names)
    cells = [(at, "".join(words).strip()) for tag, at, words in page.cells if tag == "td"]
    size = len(rows)
    for row in range(size):
        count, *own = cells[row * (size + 1) : (row + 1) * (size + 1)]
        assert count[1] == str(distances.counts[row])
        for column, (attributes, value) in enumerate(own):
            assert value == f"{distances.matrix[row, column]:.1f}"
            assert attributes["class"] == f"shade-{distances.shades[row][column]}"
    pairs = [
        tuple(value for _, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(at["href"]).query))
        for at in page.all("a")
    ]
    assert pairs == [(a, b) for a in distances.names for b in distances.names if a != b]
    predicted = sum(distances.predicted)
    assert predicted and f"the activity of {predicted} is predicted, not given" in text


def test_clips_are_linked(whole):
    shown, text = whole
    links = [at["href"] for at in Page(text).all("a")]
    named = [("<m>", hit.clip) for ranking in shown["beside"].rankings for hit in ranking.hits]
    named += [query.name for each in shown["failures"].classes for query in each.worst]
    for query, names in shown["failures"].found_as(*shown["pair"]):
        named += [query.name, *names]
    for name in named:
        assert address("/", clip="/".join(name)) in links
    assert text.count("in the other list") == 2 * shown["beside"].common


@pytest.mark.parametrize("what", ["distances", "failures", "beside", "nothing"])
def test_parts_can_be_left_out(whole, what):
    shown, _ = whole
    text = render(**{what: shown.get(what)} if what in shown else {})
    assert [at["id"] for at in Page(text).all("section")] == ([what] if what in shown else [])


def test_it_says_what_to_do_where_no_activity_is_known(tmp_path):
    index = Index.create(tmp_path / "index", bits=BITS, stored_foci=tuple(FOCI))
    empty = Research(index, index.clips(), threading.Lock())
    text = render(distances=empty.distances(1), failures=empty.failures(1))
    assert "Give clips one when you index them" in text and "<table" not in text


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(
    ("sheet", "behind", "count"), [("research", "text", 10), ("map", "ground", 9)]
)
def test_colours_have_enough_contrast_in_light_and_dark(sheet, behind, count):
    text = (APP / "static" / f"{sheet}.css").read_text()
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    for part in (light, dark.split("\n}\n")[0]):
        colours = dict(re.findall(r"--(?:map|shade)-(\w+): (#[0-9a-f]{6});", part))
        checked = [name for name in colours if name.isdigit() or name == "other"]
        assert len(checked) == count
        for name in checked:
            assert contrast(colours[name], colours[behind]) >= 4.5, name
