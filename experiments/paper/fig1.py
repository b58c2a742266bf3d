"""Fig. 1: the two kinds of method that the paper contrasts STVH with, as baselines."""

from experiments.differences import table as differences_table
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant

TITLE = "Fig. 1: STVH against a global video hash and plain fusion"


def variants(setting: Setting) -> list[Variant]:
    """A code of whole frames; position joined to appearance once; the interleaving layers."""
    reason = "" if setting.has_frames else "it reads whole frames and there are none"
    whole = {"model.name": "global_hash", **setting.global_hash}
    stvh = {"model.name": "stvh"}
    return [
        Variant("(a) global video hash, no actors", whole, reason=reason),
        Variant("(b) plain fusion, add", {**stvh, "model.position": "add"}),
        Variant("(b) plain fusion, concatenate", {**stvh, "model.position": "concat"}),
        Variant("(c) STVH", stvh),
    ]


def pairs(study: Study) -> list[tuple[Variant, Variant]]:
    """Compares STVH with the other methods."""
    *others, stvh = study.variants
    return [(stvh, other) for other in others]


def report(study: Study) -> Report:
    """One row per method."""
    notes = [
        "The paper draws these methods but gives no numbers for them. (b) joins position to "
        "appearance once and then has as many standard transformer blocks as STVH has layers.",
    ]
    metrics = ["accuracy", "mAP@10", "mAP@50"]
    differences = study.differences(pairs(study))
    tables = [study.compare("method", metrics), differences_table(differences)]
    return Report(tables, notes, {"": study.chart(metrics)}, differences=differences)
