"""Table 7: what the quantisation and the contrastive loss add."""

from experiments.settings import Setting
from experiments.study import Study, Variant
from experiments.written import Report

TITLE = "Table 7: the losses"
# Accuracy and mAP@10 without L_q and L_H, without L_H, and with all.
_PAPER = {
    "vd": ((94.24, 94.72), (94.37, 94.86), (95.66, 96.00)),
    "cad": ((97.50, 95.50), (96.97, 97.39), (97.78, 96.81)),
    "caed": ((97.35, 91.91), (97.46, 94.63), (98.50, 98.00)),
}


def variants(setting: Setting) -> list[Variant]:
    """The three sums of losses."""
    without_contrast = {"loss.contrastive": 0.0}
    rows = (
        ("L_cls + L_recon", {**without_contrast, "loss.quantisation": 0.0}),
        ("L_cls + L_q + L_recon", without_contrast),
        ("L_cls + L_q + L_H + L_recon", {}),
    )
    return [
        Variant(label, changes, paper=dict(zip(("accuracy", "mAP@10"), quoted)))
        for (label, changes), quoted in zip(rows, _PAPER[setting.dataset])
    ]


def report(study: Study) -> Report:
    """One row a sum."""
    metrics = ["accuracy", "mAP@10"]
    table = study.compare("losses, each with its weight", metrics)
    return Report([table], figures={"": study.chart(metrics)})
