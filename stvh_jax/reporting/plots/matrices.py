"""Square tables of numbers: confusion matrices and distances between classes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

from stvh_jax.reporting.plots.canvas import make_figure


def confusion_matrix(
    matrix: Shaped[np.ndarray, "classes classes"], names: Sequence[str], *, title: str
) -> Figure:
    """Draws counts of [actual, predicted] in percent of each actual class."""
    totals = matrix.sum(axis=1, keepdims=True)
    percent = np.divide(100 * matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    return _matrix(percent, names, "{:.1f}", title=title, axes=("predicted", "actual"), high=100)


def class_distances(
    distances: Float[np.ndarray, "classes classes"], names: Sequence[str], *, title: str
) -> Figure:
    """Draws the mean Hamming distance between the codes of every two classes (Fig. 12)."""
    high = np.nanmax(distances, initial=1.0)
    return _matrix(distances, names, "{:.1f}", title=title, axes=("", ""), high=high)


def _matrix(values, names, number, *, title, axes, high) -> Figure:
    """Draws a square table of numbers as coloured cells; NaN stays blank."""
    size = 2.4 + 0.62 * len(names)
    figure = make_figure(size + 0.3, size)
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
