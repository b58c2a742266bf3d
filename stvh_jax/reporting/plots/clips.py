"""Pictures of clips: queries with their hits, and the attention of the layers."""

import dataclasses
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stvh_jax.reporting.plots.canvas import GREEN, GREY, RED, make_figure


@dataclasses.dataclass(frozen=True)
class Picture:
    """A clip as the reader sees it.

    Attributes:
      image: one of its frames.
      activity: the name of its activity.
      match: the name or the number of its match.
      distance: the Hamming distance from the query in bits, or None for the query itself.
    """

    image: UInt8[np.ndarray, "H W 3"]
    activity: str
    match: int | str
    distance: int | float | None = None


def hits_grid(
    queries: Sequence[Sequence[Picture]], *, title: str, columns: Sequence[str] | None = None
) -> Figure:
    """Draws queries and their hits, one row per query (Fig. 9).

    A hit from the query's match has a solid green frame, any other a dashed red one. The activity
    of a hit is written above it: in green with a tick if it is the query's, in red with a cross if
    not.

    Args:
      queries: for each query a row, the query followed by its hits.
      title: the title of the figure.
      columns: the headings of the hits; their ranks if None.
    """
    width = max((len(row) for row in queries), default=1)
    headings = ["query", *(columns or [f"hit {rank}" for rank in range(1, width)])]
    first = queries[0][0].image if queries else np.zeros((9, 16, 3), np.uint8)
    cell = 2.1
    height = cell * first.shape[0] / first.shape[1] + 0.6
    figure = make_figure(cell * width, height * max(1, len(queries)) + 0.7)
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


def attention(
    objects: Sequence[Float[np.ndarray, "T T"]],
    group: Sequence[Float[np.ndarray, "N N"]],
    *,
    boxes: Float[np.ndarray, "N 4"],
    actions: Sequence[str],
    image: UInt8[np.ndarray, "H W 3"] | None,
    title: str,
) -> Figure:
    """Draws the attention of the layers, one row per layer (Fig. 11).

    A row shows the attention among the frames, the attention among the actors, and the key frame,
    where an actor's box is the brighter the more attention the actor gets.

    Args:
      objects: for each layer, the attention among the frames.
      group: for each layer, the attention among the actors of the key frame.
      boxes: the actors' boxes in the key frame, `[y_min, x_min, y_max, x_max]` in 0..1.
      actions: the action of each actor.
      image: the key frame, or None for an empty one.
      title: the title of the figure.
    """
    if image is None:
        image = np.full((90, 160, 3), 40, np.uint8)
    figure = make_figure(12.5, 2.7 * len(group) + 0.9)
    figure.suptitle(title, fontsize=12)
    panels = figure.subplots(len(group), 3, squeeze=False, width_ratios=(1, 1.35, 2.4))
    for layer, (among_frames, among_actors, row) in enumerate(zip(objects, group, panels), start=1):
        for axes, values, kind in ((row[0], among_frames, "O"), (row[1], among_actors, "G")):
            axes.imshow(values, cmap="viridis", vmin=0, vmax=max(values.max(), 1e-9))
            axes.set_title(f"layer {layer}: {kind}-MFAT, up to {values.max():.2f}", fontsize=9)
            axes.tick_params(length=0, labelsize=7)
            axes.set_xlabel("frame" if kind == "O" else "actor looked at", fontsize=8)
        row[1].set_yticks(range(len(actions)), [f"{n} {name}" for n, name in enumerate(actions)])
        row[1].set_xticks(range(len(actions)))
        _draw_received(row[2], image, boxes, among_actors.mean(axis=0))
    return figure


def _draw_received(
    axes: Axes,
    image: UInt8[np.ndarray, "H W 3"],
    boxes: Float[np.ndarray, "N 4"],
    received: Float[np.ndarray, "N"],
) -> None:
    """Draws the boxes of actors, each in the colour of the attention that the actor gets."""
    height, width = image.shape[:2]
    axes.imshow(image, aspect="equal", alpha=0.6)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    colours = matplotlib.colormaps["viridis"]
    for number, ((top, left, bottom, right), share) in enumerate(zip(boxes, received)):
        colour = colours(share / received.max())
        corner = left * width, top * height
        size = (right - left) * width, (bottom - top) * height
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=2.5))
        axes.text(
            corner[0], corner[1] - 0.01 * height, f"{number}: {100 * share:.0f} %",
            fontsize=7, color="black", va="bottom",
            bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.5, "linewidth": 0},
        )  # fmt: skip
