"""How many labels to give: a model that learns from few, from scratch or after learning from none.

The paper has nothing of the kind.
"""

from collections.abc import Mapping
from typing import Any

from experiments.feature_clips import LABEL_FREE, label_free
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant
from experiments.trained_run import TrainedRun
from stvh_jax.fields import flatten
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

TITLE = "How many labels to give"
NEEDS_LABEL_FREE = True

# Labelled clips of each activity; 0 for all.
LABELS = (1, 5, 10, 50, 0)
# Few labels are learned in less time than all, so trainings end after this many epochs.
_MOST_EPOCHS = 30
_GRADED: Mapping[str, Any] = {"model.objective": "graded"}
_STARTS = ("from scratch", "after learning from none")
_MEASURES = ("accuracy", "MPCA", "mAP@10")


def variants(setting: Setting) -> list[Variant]:
    """A training without labels, and for each number of labels one with it and one without."""
    if not setting.trains_without_labels:
        return []
    first = label_free("without labels", _GRADED)
    start = {"train.start_from": str(TrainedRun(setting, _GRADED, 0, options=LABEL_FREE).folder)}
    rows = [
        Variant(_row(start_name, count), {**changes, "data.labels_per_activity": count})
        for count in LABELS
        for start_name, changes in zip(_STARTS, (_changes(setting), _changes(setting) | start))
    ]
    return [first, *rows]


def _changes(setting: Setting) -> dict[str, Any]:
    """Gives what a training with labels has of the one without: the same model."""
    config = setting.build_config()
    own, other = (
        flatten(each.copy_and_resolve_references().model.to_dict())
        for each in (config, setting.build_config(LABEL_FREE))
    )
    model = {f"model.{name}": value for name, value in other.items() if own.get(name) != value}
    return {**model, **_GRADED, "train.epochs": min(config.train.epochs, _MOST_EPOCHS)}


def _row(start: str, count: int) -> str:
    return f"{start}, {_labels(count)}"


def _labels(count: int) -> str:
    return f"{count} per activity" if count else "all labels"


def report(study: Study) -> Report:
    """Two rows for each measure, of the two starts, along the number of labels."""
    by_label = {variant.label: variant for variant in study.variants}
    lines: dict[str, dict[str, list]] = {}
    rows = []
    for measure in _MEASURES:
        for start in _STARTS:
            found = {count: by_label[_row(start, count)] for count in LABELS}
            rows.append([start, measure, *(study.cell(each, measure) for each in found.values())])
            lines.setdefault(start, {})[measure] = [
                (float(count), study.percent(each, measure))
                for count, each in found.items()
                if count
            ]
    notes = [
        "Both starts train the same model equally long, on the same clips, drawn by the seed. The "
        "training without labels is that of seed 0, and saw all clips that are searched.",
    ]
    header = ["start", "measure", *map(_labels, LABELS)]
    figure = plots.measures_along(lines, along="labels per activity", bottom=None)
    return Report([Table(header, rows)], notes, {"": figure})
