"""What Tables 5 to 7 share: accuracy and mAP@10 of several forms of M-STVH."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.differences import table as differences_table
from experiments.results import Report
from experiments.study import Study, Variant

METRICS = ("accuracy", "mAP@10")


def rows(
    forms: Mapping[str, Mapping[str, Any]], paper: Sequence[tuple[float, float]]
) -> list[Variant]:
    """Makes the rows of a table.

    Args:
      forms: by label, the values that differ from the config.
      paper: the paper's `METRICS` for each, in percent.
    """
    return [
        Variant(label, changes, paper=dict(zip(METRICS, quoted)))
        for (label, changes), quoted in zip(forms.items(), paper)
    ]


def report(study: Study, pairs: Sequence[tuple[Variant, Variant]]) -> Report:
    """One row per form, and how sure the differences of these pairs are."""
    differences = study.differences(pairs)
    tables = [study.compare("model", METRICS), differences_table(differences)]
    figures = {"": study.chart(METRICS)}
    return Report(tables, figures=figures, differences=differences)
