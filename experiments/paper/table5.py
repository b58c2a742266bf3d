"""Table 5: the MSF module against standard transformer blocks with position added."""

from experiments.paper import ablation
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant

TITLE = "Table 5: the MSF module replaced by transformer blocks"
_FORMS = {
    "M-STVH^BD": {"model.position": "before"},
    "M-STVH^ED": {"model.position": "after"},
    "M-STVH": {"model.position": "graphs"},
}
# Accuracy and mAP@10 of M-STVH^BD, M-STVH^ED and M-STVH.
_PAPER = {
    "vd": ((94.69, 93.93), (95.21, 94.56), (95.66, 96.00)),
    "cad": ((96.32, 96.77), (95.53, 95.36), (97.78, 96.81)),
    "caed": ((94.25, 90.26), (97.35, 96.05), (98.50, 98.00)),
}


def variants(setting: Setting) -> list[Variant]:
    """Position added before or after every block, or used in the attention as in the paper."""
    return ablation.rows(_FORMS, _PAPER[setting.dataset])


def pairs(study: Study) -> list[tuple[Variant, Variant]]:
    """Compares the MSF module with both kinds of blocks."""
    *blocks, mstvh = study.variants
    return [(mstvh, block) for block in blocks]


def report(study: Study) -> Report:
    """One row per form."""
    return ablation.report(study, pairs(study))
