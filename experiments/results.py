"""The results of an experiment: the files it writes, as Markdown, JSON and pictures."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.study import Study
from stvh_jax import files
from stvh_jax.reporting.tables import Table

FOLDER = "results"
# What a result keeps of the evaluation of each run; the whole is in the run's folder.
_KEPT = (
    "checkpoint",
    "data",
    "hardware",
    "bits",
    "layers",
    "activity_accuracy",
    "activity_mpca",
    "activity_accuracy_from_code",
    "action_accuracy",
)
_KEPT_OF_A_FOCUS = (
    *(f"activity_map@{k}" for k in (5, 10, 20, 50)),
    "activity_map@10/over_hits",
    "match_map@10",
    "bit_balance",
    "distinct_codes",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What an experiment found.

    Attributes:
      tables: its tables.
      notes: what a reader has to know about them, a sentence or two each.
      figures: Matplotlib figures by name; "" is the name of an only one.
      pictures: whether the figures contain photographs, which are too large for SVG.
      unit: the unit of the tables, before all that is said of them; "" if notes or headings say it.
      values: numbers for the JSON that no table has.
    """

    tables: Sequence[Table]
    notes: Sequence[str] = ()
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pictures: bool = False
    unit: str = "In percent; "
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(folder: pathlib.Path, name: str, title: str, study: Study, report: Report) -> list:
    """Writes the results of an experiment, below the subfolder of its data.

    Args:
      folder: the folder of all results.
      name: the name of the experiment, and of its files.
      title: its title.
      study: its runs, which are done.
      report: what it found.

    Returns:
      The paths of `name.json`, `name.md` and the pictures, PNG and SVG.
    """
    from stvh_jax.reporting import plots

    setting = study.setting
    folder = folder / setting.name
    folder.mkdir(parents=True, exist_ok=True)
    pictures, figures = [], []
    for figure_name, figure in report.figures.items():
        stem = f"{name}-{figure_name}" if figure_name else name
        for kind in ("png",) if report.pictures else ("png", "svg"):
            path = folder / f"{stem}.{kind}"
            files.write(path, plots.render(figure, kind=kind))
            pictures.append(path)
        figures.append(f"{stem}.png")
    found = {
        "experiment": name,
        "title": title,
        "data": setting.name,
        "about": setting.title,
        "command": f"python -m experiments {name} --data {setting.name} --seeds {len(study.seeds)}",
        "seeds": list(study.seeds),
        "tables": [{"header": list(one.header), "rows": list(one.rows)} for one in report.tables],
        "notes": [*_facts(study, report), *report.notes],
        "figures": figures,
        "values": dict(report.values),
        "config": {
            "file": f"configs/{setting.config}.py",
            **json.loads(setting.build_config().to_json_best_effort()),
        },
        "runs": [_described(study, variant) for variant in study.variants],
    }
    paths = folder / f"{name}.json", folder / f"{name}.md"
    for path, text in zip(paths, (json.dumps(found, indent=1) + "\n", markdown(found))):
        files.write(path, text)
    return [*paths, *pictures]


def _described(study: Study, variant) -> dict:
    """Describes the runs of a variant and what they reached, for the JSON."""
    runs = []
    for run in study.runs(variant):
        results = run.results()
        if results is not None:
            foci = {
                focus: {name: measured[name] for name in _KEPT_OF_A_FOCUS if name in measured}
                for focus, measured in results["foci"].items()
            }
            kept = {name: results[name] for name in _KEPT}
            runs.append({"seed": run.seed, "folder": str(run.folder), **kept, "foci": foci})
    return {
        "label": variant.label,
        "changes": dict(variant.changes),
        "bits": variant.bits,
        "paper": dict(variant.paper),
        "not_run": variant.reason,
        "seeds": runs,
    }


def _facts(study: Study, report: Report) -> list[str]:
    """Says in sentences what all runs share: data, seeds, checkpoint, hardware."""
    results = [one for variant in study.variants for one in study.results(variant)]
    if not results:
        return []
    data, hardware = results[0]["data"], sorted({one["hardware"] for one in results})
    kind = "best on validation" if study.setting.checkpoint == "best" else "last"
    seeds = ", ".join(map(str, study.seeds))
    many = len(study.seeds) > 1
    spread = "; ± is the standard deviation" if many and report.unit else ""
    searched = f" searched in {data['base_clips']} {data['base_split']} clips"
    facts = [
        f"{report.unit}{data['query_clips']} {data['query_split']} clips"
        f"{searched if report.unit else ''}{_labels(results)}; "
        f"seed{'s' if many else ''} {seeds}{spread}; "
        f"checkpoint: {kind}; {'; '.join(hardware)}."
    ]
    if not study.setting.has_frames:
        facts.append("Without frames there is no appearance: all features are made from the boxes.")
    reasons = [(variant.label, variant.reason) for variant in study.variants if variant.reason]
    return facts + [f"{label}: not run, {reason}." for label, reason in reasons]


def _labels(results: Sequence[Mapping]) -> str:
    """Says which labels evaluations are of, "" for data that have no choice of them."""
    # Evaluations that do not say are older than the corrected labels of the Volleyball Dataset.
    before = {"volleyball": "original"}
    kinds = [one["data"].get("labels", before.get(one["data"].get("name"))) for one in results]
    named = " and ".join(dict.fromkeys(kind for kind in kinds if kind))
    return f", {named} labels" if named else ""


def markdown(found: Mapping, *, level: int = 1, folder: str = "") -> str:
    """Formats the JSON of an experiment as Markdown.

    Args:
      found: the content of its JSON file.
      level: the level of the heading.
      folder: the path of its pictures, as the Markdown file sees them, with a slash at the end.
    """
    lines = [f"{'#' * level} {found['title']}", "", f"On {found['about']}: `{found['command']}`."]
    for table in found["tables"]:
        header = table["header"]
        lines += ["", f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
        lines += [f"| {' | '.join(row)} |" for row in table["rows"]]
    for note in found["notes"]:
        lines += ["", note]
    for figure in found["figures"]:
        lines += ["", f"![{found['title']}]({folder}{figure})"]
    return "\n".join(lines) + "\n"
