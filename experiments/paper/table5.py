"""Table 5: the MSF module against standard transformer blocks with position added."""

from experiments.paper import ablation
from experiments.paper.ablation import report
from experiments.settings import Setting
from experiments.study import Variant

__all__ = ["TITLE", "report", "variants"]
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
