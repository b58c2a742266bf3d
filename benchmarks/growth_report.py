"""How something grows with a size: exponents, the table of them, and the plot."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.operations import slope
from stvh_jax.reporting.tables import aligned

# Measured exponents vary by as much, between runs of one machine and within its caches.
NOISE = 0.2
# Colours that colour-blind people tell apart (Okabe and Ito), and shapes for who prints in grey.
STYLES = {"time": ("#0072B2", "o"), "memory": ("#D55E00", "s"), "operations": ("#009E73", "^")}
ALLOWED = "#666666"


@dataclasses.dataclass(frozen=True)
class Curve:
    """What one kind of work takes at every size.

    Attributes:
      varied: the size that is varied.
      work: what is done.
      sizes: in rising order.
      seconds: medians.
      memory: bytes.
      operations: as XLA counts them; None where it counts none.
      counted: as the equations say; None where they were not counted.
      time_exponent: the greatest exponent of time that the algorithm allows.
      memory_exponent: the same of memory.
    """

    varied: str
    work: str
    sizes: Sequence[int]
    seconds: Sequence[float]
    memory: Sequence[float]
    operations: Sequence[float] | None
    counted: Sequence[float] | None
    time_exponent: int
    memory_exponent: int

    def exponents(self) -> dict[str, float]:
        """Fits the exponents at the large end, by what grows."""
        grown = {
            "time": self.seconds,
            "memory": self.memory,
            "operations": self.operations,
            "counted": self.counted,
        }
        return {name: slope(self.sizes, values) for name, values in grown.items() if values}

    def too_fast(self) -> list[str]:
        """Says what grows faster than the algorithm allows."""
        found, allowed = self.exponents(), {"memory": self.memory_exponent}
        # Operations have no noise, and what the equations say at these sizes is less than the most.
        allowed["time"] = self.time_exponent
        allowed["operations"] = found.get("counted", self.time_exponent)
        return [
            name for name, most in allowed.items() if name in found and found[name] > most + NOISE
        ]


@dataclasses.dataclass(frozen=True)
class Growth:
    """All that was measured.

    Attributes:
      environment: what it was measured on.
      held: the sizes that are held while another is varied.
      curves: one for each size and kind of work.
    """

    environment: Mapping[str, str]
    held: Mapping[str, int]
    curves: Sequence[Curve]


def print_table(curves: Sequence[Curve]) -> None:
    """Prints a row for each curve: exponents at the large end, what is allowed, and the largest."""
    header = ["", "sizes", "time", "at most", "memory", "at most", "XLA's operations", "equations"]
    rows = [[*header, "XLA / equations", "seconds", "MiB", "faster than allowed"]]
    for curve in curves:
        found = {name: f"{value:.2f}" for name, value in curve.exponents().items()}
        ratio = ""
        if curve.counted and curve.operations:
            ratio = f"{curve.operations[-1] / curve.counted[-1]:.2f}"
        rows.append(
            [
                f"{curve.work}, {curve.varied}",
                f"{curve.sizes[0]}-{curve.sizes[-1]}",
                found["time"],
                f"{curve.time_exponent}",
                found["memory"],
                f"{curve.memory_exponent}",
                found.get("operations", ""),
                found.get("counted", ""),
                ratio,
                f"{curve.seconds[-1]:.4f}",
                f"{curve.memory[-1] / 2**20:.0f}",
                ", ".join(curve.too_fast()) or "nothing",
            ]
        )
    print(aligned(rows), flush=True)


def write_plot(curves: Sequence[Curve], path: pathlib.Path) -> None:
    """Draws a small panel for each curve, both axes logarithmic, as a PNG.

    Each quantity is divided by its value at the smallest size; the thin line is the greatest
    exponent of time that the algorithm allows.
    """
    # Only who asks for a plot needs it.
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    varied = list(dict.fromkeys(curve.varied for curve in curves))
    figure, panels = pyplot.subplots(
        2, len(varied), figsize=(1.9 * len(varied), 4.4), squeeze=False, layout="constrained"
    )
    for column, name in enumerate(varied):
        pair = [curve for curve in curves if curve.varied == name]
        for panel, curve in zip(panels[:, column], pair):
            _draw(panel, curve)
    figure.supylabel("times that of the smallest size", fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(panel: Any, curve: Curve) -> None:
    grown = {"time": curve.seconds, "memory": curve.memory, "operations": curve.operations}
    first = curve.sizes[0]
    for name, values in grown.items():
        if values:
            colour, shape = STYLES[name]
            ratios = [value / values[0] for value in values]
            panel.plot(
                curve.sizes, ratios, color=colour, marker=shape, markersize=3, lw=1.2, label=name
            )
    line = [(size / first) ** curve.time_exponent for size in curve.sizes]
    label = "most that the algorithm allows of time"
    panel.plot(curve.sizes, line, color=ALLOWED, lw=0.7, ls="--", label=label)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(curve.sizes[::2] if len(curve.sizes) < 6 else curve.sizes[::3])
    panel.xaxis.set_major_formatter(
        lambda value, _: f"{value:g}" if value < 1e4 else f"{value:.0e}"
    )
    panel.minorticks_off()
    panel.tick_params(labelsize=7)
    panel.set_title(f"{curve.work}, {curve.varied}", fontsize=8)
