"""The figures of an evaluation's report, each with what it shows in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stvh_jax.evaluation.report.words import labels_of_foci, percent, text
from stvh_jax.reporting.pages import Illustration, load_plots


def focus_figure(results: Mapping[str, Any]) -> list[Illustration]:
    """Shows what the codes of each focus find; nothing for a model of one focus."""
    foci = results.get("foci") or {}
    if len(foci) < 2:
        return []
    lines = _map10_lines(foci)
    figure = load_plots().focus_curves(*lines)
    alt = "mAP@10 in percent by focus, 0 first. " + _in_words(lines)
    caption = "Codes of every focus are made of the same clips: the further along the model, "
    caption += "the more they say what is done and the less who does it where."
    return [Illustration(load_plots().render(figure), alt, caption, "foci")]


def curve_figures(results: Mapping[str, Any]) -> list[Illustration]:
    """Shows precision and recall of the N nearest clips, by activity and by match."""
    by_focus = results.get("curves") or {}
    names = labels_of_foci(results, by_focus)
    illustrations = []
    for relevant in ("activity", "match"):
        curves = {
            f"focus {names[focus]}": kinds[relevant]
            for focus, kinds in by_focus.items()
            if kinds[relevant]["n"]
        }
        if not curves:
            continue
        title = f"Clips of the same {relevant} among the nearest"
        figure = load_plots().ranking_curves(curves, title=title)
        alt = f"{title}: precision and recall of the N nearest clips, and precision by recall. "
        alt += " ".join(
            f"{name.capitalize()}: precision {percent(curve['precision'][0])} of the nearest, "
            f"{percent(curve['precision'][-1])} of all."
            for name, curve in curves.items()
        )
        illustrations.append(
            Illustration(load_plots().render(figure), alt, name=f"curves-{relevant}")
        )
    return illustrations


def derived_figure(results: Mapping[str, Any]) -> list[Illustration]:
    """Shows what derived codes find beside the network's own; nothing without derived codes."""
    foci, derived = results.get("foci") or {}, results.get("derived") or {}
    if not derived:
        return []
    own, last = _map10_lines(foci), max(foci, key=int)
    # The last focus is the stored code itself, from which the derived lines start.
    lines = _map10_lines({last: foci[last], **derived})
    figure = load_plots().focus_curves(*own, derived=lines)
    alt = "mAP@10 in percent by focus, 0 first, of own codes as solid lines and of those derived "
    alt += f"from the code of the last focus as dashed ones. Own: {_in_words(own)} "
    alt += f"Derived: {_in_words(lines)}"
    caption = "Codes of every focus, derived from that of the last by the filter matrix, beside "
    caption += "the network's own."
    return [Illustration(load_plots().render(figure), alt, caption, "derived")]


def _map10_lines(foci: Mapping[str, Mapping | None]) -> tuple[list, list]:
    """Gives mAP@10 of every focus from 0 on, by activity and by match."""
    by_focus = [foci.get(str(focus)) or {} for focus in range(max(map(int, foci)) + 1)]
    activity, match = (
        [values.get(f"{relevant}_map@10") for values in by_focus]
        for relevant in ("activity", "match")
    )
    return activity, match


def _in_words(lines: tuple[list, list]) -> str:
    """Lists the numbers of `_map10_lines`."""
    activity, match = (", ".join(percent(value) for value in values) for values in lines)
    return f"Same activity: {activity}. Same match: {match}."


def hit_figures(hits: Mapping[int, Sequence]) -> list[Illustration]:
    """Shows queries with their hits, one figure per focus.

    Args:
      hits: by focus, 0 or the last one, what `plots.hits_grid` takes.
    """
    illustrations = []
    for focus, queries in hits.items():
        rows = (
            f"{query.activity} of match {query.match} finds "
            + ", ".join(f"{hit.activity} of match {hit.match}" for hit in row)
            for query, *row in queries
        )
        title = "Visual focus (0): who and where"
        if focus:
            title = f"Activity focus ({focus}): what the group does"
        figure = load_plots().hits_grid(queries, title=title)
        alt = f"Queries and their nearest clips. {title}. {'; '.join(rows)}."
        illustrations.append(Illustration(load_plots().render(figure), alt, name=f"hits-{focus}"))
    return illustrations


def confusion_figure(results: Mapping[str, Any]) -> list[Illustration]:
    """Shows which activities are taken for which."""
    if not results.get("confusion_matrix"):
        return []
    matrix = np.array(results["confusion_matrix"])
    names = _activity_names(results, len(matrix))
    figure = load_plots().confusion_matrix(matrix, names, title="percent of each actual activity")
    right = (f"{name} {row[i]} of {row.sum()}" for i, (name, row) in enumerate(zip(names, matrix)))
    alt = f"Confusion matrix of the activities. Recognised: {', '.join(right)}."
    return [Illustration(load_plots().render(figure), alt, name="confusion")]


def distances_figure(results: Mapping[str, Any]) -> list[Illustration]:
    """Shows how far apart the codes of every two activities are."""
    if not results.get("class_distances"):
        return []
    distances = np.array(results["class_distances"], float)
    names = _activity_names(results, len(distances))
    figure = load_plots().class_distances(distances, names, title="mean Hamming distance in bits")
    own = np.eye(len(distances), dtype=bool)
    within, between = (
        text(round(float(part[np.isfinite(part)].mean()), 1) if np.isfinite(part).any() else None)
        for part in (distances[own], distances[~own])
    )
    alt = "Mean Hamming distance between the clips of every two activities. "
    alt += f"Within one: {within}, between two: {between} bits."
    return [Illustration(load_plots().render(figure), alt, name="class_distances")]


def _activity_names(results: Mapping[str, Any], count: int) -> list[str]:
    return results.get("activity_names") or [str(place) for place in range(count)]


def loss_figure(history: Mapping[str, Sequence[tuple[int, float]]]) -> list[Illustration]:
    """Shows the training, if its history is known."""
    if not history:
        return []
    last = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in history.items() if points)
    alt = f"Curves over the training steps. Last values: {last}."
    figure = load_plots().loss_curves(history)
    return [Illustration(load_plots().render(figure), alt, name="training")]
