"""The results of an evaluation as a table for the console and as an HTML page.

Both are made from the `results` dictionary that is also written as JSON. Any of its entries may be
missing or None, which shows as a dash.
"""

import math
from collections.abc import Mapping, Sequence

from etils import epath

from stvh_jax.reporting.pages import Illustration, Section, load_plots, without_empty, write_html
from stvh_jax.reporting.tables import Table, aligned

_MISSING = "–"


_MODELS = {"mstvh": "M-STVH", "stvh": "STVH", "global_hash": "global hash"}


_HEADLINES = {
    "activity accuracy": "activity_accuracy",
    "activity MPCA": "activity_mpca",
    "activity accuracy from the code": "activity_accuracy_from_code",
    "action accuracy": "action_accuracy",
    "action MPCA": "action_mpca",
}


_COLUMNS = {
    "activity mAP@5": "activity_map@5",
    "mAP@10": "activity_map@10",
    "mAP@20": "activity_map@20",
    "mAP@50": "activity_map@50",
    "match mAP@10": "match_map@10",
    "bit balance": "bit_balance",
    "distinct codes": "distinct_codes",
}


# A column of the codes that the filter matrix derives, or of the network's own beside it.
_DERIVED_COLUMNS = (
    ("activity mAP@10", "foci", "activity_map@10"),
    ("derived", "derived", "activity_map@10"),
    ("match mAP@10", "foci", "match_map@10"),
    ("derived", "derived", "match_map@10"),
    ("equal bits, queries", "derived", "bit_agreement_query"),
)


def metrics_table(results: Mapping) -> str:
    """Lays the results out as plain text: accuracies above, then one row a focus.

    Two more tables say what becomes of the codes that the filter matrix derives and what it saves,
    where the results have it. Accuracies, agreement and mAP are in percent.
    """
    headlines = [[name, f"{_number(key, results.get(key))} %"] for name, key in _HEADLINES.items()]
    foci = [
        [label, *(_number(key, values.get(key)) for key in _COLUMNS.values())]
        for label, values in _foci(results).items()
    ]
    parts = [_subtitle(results), aligned(headlines)]
    if foci:
        parts.append(aligned([["focus (mAP in %)", *_COLUMNS], *foci]))
    tables = (_derived_table(results), _storage_table(results))
    parts += [aligned([table.header, *table.rows]) for table in tables if table.rows]
    return "\n\n".join(parts) + "\n"


def write_evaluation(
    path: epath.PathLike,
    results: Mapping,
    *,
    history: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    hits: Mapping[int, Sequence] | None = None,
    config: Mapping | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes the page of an evaluation, the figures first and how it came about last.

    Every figure is also written on its own, as a PNG file in the folder of the page's name.

    Args:
      path: the file to write, `.html`.
      results: the results of the evaluation.
      history: (step, value) of the training by name, as `plots.loss_curves` takes it.
      hits: queries and their hits, as `plots.hits_grid` takes them, by focus.
      config: the config of the run.
      facts: what else is worth keeping: versions, duration.

    Raises:
      UserError: if Matplotlib is not installed.
    """
    sections = [
        Section("What each focus finds", _focus_figure(results)),
        Section(
            "One stored code",
            [*_derived_figure(results), _derived_table(results), _storage_table(results)],
        ),
        Section("Nearest clips", _hit_figures(hits or {})),
        Section(
            "Activities taken for others", _confusion_figure(results) + _distances_figure(results)
        ),
        Section("Training", _loss_figure(history)),
        Section(
            "All measures",
            [
                _all_measures("percent, by focus", _foci(results)),
                _all_measures("percent, derived codes, by focus", _foci(results, "derived")),
            ],
        ),
        Section("How this was made", [Table([], _facts(results, facts or {}))]),
        Section("Config", [Table([], _flat(config or {}))], folded=True),
    ]
    folder = epath.Path(path).with_suffix("")
    folder.mkdir(exist_ok=True)
    for section in sections:
        for item in section.items:
            if isinstance(item, Illustration):
                (folder / f"{item.name}.png").write_bytes(item.png)
    model = results.get("model")
    name = (results.get("data") or {}).get("name")
    write_html(
        path,
        title=f"{_MODELS.get(model, _text(model))} on {_text(name)}",
        subtitle=_subtitle(results),
        summary=_headlines(results),
        sections=[section for section in map(without_empty, sections) if section.items],
    )


def _headlines(results: Mapping) -> dict[str, str]:
    foci = results.get("foci") or {}
    numbers = {}
    if foci:
        last = max(foci, key=int)
        numbers[f"activity mAP@10, focus {last}"] = foci[last].get("activity_map@10")
    if "0" in foci:
        numbers["match mAP@10, focus 0"] = foci["0"].get("match_map@10")
    numbers |= {name: results.get(key) for name, key in _HEADLINES.items()}
    return {
        name: f"{_number('', value)} %" for name, value in numbers.items() if not _missing(value)
    }


def _subtitle(results: Mapping) -> str:
    data, checkpoint = results.get("data") or {}, results.get("checkpoint") or {}
    untracked = _number("", data.get("untracked_share"))
    boxes = f"{untracked} % of the queries' actors without a track"
    if data.get("still_boxes"):
        boxes = "every actor with the still box of the key frame"
    return (
        f"{_text(results.get('run'))}: {_text(results.get('model'))}, "
        f"{_text(results.get('bits'))} bits, {_text(results.get('layers'))} layers, "
        f"{_text(checkpoint.get('kind'))} checkpoint of step {_text(checkpoint.get('step'))}; "
        f"{_text(data.get('name'))}, {_text(data.get('query_clips'))} "
        f"{_text(data.get('query_split'))} clips searched in {_text(data.get('base_clips'))} "
        f"{_text(data.get('base_split'))} clips; " + boxes
    )


def _foci(results: Mapping, codes: str = "foci") -> dict[str, Mapping]:
    """Gives the measures of each focus in order, by a label that names the two ends.

    Args:
      results: the results of an evaluation.
      codes: `foci` for the network's own codes, or `derived`.
    """
    foci = results.get(codes) or {}
    ends = {"0": "0 visual", str(results.get("layers")): f"{results.get('layers')} activity"}
    return {ends.get(focus, focus): foci[focus] or {} for focus in sorted(foci, key=int)}


def _missing(value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value) -> str:
    return _MISSING if _missing(value) else str(value)


def _number(key: str, value) -> str:
    """Writes a measure in percent, save for the few that are no shares."""
    if _missing(value):
        return _MISSING
    if key.endswith("distinct_codes"):
        return f"{value:.0f}"
    return f"{value:.3f}" if key.endswith("bit_balance") else f"{100 * value:.2f}"


def _focus_figure(results: Mapping) -> list[Illustration]:
    foci = results.get("foci") or {}
    if len(foci) < 2:
        return []
    lines = _map10_lines(foci)
    figure = load_plots().focus_curves(*lines)
    alt = "mAP@10 in percent by focus, 0 first. " + _said(lines)
    caption = "Codes of every focus are made of the same clips: the further along the model, "
    caption += "the more they say what is done and the less who does it where."
    return [Illustration(load_plots().render(figure), alt, caption, "foci")]


def _derived_figure(results: Mapping) -> list[Illustration]:
    foci, derived = results.get("foci") or {}, results.get("derived") or {}
    if not derived:
        return []
    own, last = _map10_lines(foci), max(foci, key=int)
    # The last focus is the stored code itself, from which the derived lines start.
    lines = _map10_lines({last: foci[last], **derived})
    figure = load_plots().focus_curves(*own, derived=lines)
    alt = "mAP@10 in percent by focus, 0 first, of own codes as solid lines and of those derived "
    alt += f"from the code of the last focus as dashed ones. Own: {_said(own)} "
    alt += f"Derived: {_said(lines)}"
    caption = "Codes of every focus, derived from that of the last by the filter matrix, beside "
    caption += "the network's own."
    return [Illustration(load_plots().render(figure), alt, caption, "derived")]


def _map10_lines(foci: Mapping) -> tuple[list, list]:
    """Gives mAP@10 by focus from 0 on: by activity, and by match."""
    by_focus = [foci.get(str(focus)) or {} for focus in range(max(map(int, foci)) + 1)]
    return tuple(
        [values.get(f"{relevant}_map@10") for values in by_focus]
        for relevant in ("activity", "match")
    )


def _said(lines: tuple[list, list]) -> str:
    """Says in words what `_map10_lines` gives."""
    numbers = (", ".join(_number("", value) for value in values) for values in lines)
    return "Same activity: {}. Same match: {}.".format(*numbers)


def _derived_table(results: Mapping) -> Table:
    """Lays the derived codes out beside the network's own: activity, match, bits of the queries."""
    tables = {codes: _foci(results, codes) for codes in ("foci", "derived")}
    rows = [
        [
            focus,
            *(
                _number(key, tables[codes].get(focus, {}).get(key))
                for _, codes, key in _DERIVED_COLUMNS
            ),
        ]
        for focus in tables["derived"]
    ]
    return Table(["focus (in %)", *(heading for heading, _, _ in _DERIVED_COLUMNS)], rows)


def _storage_table(results: Mapping) -> Table:
    """Lays out what it takes to store the codes of the base set, with the filter matrix or not."""
    rows = [
        [
            way["name"],
            str(way["bits_a_clip"]),
            str(way["matrix_bits"]),
            str(way["bits"]),
            f"{way['compression_ratio']:.4f}",
        ]
        for way in results.get("storage") or []
    ]
    return Table(["stored", "bits a clip", "bits of F", "bits of all", "ratio (Eq. 18)"], rows)


def focus_title(focus: int) -> str:
    """Names an end of the scale of foci: 0 or the last."""
    if focus == 0:
        return "Visual focus (0): who and where"
    return f"Activity focus ({focus}): what the group does"


def _hit_figures(hits) -> list[Illustration]:
    illustrations = []
    for focus, queries in hits.items():
        rows = (
            f"{query.activity} of match {query.match} finds "
            + ", ".join(f"{hit.activity} of match {hit.match}" for hit in found)
            for query, *found in queries
        )
        title = focus_title(focus)
        figure = load_plots().hits_grid(queries, title=title)
        alt = f"Queries and their nearest clips. {title}. {'; '.join(rows)}."
        illustrations.append(Illustration(load_plots().render(figure), alt, name=f"hits-{focus}"))
    return illustrations


def _confusion_figure(results: Mapping) -> list[Illustration]:
    import numpy as np

    if not results.get("confusion_matrix"):
        return []
    matrix = np.array(results["confusion_matrix"])
    names = results.get("activity_names") or [str(i) for i in range(len(matrix))]
    figure = load_plots().confusion_matrix(matrix, names, title="percent of each actual activity")
    right = (f"{name} {row[i]} of {row.sum()}" for i, (name, row) in enumerate(zip(names, matrix)))
    alt = f"Confusion matrix of the activities. Recognised: {', '.join(right)}."
    return [Illustration(load_plots().render(figure), alt, name="confusion")]


def _distances_figure(results: Mapping) -> list[Illustration]:
    import numpy as np

    if not results.get("class_distances"):
        return []
    distances = np.array(results["class_distances"], float)
    names = results.get("activity_names") or [str(i) for i in range(len(distances))]
    figure = load_plots().class_distances(distances, names, title="mean Hamming distance in bits")
    own = np.eye(len(distances), dtype=bool)
    within, between = (
        _text(round(float(part[np.isfinite(part)].mean()), 1) if np.isfinite(part).any() else None)
        for part in (distances[own], distances[~own])
    )
    alt = "Mean Hamming distance between the clips of every two activities. "
    alt += f"Within one: {within}, between two: {between} bits."
    return [Illustration(load_plots().render(figure), alt, name="class_distances")]


def _loss_figure(history) -> list[Illustration]:
    if not history:
        return []
    last = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in history.items() if points)
    alt = f"Curves over the training steps. Last values: {last}."
    figure = load_plots().loss_curves(history)
    return [Illustration(load_plots().render(figure), alt, name="training")]


def _all_measures(heading: str, foci: Mapping) -> Table:
    keys = dict.fromkeys(key for values in foci.values() for key in values)
    rows = [[key, *(_number(key, values.get(key)) for values in foci.values())] for key in keys]
    return Table([heading, *foci], rows)


def _facts(results: Mapping, facts: Mapping) -> list[list[str]]:
    chosen = {key: results.get(key) for key in ("run", "data", "seed", "checkpoint", "hardware")}
    chosen["filter_matrix"] = results.get("filter_matrix") or {}
    return _flat(chosen | dict(facts))


def _flat(values: Mapping, prefix: str = "") -> list[list[str]]:
    rows = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        rows += _flat(value, f"{name}.") if isinstance(value, Mapping) else [[name, _text(value)]]
    return rows
