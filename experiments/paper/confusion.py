"""What Figs. 7 and 8 share: which activities are taken for which."""

import numpy as np

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import MISSING, Study, Variant
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table


def variants(setting: Setting) -> list[Variant]:
    """The two models."""
    del setting
    return [
        Variant("STVH", {"model.name": "stvh"}),
        Variant("M-STVH", {"model.name": "mstvh"}),
    ]


def report(study: Study) -> Report:
    """One matrix per model, the sum over the seeds; the table shows its diagonal."""
    figures, recalls, values, names = {}, {}, {}, []
    for variant in study.variants:
        results = study.results(variant)
        names = results[0]["activity_names"]
        counts = np.sum([one["confusion_matrix"] for one in results], axis=0)
        title = f"{variant.label}, {len(results)} seed{'s' if len(results) > 1 else ''}"
        figures[variant.changes["model.name"]] = plots.confusion_matrix(counts, names, title=title)
        values[variant.label] = counts.tolist()
        totals = counts.sum(axis=1)
        recalls[variant.label] = [
            f"{100 * right / total:.1f}" if total else MISSING
            for right, total in zip(counts.diagonal(), totals)
        ]
    rows = [[name, *of_name] for name, *of_name in zip(names, *recalls.values())]
    note = "For each activity, the share of its clips that are recognised. The paper shows its "
    note += "matrices as pictures, with the predicted activities from top to bottom."
    table = Table(["activity", *recalls], rows)
    return Report([table], [note], figures, values={"counts": values, "activities": names})
