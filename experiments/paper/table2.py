"""Table 2: action and activity classification of STVH and M-STVH at 128 bits."""

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant

TITLE = "Table 2: classification"
# Activity accuracy, and action accuracy where the paper has it; STVH, then M-STVH.
_PAPER = {
    "vd": (
        {"action accuracy": 87.6, "accuracy": 95.6},
        {"action accuracy": 87.7, "accuracy": 95.7},
    ),
    "cad": ({"accuracy": 98.3}, {"accuracy": 97.8}),
    "caed": ({"accuracy": 99.0}, {"accuracy": 98.5}),
}


def variants(setting: Setting) -> list[Variant]:
    """The two models."""
    stvh, mstvh = _PAPER[setting.dataset]
    return [
        Variant("STVH", {"model.name": "stvh"}, paper=stvh),
        Variant("M-STVH", {"model.name": "mstvh"}, paper=mstvh),
    ]


def report(study: Study) -> Report:
    """One row per model."""
    metrics = ["action accuracy", "accuracy"]
    note = (
        "The paper's STVH uses the backbone VGG-16 and its M-STVH Inception-v3; ours use the same."
    )
    table = study.compare("model", [*metrics, "MPCA"])
    return Report([table], [note], {"": study.chart(metrics)})
