"""The figures of a report and of the paper, each drawn from plain values to a Matplotlib figure."""

from stvh_jax.reporting.plots.canvas import render
from stvh_jax.reporting.plots.clips import Picture, attention, hits_grid
from stvh_jax.reporting.plots.curves import (
    comparison,
    focus_curves,
    loss_curves,
    measures_along,
    ranking_curves,
)
from stvh_jax.reporting.plots.hit_pages import Found, group_pages, hit_pages
from stvh_jax.reporting.plots.matrices import class_distances, confusion_matrix

__all__ = [
    "Found",
    "Picture",
    "attention",
    "class_distances",
    "comparison",
    "confusion_matrix",
    "focus_curves",
    "group_pages",
    "hit_pages",
    "hits_grid",
    "loss_curves",
    "ranking_curves",
    "render",
    "measures_along",
]
