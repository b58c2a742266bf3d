"""Table 6: how many MSF modules are stacked."""

from experiments.paper import ablation
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant

TITLE = "Table 6: the number of stacked layers"
_FORMS = {f"L = {layers}": {"model.layers": layers} for layers in (2, 3, 4, 5)}
# How many layers the paper finds best.
BEST = {"vd": 3, "cad": 4, "caed": 4}
# Accuracy and mAP@10 at L = 2, 3, 4 and 5.
_PAPER = {
    "vd": ((93.87, 93.49), (95.66, 96.00), (94.99, 95.34), (94.39, 95.05)),
    "cad": ((96.21, 88.91), (96.74, 95.87), (97.78, 96.81), (95.29, 95.37)),
    "caed": ((97.01, 95.87), (97.67, 96.50), (98.50, 98.00), (97.12, 95.12)),
}


def variants(setting: Setting) -> list[Variant]:
    """One form per number of layers."""
    return ablation.rows(_FORMS, _PAPER[setting.dataset])


def pairs(study: Study) -> list[tuple[Variant, Variant]]:
    """Compares the number of layers that the paper finds best with the others."""
    label = f"L = {BEST[study.setting.dataset]}"
    best = next(variant for variant in study.variants if variant.label == label)
    return [(best, other) for other in study.variants if other is not best]


def report(study: Study) -> Report:
    """One row per number of layers."""
    return ablation.report(study, pairs(study))
