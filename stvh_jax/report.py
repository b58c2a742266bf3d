"""What an evaluation found, as a table for the console and as one HTML page to look at.

Both are made from the `results` of an evaluation, the dictionary that is also written as JSON. Any
of its entries may be missing or None, which shows as a dash.
"""

import base64
import dataclasses
import html
import math
from collections.abc import Mapping, Sequence

from etils import epath

from stvh_jax.errors import UserError

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


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A picture of a page: its PNG file and that file's name, what it shows in words, a caption."""

    png: bytes
    alt: str
    caption: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a page: the first cell of a row names it, and without a header it is of words."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page: items side by side where there is room, folded away if asked."""

    heading: str
    items: Sequence[Illustration | Table]
    folded: bool = False


def write_html(
    path: epath.PathLike,
    *,
    title: str,
    subtitle: str,
    summary: Mapping[str, str],
    sections: Sequence[Section],
) -> None:
    """Writes one page that holds everything it shows, for light and dark screens.

    Args:
      path: the file to write.
      title: the heading.
      subtitle: one line below it.
      summary: the headline numbers by name.
      sections: what follows, in order.
    """
    tiles = "".join(
        f"<div class=tile><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in summary.items()
    )
    body = "\n".join(_section(section) for section in sections)
    epath.Path(path).write_text(
        f"<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f"<meta name=viewport content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n<p class=subtitle>{html.escape(subtitle)}</p>\n"
        f"<dl class=tiles>{tiles}</dl>\n{body}\n</main>\n</body>\n</html>\n",
        encoding="utf-8",
    )


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
        sections=[section for section in map(_without_empty, sections) if section.items],
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


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lays rows out as plain text, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def load_plots():
    """Imports the plots: only the page needs Matplotlib, which is an optional dependency.

    Raises:
      UserError: Matplotlib is not installed.
    """
    try:
        from stvh_jax import plots
    except ModuleNotFoundError as error:
        raise UserError(
            f"the HTML report needs {error.name}, which is not installed; "
            "pip install 'stvh_jax[report]'"
        ) from error
    return plots


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


def _without_empty(section: Section) -> Section:
    """Leaves out the tables that have no row."""
    items = [item for item in section.items if isinstance(item, Illustration) or item.rows]
    return dataclasses.replace(section, items=items)


def _section(section: Section) -> str:
    items = "\n".join(
        _illustration(item) if isinstance(item, Illustration) else _table(item)
        for item in section.items
    )
    heading = f"<h2>{html.escape(section.heading)}</h2>"
    if section.folded:
        return f"<section><details><summary>{heading}</summary>\n{items}\n</details></section>"
    return f"<section>{heading}\n<div class=items>\n{items}\n</div></section>"


def _illustration(item: Illustration) -> str:
    data = base64.b64encode(item.png).decode()
    # Bytes 16 to 19 of a PNG are its width; a figure has 3 dots for 2 pixels of the page.
    width = int.from_bytes(item.png[16:20], "big") * 2 // 3
    caption = f"<figcaption>{html.escape(item.caption)}</figcaption>" if item.caption else ""
    return (
        f'<figure><img width={width} src="data:image/png;base64,{data}" '
        f'alt="{html.escape(item.alt)}">'
        f"{caption}</figure>"
    )


def _table(table: Table) -> str:
    header = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(
        f"<tr><th scope=row>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    # Columns of numbers have a header and stand on the right; plain facts have none.
    head = f"<thead><tr>{header}</tr></thead>" if table.header else ""
    kind = "numbers" if table.header else "facts"
    return f"<div class=scroll><table class={kind}>{head}<tbody>\n{rows}\n</tbody></table></div>"


_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2128; --soft: #5b6470;
  --line: #dfe3e8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1d2126; --text: #e8eaed;
  --soft: #a3abb5; --line: #333a42; --accent: #6cb8e6; } }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1600px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin: 0; font-size: 2rem; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
.subtitle, dt, figcaption { color: var(--soft); }
.subtitle { margin: .25rem 0 1.5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem;
  margin: 0; }
.tile, figcaption, .scroll { background: var(--card); }
.tile, figure, .scroll { border: 1px solid var(--line); border-radius: 10px; }
.tile { display: flex; flex-direction: column-reverse; justify-content: flex-end;
  padding: .9rem 1rem; }
dd { margin: 0; font-size: 1.6rem; font-weight: 650; color: var(--accent);
  font-variant-numeric: tabular-nums; }
dt { font-size: .85rem; }
.items { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 660px), 1fr));
  gap: 1rem; align-items: start; }
figure { margin: 0; overflow: hidden; background: #fff; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { padding: .6rem 1rem; font-size: .9rem; border-top: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: left; }
.numbers :is(th, td):not(:first-child) { text-align: right; font-variant-numeric: tabular-nums; }
.facts td { width: 75%; overflow-wrap: anywhere; }
th[scope=row] { font-weight: 500; }
thead th { color: var(--soft); font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
summary { cursor: pointer; } summary h2 { display: inline-block; }
"""
