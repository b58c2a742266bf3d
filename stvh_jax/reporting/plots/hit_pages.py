"""Pages of pictures: what was searched for, and what was found, a few rows on each page."""

import dataclasses
import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stvh_jax.reporting.plots.canvas import GREEN, GREY, RED, make_figure

# Pictures in a row, and rows on a page.
_COLUMNS, _ROWS = 5, 4
# The width of a picture, and the height of the lines about it, in inches.
_WIDTH, _LINES = 2.9, 0.75
# The most characters of a line under a picture.
_LONGEST = 40
# Letters of a title to an inch.
_LETTERS = 9


@dataclasses.dataclass(frozen=True)
class Found:
    """A clip that was found, or searched for, as the reader sees it.

    Attributes:
      image: one of its frames.
      activity: what it shows.
      match: the name of its match.
      time: when it is, h:mm:ss; empty if that is not known.
      distance: from the query in bits; None for the query itself.
    """

    image: UInt8[np.ndarray, "H W 3"]
    activity: str
    match: str
    time: str = ""
    distance: float | None = None


def hit_pages(
    query: Found | None, hits: Sequence[Found], *, title: str, compares_match: bool
) -> list[Figure]:
    """Draws a query and its hits, twenty pictures a page, each with its rank, match and time.

    What the focus is about is marked: where it compares matches, a hit has a solid green frame if
    it is of the query's match, and a dashed red one if not; where it compares what the group does,
    the activity is green with a tick if it is the query's, red with a cross if not.

    Args:
      query: what was searched for; None if it has no picture.
      hits: what was found, nearest first.
      title: the title of each page.
      compares_match: whether the focus is about who and where.
    """
    pictures: list[tuple[str, Found]] = [] if query is None else [("query", query)]
    pictures += [(str(rank), hit) for rank, hit in enumerate(hits, start=1)]
    most = _COLUMNS * _ROWS
    pages = [pictures[first : first + most] for first in range(0, max(1, len(pictures)), most)]
    figures = []
    for number, page in enumerate(pages, start=1):
        of = f", page {number} of {len(pages)}" if len(pages) > 1 else ""
        figures.append(_page(page, query, title=title + of, compares_match=compares_match))
    return figures


def group_pages(groups: Sequence[tuple[str, Sequence[Found]]], *, title: str) -> list[Figure]:
    """Draws groups of clips, one a row, four a page.

    Args:
      groups: what each is called, and the clips that stand for it, up to five.
      title: the title of each page.
    """
    pages = [groups[first : first + _ROWS] for first in range(0, len(groups), _ROWS)]
    columns = max(len(clips) for _, clips in groups)
    figures = []
    for number, page in enumerate(pages, start=1):
        shape = page[0][1][0].image.shape
        height = _WIDTH * shape[0] / shape[1] + _LINES
        figure = make_figure(_WIDTH * columns, height * len(page) + 0.6)
        of = f", page {number} of {len(pages)}" if len(pages) > 1 else ""
        _set_title(figure, title + of, columns)
        for row, (label, clips) in enumerate(page):
            for column, clip in enumerate(clips):
                axes = figure.add_subplot(len(page), columns, row * columns + column + 1)
                _draw(axes, label, clip, None, compares_match=False)
        figures.append(figure)
    return figures


def _page(
    pictures: Sequence[tuple[str, Found]], query: Found | None, *, title: str, compares_match: bool
) -> Figure:
    columns = max(1, min(_COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    shape = pictures[0][1].image.shape if pictures else (9, 16)
    height = _WIDTH * shape[0] / shape[1] + _LINES
    figure = make_figure(_WIDTH * columns, height * rows + 0.6)
    _set_title(figure, title, columns)
    for place, (rank, found) in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, place + 1)
        _draw(axes, rank, found, query, compares_match=compares_match)
    return figure


def _set_title(figure: Figure, title: str, columns: int) -> None:
    # Names may have dollar signs, which do not stand around formulas.
    lines = textwrap.wrap(title, max(_LONGEST, int(_LETTERS * _WIDTH * columns)))
    figure.suptitle("\n".join(lines), fontsize=13, parse_math=False)


def _draw(
    axes: Axes, rank: str, found: Found, query: Found | None, *, compares_match: bool
) -> None:
    axes.imshow(found.image, aspect="equal")
    axes.set(xticks=[], yticks=[])
    caption, colour, frame, dashes = found.activity, "black", GREY, "-"
    if query is not None and found is not query:
        same_match, same_activity = found.match == query.match, found.activity == query.activity
        if compares_match:
            frame, dashes = (GREEN, "-") if same_match else (RED, (0, (3, 2)))
        else:
            caption = f"{'✓' if same_activity else '✗'} {caption}"
            colour = GREEN if same_activity else RED
    title = _short(f"{rank} · {caption}")
    axes.set_title(title, fontsize=11, color=colour, pad=4, parse_math=False)
    away = "" if found.distance is None else f"{found.distance:.4g} bits away"
    axes.set_xlabel(
        "\n".join([_short(found.match), " · ".join(part for part in (found.time, away) if part)]),
        fontsize=9.5,
        parse_math=False,
    )
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=3 if frame != GREY else 1, linestyle=dashes)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
