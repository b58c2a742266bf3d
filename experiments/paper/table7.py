"""Table 7: what the quantisation loss and the contrastive loss contribute."""

from experiments.paper import ablation
from experiments.paper.ablation import report
from experiments.settings import Setting
from experiments.study import Variant

__all__ = ["TITLE", "report", "variants"]
TITLE = "Table 7: the losses"
_WITHOUT_CONTRAST = {"loss.contrastive": 0.0}
_FORMS = {
    "L_cls + L_recon": {**_WITHOUT_CONTRAST, "loss.quantisation": 0.0},
    "L_cls + L_q + L_recon": _WITHOUT_CONTRAST,
    "L_cls + L_q + L_H + L_recon": {},
}
# Accuracy and mAP@10 without L_q and L_H, without L_H, and with all losses.
_PAPER = {
    "vd": ((94.24, 94.72), (94.37, 94.86), (95.66, 96.00)),
    "cad": ((97.50, 95.50), (96.97, 97.39), (97.78, 96.81)),
    "caed": ((97.35, 91.91), (97.46, 94.63), (98.50, 98.00)),
}


def variants(setting: Setting) -> list[Variant]:
    """The three sums of losses, with the config's weights."""
    return ablation.rows(_FORMS, _PAPER[setting.dataset])
