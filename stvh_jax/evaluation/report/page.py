"""The HTML page of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from stvh_jax import files
from stvh_jax.evaluation.report import figures, tables
from stvh_jax.evaluation.report.words import (
    ACCURACIES,
    is_missing,
    measures_by_focus,
    notes,
    percent,
    subtitle,
    text,
)
from stvh_jax.reporting.pages import Illustration, Section, without_empty, write_html

# Of the results, what "How this was made" lists, in order, with the filter matrix after them.
_FACTS = ("run", "data", "seed", "checkpoint", "hardware")

_MODELS = {"mstvh": "M-STVH", "stvh": "STVH", "global_hash": "global hash"}


def write_evaluation(
    path: epath.PathLike,
    results: Mapping[str, Any],
    *,
    history: Mapping[str, Sequence[tuple[int, float]]] | None = None,
    hits: Mapping[int, Sequence] | None = None,
    config: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes the page of an evaluation: the figures first, how they were made last.

    Each figure is also written as a PNG file of its own, in a folder with the name of the page.

    Args:
      path: the file to write, `.html`.
      results: the results of the evaluation.
      history: (step, value) pairs of the training by name, see `curves`.
      hits: queries and their hits by focus, as `plots.hits_grid` takes them.
      config: the config of the run.
      facts: what else is worth keeping: versions, duration.

    Raises:
      UserError: Matplotlib is not installed.
      OSError: a file cannot be written.
    """
    sections = _sections(results, history or {}, hits or {}, config or {}, facts or {})
    _write_figures(epath.Path(path).with_suffix(""), sections)
    model, data = results.get("model"), (results.get("data") or {}).get("name")
    write_html(
        path,
        title=f"{_MODELS.get(str(model), text(model))} on {text(data)}",
        subtitle=". ".join([subtitle(results), *notes(results)]),
        summary=_headlines(results),
        sections=[section for section in map(without_empty, sections) if section.items],
    )


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Turns a run's history into curves: (step, value) of all that was measured, by name."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for entry in history:
        for name, value in entry.items():
            if name.startswith(("train/", "validation/")):
                lines.setdefault(name, []).append((entry["step"], value))
    return lines


def _sections(
    results: Mapping[str, Any],
    history: Mapping[str, Sequence[tuple[int, float]]],
    hits: Mapping[int, Sequence],
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[Section]:
    """Makes the sections of the page in order; some may be empty."""
    return [
        Section("What each focus finds", figures.focus_figure(results)),
        Section(
            "One stored code",
            [
                *figures.derived_figure(results),
                tables.derived_table(results),
                tables.storage_table(results),
            ],
        ),
        Section("Precision and recall", figures.curve_figures(results)),
        Section("Nearest clips", figures.hit_figures(hits)),
        Section(
            "Activities taken for others",
            [
                *figures.confusion_figure(results),
                *figures.distances_figure(results),
                tables.activities_table(results),
            ],
        ),
        Section("Training", figures.loss_figure(history)),
        Section(
            "All measures",
            [
                tables.measures_table("percent, by focus", measures_by_focus(results)),
                tables.measures_table(
                    "percent, derived codes, by focus", measures_by_focus(results, "derived")
                ),
            ],
        ),
        Section("How this was made", [tables.facts_table(_facts(results, facts))]),
        Section("Config", [tables.facts_table(config)], folded=True),
    ]


def _write_figures(folder: epath.Path, sections: Sequence[Section]) -> None:
    folder.mkdir(exist_ok=True)
    for section in sections:
        for item in section.items:
            if isinstance(item, Illustration):
                files.write(folder / f"{item.name}.png", item.png)


def _headlines(results: Mapping[str, Any]) -> dict[str, str]:
    """Gives the headline numbers that there are, by name."""
    foci = results.get("foci") or {}
    numbers = {}
    if foci:
        last = max(foci, key=int)
        numbers[f"activity mAP@10, focus {last}"] = foci[last].get("activity_map@10")
    if "0" in foci:
        numbers["match mAP@10, focus 0"] = foci["0"].get("match_map@10")
    numbers |= {name: results.get(key) for name, key in ACCURACIES.items()}
    return {name: f"{percent(value)} %" for name, value in numbers.items() if not is_missing(value)}


def _facts(results: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {key: results.get(key) for key in _FACTS}
    return chosen | {"filter_matrix": results.get("filter_matrix") or {}} | dict(facts)
