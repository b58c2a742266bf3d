"""Curves and points: a training run, retrieval by focus, several forms of a model."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from stvh_jax.reporting.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    make_figure,
    plain,
)

_COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


def loss_curves(history: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """Draws a training run, one panel per quantity.

    Args:
      history: (step, value) pairs by name; `train/loss` and `validation/loss` share a panel.
    """
    quantities = list(dict.fromkeys(name.rpartition("/")[2] for name in history))
    columns = max(1, min(3, len(quantities)))
    rows = max(1, math.ceil(len(quantities) / columns))
    figure = make_figure(0.6 + 3.2 * columns, 0.7 + 2.2 * rows)
    panels = {
        quantity: plain(figure.add_subplot(rows, columns, place))
        for place, quantity in enumerate(quantities, start=1)
    }
    for quantity, axes in panels.items():
        axes.set_title(quantity.replace("_", " "), fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        axes.yaxis.offsetText.set_fontsize(8)
    styles = {"train": (BLUE, "-"), "validation": (ORANGE, "--")}
    legend = {}
    for name, points in history.items():
        split, _, quantity = name.rpartition("/")
        colour, dashes = styles.get(split, (GREY, ":"))
        # A line through a single point would not show.
        marker = "o" if len(points) < 20 else ""
        steps, values = np.array(points, float).reshape(-1, 2).T
        (line,) = panels[quantity].plot(
            steps, values, dashes, color=colour, marker=marker, markersize=3
        )
        if split:
            legend[split] = line
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def focus_curves(
    activity_map10: Sequence[float | None],
    match_map10: Sequence[float | None],
    *,
    derived: tuple[Sequence[float | None], Sequence[float | None]] | None = None,
) -> Figure:
    """Draws how well each focus retrieves, from 0 (before any fusion layer) to L (Fig. 10).

    Args:
      activity_map10: mAP@10 in 0..1 by focus, where clips of the query's activity are relevant;
        None leaves a focus out.
      match_map10: the same, where clips of the query's match are relevant.
      derived: both for the codes that the filter matrix derives, as dashed lines with hollow
        markers; the points then have no numbers, which would cover each other.
    """
    figure = make_figure(6.4, 3.8)
    axes = plain(figure.add_subplot())
    percent = _percent(activity_map10, match_map10)
    names, styles = ("same activity", "same match"), ((BLUE, "o-"), (ORANGE, "s-"))
    for values, others, name, (colour, style) in zip(percent, percent[::-1], names, styles):
        foci = np.flatnonzero(np.isfinite(values))
        axes.plot(foci, values[foci], style, color=colour, linewidth=2, label=name)
        for focus in foci if derived is None else ():
            # Below the lower of two points, unless the number would run into the axis.
            above = values[focus] < 10 or not values[focus] < others[focus]
            axes.annotate(
                f"{values[focus]:.1f}",
                (focus, values[focus]),
                xytext=(0, 7 if above else -14),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    styles = ((BLUE, "^--"), (ORANGE, "v--"))
    for values, name, (colour, style) in zip(_percent(*derived) if derived else (), names, styles):
        foci = np.flatnonzero(np.isfinite(values))
        axes.plot(
            foci, values[foci], style, color=colour, markerfacecolor="white", markersize=9,
            label=f"{name}, derived",
        )  # fmt: skip
    last = percent.shape[1] - 1
    ticks = [str(focus) for focus in range(last + 1)]
    ticks[0], ticks[-1] = f"{ticks[0]}\nvisual", f"{ticks[-1]}\nactivity"
    axes.set_xticks(range(last + 1), ticks)
    axes.set(ylim=(0, 108), yticks=range(0, 101, 20), xlabel="focus", ylabel="mAP@10 (%)")
    axes.set_title("What the nearest clips share with the query", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def ranking_curves(curves: Mapping[str, Mapping[str, Sequence]], *, title: str) -> Figure:
    """Draws precision and recall of the N nearest clips, and one over the other.

    Args:
      curves: by name, `n` with the `precision` and the `recall` at each, in 0..1. The first two
        panels end at 1000, the last shows all.
      title: the title of the figure.
    """
    figure = make_figure(9.6, 3.2)
    figure.suptitle(title, fontsize=11)
    panels = [plain(axes) for axes in figure.subplots(1, 3)]
    # Of coprime lengths: 20 pairs until one comes back, and neighbours differ in both.
    styles = zip(itertools.cycle(("-", "--", ":", "-.")), itertools.cycle(_COLOURS))
    for (name, curve), (dashes, colour) in zip(curves.items(), styles):
        n, precision, recall = (
            np.array(curve[kind], float) for kind in ("n", "precision", "recall")
        )
        for axes, x, y in zip(panels, (n, n, 100 * recall), (precision, recall, precision)):
            axes.plot(x, 100 * y, dashes, color=colour, label=name)
    for axes, kind in zip(panels, ("precision", "recall")):
        axes.set(xscale="log", xlim=(1, 1000), xlabel="N nearest clips", ylabel=f"{kind} (%)")
    panels[2].set(xlim=(0, 100), xlabel="recall (%)", ylabel="precision (%)")
    for axes in panels:
        axes.set_ylim(0, 103)
        axes.xaxis.label.set_fontsize(9)
        axes.yaxis.label.set_fontsize(9)
    if curves:
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _percent(*lines: Sequence[float | None]) -> Float[np.ndarray, "lines foci"]:
    """Turns shares by focus into percent and None into NaN."""
    shares = [[math.nan if value is None else value for value in values] for values in lines]
    return 100 * np.array(shares, float)


def comparison(
    labels: Sequence[str], panels: Mapping[str, Sequence[tuple[Sequence[float], float | None]]]
) -> Figure:
    """Draws what was measured for several forms of a model, one row each, and what the paper has.

    Args:
      labels: the names of the rows.
      panels: by metric, for each row the values measured, one per seed, and the paper's value or
        None; in percent.
    """
    figure = make_figure(2.4 + 2.9 * len(panels), 1.3 + 0.34 * len(labels))
    rows = np.arange(len(labels))
    legend = {}
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (metric, measured) in zip(all_axes, panels.items()):
        plain(axes).grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_title(f"{metric} (%)", fontsize=10)
        for row, (values, quoted) in zip(rows, measured):
            seeds = axes.plot(
                values, [row] * len(values), "o", color=BLUE, alpha=0.35, markersize=5
            )
            if values:
                (legend["a seed"],) = seeds
                (legend["mean"],) = axes.plot(
                    [np.mean(values)], [row], "|", color=BLUE, markersize=16, markeredgewidth=2.5
                )
            if quoted is not None:
                (legend["the paper's"],) = axes.plot(
                    [quoted], [row], "D", color=ORANGE, markerfacecolor="white", markersize=6
                )
    all_axes[0].set_yticks(rows, labels, fontsize=9)
    all_axes[0].set_ylim(len(labels) - 0.5, -0.5)
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def measures_along(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, Sequence[float]]]]],
    *,
    along: str,
    bottom: float | None = 0,
) -> Figure:
    """Draws what several codes or queries find along something, a panel per measure.

    Args:
      curves: by name and measure, the places, each with the values of all seeds in percent; a line
        joins their means, a band covers them.
      along: what the places are of.
      bottom: where the axis of the values starts; None for a little below the least.
    """
    measures = list(dict.fromkeys(name for of_code in curves.values() for name in of_code))
    figure = make_figure(0.4 + 3.6 * len(measures), 3.9)
    lines = {}
    for number, measure in enumerate(measures, start=1):
        axes = plain(figure.add_subplot(1, len(measures), number))
        for (code, of_code), colour in zip(curves.items(), itertools.cycle(_COLOURS)):
            places = [place for place, _ in of_code[measure]]
            values = [np.asarray(of_seeds) for _, of_seeds in of_code[measure]]
            marker = "o" if len(places) < 8 else ""
            (lines[code],) = axes.plot(
                places, [each.mean() for each in values], marker=marker, markersize=4, color=colour
            )
            lowest, highest = ([end(each) for each in values] for end in (np.min, np.max))
            axes.fill_between(places, lowest, highest, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(measure, fontsize=10)
        axes.set_xlabel(along, fontsize=8)
        axes.set_ylim(bottom=bottom)
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    return figure
