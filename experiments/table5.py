"""Table 5: the MSF module against standard transformer blocks that position is added to."""

from experiments.settings import Setting
from experiments.study import Study, Variant
from experiments.written import Report

TITLE = "Table 5: the MSF module replaced by transformer blocks"
# Accuracy and mAP@10 of M-STVH^BD, M-STVH^ED and M-STVH.
_PAPER = {
    "vd": ((94.69, 93.93), (95.21, 94.56), (95.66, 96.00)),
    "cad": ((96.32, 96.77), (95.53, 95.36), (97.78, 96.81)),
    "caed": ((94.25, 90.26), (97.35, 96.05), (98.50, 98.00)),
}


def variants(setting: Setting) -> list[Variant]:
    """Position added before every block, after it, or in the attention as the paper has it."""
    labels = ("M-STVH^BD", "M-STVH^ED", "M-STVH")
    positions = ("before", "after", "graphs")
    return [
        Variant(
            label, {"model.position": position}, paper=dict(zip(("accuracy", "mAP@10"), quoted))
        )
        for label, position, quoted in zip(labels, positions, _PAPER[setting.dataset])
    ]


def report(study: Study) -> Report:
    """One row a form."""
    metrics = ["accuracy", "mAP@10"]
    return Report([study.compare("model", metrics)], figures={"": study.chart(metrics)})
