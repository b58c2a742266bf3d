"""The results of an experiment: the files it writes, as Markdown, JSON and pictures."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.differences import Difference
from experiments.readings import not_as_printed
from experiments.settings import SETTINGS
from experiments.study import MISSING, OVER_HITS, Study
from stvh_jax import files
from stvh_jax.reporting.tables import Table

FOLDER = "results"
# What a result keeps of the evaluation of each run; the whole is in the run's folder.
_KEPT = (
    "seed",
    "folder",
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
    *(f"activity_map@{k}{over}" for k in (5, 10, 20, 50) for over in ("", "/over_hits")),
    "activity_map",
    "activity_precision_hamming_radius_2",
    "match_map@10",
    "match_map@10/over_hits",
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
      differences: comparisons of rows, which the JSON keeps.
      unit: the unit of the tables, before all that is said of them; "" if notes or headings say it.
      values: numbers for the JSON that no table has.
    """

    tables: Sequence[Table]
    notes: Sequence[str] = ()
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pictures: bool = False
    differences: Sequence[Difference] = ()
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
        "differences": [one.to_json() for one in report.differences],
        "config": {"file": f"configs/{setting.config}.py", **study.config()},
        "runs": [
            *(_described(study, variant) for variant in study.variants),
            *study.rows_no_more_asked_for(),
        ],
    }
    paths = folder / f"{name}.json", folder / f"{name}.md"
    for path, text in zip(paths, (json.dumps(found, indent=1) + "\n", markdown(found))):
        files.write(path, text)
    return [*paths, *pictures]


def _described(study: Study, variant) -> dict:
    """Describes the runs of a variant and what they reached, for the JSON."""
    runs = []
    for results in study.results(variant):
        foci = {
            focus: {name: measured[name] for name in _KEPT_OF_A_FOCUS if name in measured}
            for focus, measured in results["foci"].items()
        }
        runs.append({**{name: results[name] for name in _KEPT}, "foci": foci})
    return {
        "label": variant.label,
        "options": variant.options,
        "changes": dict(variant.changes),
        "bits": variant.bits,
        "paper": dict(study.quote(variant)),
        "not_run": variant.reason,
        "seeds": runs,
    }


def _facts(study: Study, report: Report) -> list[str]:
    """Says in sentences what all runs share: data, seeds, checkpoint, hardware."""
    results = [one for variant in study.variants for one in study.results(variant)]
    if not results:
        return []
    data, hardware = results[0]["data"], sorted({one["hardware"] for one in results})
    best = results[0]["checkpoint"]["kind"] == "best"
    kind = "best on validation" if best else "last"
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
    if study.setting.has_appearance:
        facts.append(
            "The clips have no frames: focus 0 shows features of whole frames, computed "
            "elsewhere; all else is computed from the boxes."
        )
    elif not study.setting.has_frames:
        facts.append("The clips have no frames: all features are computed from the boxes.")
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
    for note in [*found["notes"], *_definitions(found), *_made_with(found)]:
        lines += ["", note]
    for figure in found["figures"]:
        lines += ["", f"![{found['title']}]({folder}{figure})"]
    return "\n".join(lines) + "\n"


def _definitions(found: Mapping) -> list[str]:
    """Defines the mAP of the tables, if they have one, and says where one was not kept."""
    headers = [name for table in found["tables"] for name in table["header"]]
    if not any("mAP@" in name for name in headers):
        return []
    notes = [
        "mAP@k is the mean over the queries of AP@k: the sum of the precisions at the ranks of the "
        "relevant clips among the first k, divided by min(k, R), where R counts the relevant clips "
        "of the base. Over hits: divided by the relevant clips among the k. Both are expectations "
        "over all orders of clips at equal distance."
    ]
    lacking = {
        name
        for table in found["tables"]
        for place, name in enumerate(table["header"])
        if name.endswith(OVER_HITS) and any(row[place] == MISSING for row in table["rows"])
    }
    if lacking:
        notes.append(
            "A dash over hits: not kept when this was measured. The command evaluates such runs "
            "again, without training them."
        )
    return notes


def _made_with(found: Mapping) -> list[str]:
    """Says in which losses and readings the config differs from the print, and of what data."""
    notes = []
    if differing := not_as_printed(found["config"]):
        notes.append(
            f"Losses and readings of all rows, where they do not say otherwise: "
            f"{', '.join(differing)}. The last row of Table 7 has everything as printed."
        )
    config = SETTINGS[found["data"]].build_config()
    parts = ("train_split", "validation_split", "variant")
    then, now = found["config"]["data"], config.data
    changed = [
        f"data.{part}={then[part]} (now {now[part]})" for part in parts if then[part] != now[part]
    ]
    if changed:
        notes.append(f"Measured with another config than today's: {', '.join(changed)}.")
    return notes
