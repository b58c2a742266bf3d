"""The figures of a report and of the paper, each drawn from plain values to a Matplotlib figure.

No state is shared with pyplot. Colours are told apart by everyone, and nothing is said by colour
alone.
"""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#007a5a", "#c8401d", "#6b6b6b"


_DOTS_PER_INCH = 144


@dataclasses.dataclass(frozen=True)
class Picture:
    """A clip as the reader sees it.

    Attributes:
      image: one of its frames.
      activity: the name of its activity.
      match: the number or the name of its match.
      distance: the Hamming distance from the query in bits, or None for the query itself.
    """

    image: UInt8[np.ndarray, "H W 3"]
    activity: str
    match: int | str
    distance: int | float | None = None


def confusion_matrix(
    matrix: Shaped[np.ndarray, "classes classes"], names: Sequence[str], *, title: str
) -> Figure:
    """Draws counts of [actual, predicted] as percent of each actual class."""
    totals = matrix.sum(axis=1, keepdims=True)
    percent = np.divide(100 * matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    return _matrix(percent, names, "{:.1f}", title=title, axes=("predicted", "actual"), high=100)


def class_distances(
    distances: Float[np.ndarray, "classes classes"], names: Sequence[str], *, title: str
) -> Figure:
    """Draws the mean Hamming distance between the codes of every two classes (Fig. 12)."""
    high = np.nanmax(distances, initial=1.0)
    return _matrix(distances, names, "{:.1f}", title=title, axes=("", ""), high=high)


def loss_curves(history: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """Draws a training run, one panel a quantity.

    Args:
      history: (step, value) by name; `train/loss` and `validation/loss` share a panel.
    """
    quantities = list(dict.fromkeys(name.rpartition("/")[2] for name in history))
    columns = max(1, min(3, len(quantities)))
    rows = max(1, math.ceil(len(quantities) / columns))
    figure = _figure(0.6 + 3.2 * columns, 0.7 + 2.2 * rows)
    panels = {
        quantity: _plain(figure.add_subplot(rows, columns, place))
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
        # A line of one point would not show.
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
    """Draws what each focus finds, from 0 (before any fusion layer) to L (Fig. 10).

    Args:
      activity_map10: mAP@10 in 0..1 by focus, clips of the query's activity being relevant.
      match_map10: the same, clips of the query's match being relevant; None is left out of a line.
      derived: both for the codes that the filter matrix derives, dashed and with hollow markers;
        there are then no numbers, which would cover each other.
    """
    figure = _figure(6.4, 3.8)
    axes = _plain(figure.add_subplot())
    percent = _percent(activity_map10, match_map10)
    names, styles = ("same activity", "same match"), ((BLUE, "o-"), (ORANGE, "s-"))
    for values, others, name, (colour, style) in zip(percent, percent[::-1], names, styles):
        foci = np.flatnonzero(np.isfinite(values))
        axes.plot(foci, values[foci], style, color=colour, linewidth=2, label=name)
        for focus in foci if derived is None else ():
            # Below the lower point, where that does not run into the axis.
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


def _percent(*lines: Sequence[float | None]) -> Float[np.ndarray, "lines foci"]:
    """Turns shares by focus into percent, None into NaN."""
    shares = [[math.nan if value is None else value for value in values] for values in lines]
    return 100 * np.array(shares, float)


def hits_grid(
    queries: Sequence[Sequence[Picture]], *, title: str, columns: Sequence[str] | None = None
) -> Figure:
    """Draws queries and what they find, one row a query (Fig. 9).

    A hit of the query's match has a solid green frame, another a dashed red one; its activity
    stands above it, in green with a tick where it is the query's and in red with a cross where
    it is not.

    Args:
      queries: each the query followed by its hits.
      title: the title above all.
      columns: the headings of the hits; their ranks unless given.
    """
    width = max((len(row) for row in queries), default=1)
    headings = ["query", *(columns or [f"hit {rank}" for rank in range(1, width)])]
    first = queries[0][0].image if queries else np.zeros((9, 16, 3), np.uint8)
    cell = 2.1
    height = cell * first.shape[0] / first.shape[1] + 0.6
    figure = _figure(cell * width, height * max(1, len(queries)) + 0.7)
    figure.suptitle(title, fontsize=13)
    for row, pictures in enumerate(queries):
        for column, picture in enumerate(pictures):
            axes = figure.add_subplot(len(queries), width, row * width + column + 1)
            _draw_picture(axes, picture, query=pictures[0])
            if row == 0:
                axes.text(
                    0.5, 1.32, headings[column], transform=axes.transAxes, ha="center",
                    fontsize=9, color=GREY,
                )  # fmt: skip
    figure.supxlabel(
        "frame solid green: same match, dashed red: another · ✓ same activity, ✗ another",
        fontsize=10,
        color=GREY,
    )
    return figure


def _draw_picture(axes: Axes, picture: Picture, *, query: Picture) -> None:
    same_match, same_activity = picture.match == query.match, picture.activity == query.activity
    axes.imshow(picture.image, aspect="equal")
    axes.set(xticks=[], yticks=[])
    caption, colour, frame, dashes = picture.activity, "black", "black", "-"
    if picture is not query:
        caption = f"{'✓' if same_activity else '✗'} {caption}"
        colour = GREEN if same_activity else RED
        frame, dashes = (GREEN, "-") if same_match else (RED, (0, (3, 2)))
    axes.set_title(caption, fontsize=11, color=colour, pad=5)
    bits = "bit" if picture.distance == 1 else "bits"
    away = "" if picture.distance is None else f" · {picture.distance:g} {bits} away"
    axes.set_xlabel(f"match {picture.match}{away}", fontsize=10)
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=3, linestyle=dashes)


def comparison(
    labels: Sequence[str], panels: Mapping[str, Sequence[tuple[Sequence[float], float | None]]]
) -> Figure:
    """Draws measurements of several forms of a model, a row each, beside quoted ones.

    Args:
      labels: what the rows are called.
      panels: by metric, for every row what was measured with each seed, and what is quoted of the
        paper or None; in percent.
    """
    figure = _figure(2.4 + 2.9 * len(panels), 1.3 + 0.34 * len(labels))
    rows = np.arange(len(labels))
    legend = {}
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (metric, measured) in zip(all_axes, panels.items()):
        _plain(axes).grid(axis="x", color="#e4e4e4", linewidth=0.8)
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


def attention(
    objects: Sequence[Float[np.ndarray, "T T"]],
    group: Sequence[Float[np.ndarray, "N N"]],
    *,
    boxes: Float[np.ndarray, "N 4"],
    actions: Sequence[str],
    image: UInt8[np.ndarray, "H W 3"] | None,
    title: str,
) -> Figure:
    """Draws where the layers look, one row a layer (Fig. 11).

    The map among the frames, the map among the actors, and the key frame, whose boxes are as
    bright as the attention that they get.

    Args:
      objects: of each layer, how the frames look at each other.
      group: of each layer, how the actors of the key frame look at each other.
      boxes: of the actors in the key frame, `[y_min, x_min, y_max, x_max]` in 0..1.
      actions: what each actor does.
      image: the key frame, or None for an empty one.
      title: the title above all.
    """
    if image is None:
        image = np.full((90, 160, 3), 40, np.uint8)
    height, width = image.shape[:2]
    figure = _figure(12.5, 2.7 * len(group) + 0.9)
    figure.suptitle(title, fontsize=12)
    panels = figure.subplots(len(group), 3, squeeze=False, width_ratios=(1, 1.35, 2.4))
    colours = matplotlib.colormaps["viridis"]
    for layer, (among_frames, among_actors, row) in enumerate(zip(objects, group, panels), start=1):
        received = among_actors.mean(axis=0)
        for axes, values, kind in ((row[0], among_frames, "O"), (row[1], among_actors, "G")):
            axes.imshow(values, cmap=colours, vmin=0, vmax=max(values.max(), 1e-9))
            axes.set_title(f"layer {layer}: {kind}-MFAT, up to {values.max():.2f}", fontsize=9)
            axes.tick_params(length=0, labelsize=7)
            axes.set_xlabel("frame" if kind == "O" else "actor looked at", fontsize=8)
        row[1].set_yticks(range(len(actions)), [f"{n} {name}" for n, name in enumerate(actions)])
        row[1].set_xticks(range(len(actions)))
        row[2].imshow(image, aspect="equal", alpha=0.6)
        row[2].set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        for number, ((top, left, bottom, right), share) in enumerate(zip(boxes, received)):
            colour = colours(share / received.max())
            corner, size = (
                (left * width, top * height),
                ((right - left) * width, (bottom - top) * height),
            )
            row[2].add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=2.5))
            row[2].text(
                corner[0], corner[1] - 0.01 * height, f"{number}: {100 * share:.0f} %",
                fontsize=7, color="black", va="bottom",
                bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.5, "linewidth": 0},
            )  # fmt: skip
    return figure


def render(figure: Figure, *, kind: str = "png") -> bytes:
    """Writes a figure as the bytes of a PNG or SVG file, the same on every run."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "stvh_jax"}):
        figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _plain(axes: Axes) -> Axes:
    """Leaves only what carries data: two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    return axes


def _matrix(values, names, number, *, title, axes, high) -> Figure:
    """Draws a square table of numbers with a colour each; NaN stays blank."""
    size = 2.4 + 0.62 * len(names)
    figure = _figure(size + 0.3, size)
    plot = figure.add_subplot()
    plot.imshow(values, cmap="Blues", vmin=0, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value > 0.6 * high else "black"
            plot.text(
                column, row, number.format(value), ha="center", va="center", color=colour,
                fontsize=8,
            )  # fmt: skip
    plot.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    plot.set_yticks(range(len(names)), names)
    plot.tick_params(length=0, labelsize=9)
    plot.spines[:].set_visible(False)
    plot.set(xlabel=axes[0], ylabel=axes[1])
    plot.set_title(title, fontsize=11)
    return figure
