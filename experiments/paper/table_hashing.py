"""The objectives of other hashing methods, which the paper does not compare: STVH trained by each.

The model, its classification losses and their weights stay; only what is asked of the code differs.
STVH has one code, as these methods do.
"""

from collections.abc import Mapping
from typing import Any

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant
from stvh_jax.reporting.tables import Table

TITLE = "Other hashing objectives"
METRICS = ("accuracy", "mAP@10", "mAP@10 over hits", "mAP", "precision within 2 bits")
_WITHOUT: Mapping[str, Any] = {
    "loss.quantisation": 0.0,
    "loss.contrastive": 0.0,
    "loss.supervised_contrastive": 0.0,
}
# docs/studies.md says how the weights were chosen.
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "Eq 7 and Eq 8": {"loss.supervised_contrastive": 0.0},
    "Eq 7, Eq 8 and SupCon": {
        "loss.supervised_contrastive": 0.2,
        "loss.supervised_temperature": 0.2,
    },
    "classification alone": _WITHOUT,
    "DPSH": {**_WITHOUT, "loss.pairwise": 1.0},
    "CSQ": {**_WITHOUT, "loss.centre": 1.0},
    "OrthoHash": {**_WITHOUT, "loss.orthogonal": 1.0},
    "SupCon, bit balance": {
        **_WITHOUT,
        "loss.supervised_contrastive": 1.0,
        "loss.bit_balance": 1.0,
    },
    "SupCon, bit balance, Eq 7": {
        **_WITHOUT,
        "loss.quantisation": 0.1,
        "loss.supervised_contrastive": 1.0,
        "loss.bit_balance": 0.1,
    },
}


def variants(setting: Setting) -> list[Variant]:
    """STVH by its classification losses alone, and with each objective beside these."""
    del setting
    return [Variant(label, {"model.name": "stvh", **form}) for label, form in _FORMS.items()]


def report(study: Study) -> Report:
    """One row per objective."""
    header = ["objective", *METRICS]
    rows = [
        [variant.label, *(study.cell(variant, metric) for metric in METRICS)]
        for variant in study.variants
    ]
    note = (
        "All rows: STVH with its losses of the activity and the actions. mAP is that of the full "
        "ranking; within 2 bits, a query without hits counts as 0. Sources: "
        "`stvh_jax/training/hashing_losses.py`."
    )
    return Report([Table(header, rows)], [note], {"": study.chart(METRICS)})
