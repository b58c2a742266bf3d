"""Pages of hits: twenty pictures each, marked by what the focus is about."""

import itertools
import warnings

import numpy as np
import pytest

from stvh_jax.reporting import plots
from stvh_jax.reporting.plots.canvas import GREEN, GREY, RED
from stvh_jax.reporting.plots.hit_pages import Found, hit_pages

IMAGE = np.zeros((9, 16, 3), np.uint8)
QUERY = Found(IMAGE, "spike", "game 1", "0:00:12.0")


def hits(count):
    names = itertools.product(["spike", "set"], ["game 1", "game 2"])
    return [
        Found(IMAGE, activity, match, "0:01:02.3", float(rank))
        for rank, (activity, match) in zip(range(count), itertools.cycle(list(names)))
    ]


def frames(figure):
    """Gives the colour and the dashes of the frame of each picture."""
    spines = [axes.spines["left"] for axes in figure.axes]
    return [(spine.get_edgecolor(), spine.get_linestyle()) for spine in spines]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [1]), (3, [4]), (19, [20]), (20, [20, 1]), (50, [20, 20, 11])]
)
def test_twenty_pictures_stand_on_a_page(count, sizes):
    pages = hit_pages(QUERY, hits(count), title="Like it", compares_match=False)
    assert [len(page.axes) for page in pages] == sizes
    titles = [page.get_suptitle() for page in pages]
    many = len(sizes)
    assert titles == (
        ["Like it"] if many == 1 else [f"Like it, page {n} of {many}" for n in range(1, many + 1)]
    )
    ranks = [axes.get_title().split(" · ")[0] for page in pages for axes in page.axes]
    assert ranks == ["query", *map(str, range(1, count + 1))]


def test_nothing_is_a_page_too():
    (page,) = hit_pages(None, [], title="Like it", compares_match=False)
    assert not page.axes and plots.render(page)[:4] == b"\x89PNG"


def test_the_activity_focus_marks_activities_and_frames_nothing_in_red():
    (page,) = hit_pages(QUERY, hits(4), title="", compares_match=False)
    assert len({colour for colour, _ in frames(page)}) == 1
    titles = [(axes.get_title(), axes.title.get_color()) for axes in page.axes]
    assert titles == [
        ("query · spike", "black"), ("1 · ✓ spike", GREEN), ("2 · ✓ spike", GREEN),
        ("3 · ✗ set", RED), ("4 · ✗ set", RED)]  # fmt: skip
    labels = [axes.get_xlabel() for axes in page.axes]
    assert labels[0] == "game 1\n0:00:12.0"
    assert labels[3] == "game 1\n0:01:02.3 · 2 bits away"


def test_the_visual_focus_frames_matches():
    from matplotlib.colors import to_rgba

    (page,) = hit_pages(QUERY, hits(2), title="", compares_match=True)
    assert [colour for colour, _ in frames(page)] == [to_rgba(c) for c in (GREY, GREEN, RED)]
    solid, dashed = (dashes for _, dashes in frames(page)[1:])
    assert solid == "-" and dashed != "-"  # not by the colour alone
    assert "✗" not in "".join(axes.get_title() for axes in page.axes)
    (page,) = hit_pages(None, hits(2), title="", compares_match=True)
    assert {colour for colour, _ in frames(page)} == {to_rgba(GREY)}


def test_names_are_drawn_as_they_are():
    odd = ["a$b$", "$\\frac{", "日本", "x" * 200, "a_b^c", ""]
    found = [Found(IMAGE, name, name, "0:00:01.0", 1.5) for name in odd]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for title in (*odd, "Like " + "word " * 60):
            (page,) = hit_pages(found[0], found, title=title, compares_match=False)
            assert plots.render(page, kind="svg").startswith(b"<?xml")
    assert "\n" in page.get_suptitle()
    assert page.axes[4].get_xlabel().split("\n")[0] == "x" * 39 + "…"
