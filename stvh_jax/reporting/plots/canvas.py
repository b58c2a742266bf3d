"""What all figures share: colours, empty figures and axes, and rendering.

No state is shared with pyplot. Every reader can tell the colours apart, and nothing is said by
colour alone.
"""

import io
import warnings

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#007a5a", "#c8401d", "#6b6b6b"

_DOTS_PER_INCH = 144


def make_figure(width: float, height: float) -> Figure:
    """Makes an empty figure of this size in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def plain(axes: Axes) -> Axes:
    """Removes what carries no data from axes: two spines and a faint grid remain."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    return axes


def render(figure: Figure, *, kind: str = "png") -> bytes:
    """Renders a figure to the bytes of a PNG or SVG file, the same bytes every time."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "stvh_jax"}), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
