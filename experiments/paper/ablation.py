"""What Tables 5 to 7 share: accuracy and mAP@10 of several forms of M-STVH."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def report(study: Study) -> Report:
    """One row per form."""
    return Report([study.compare("model", METRICS)], figures={"": study.chart(METRICS)})
