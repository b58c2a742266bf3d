"""Table 7: what the quantisation loss and the contrastive loss contribute."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.paper import ablation
from experiments.paper.ablation import METRICS
from experiments.readings import printed
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant
from stvh_jax.fields import flatten
from stvh_jax.reporting.tables import Table

TITLE = "Table 7: the losses"
_WITHOUT_CONTRAST = {"loss.contrastive": 0.0}
_ALL = "L_cls + L_q + L_H + L_recon"
_FORMS = {
    "L_cls + L_recon": {**_WITHOUT_CONTRAST, "loss.quantisation": 0.0},
    "L_cls + L_q + L_recon": _WITHOUT_CONTRAST,
    _ALL: {},
}
# Accuracy and mAP@10 without L_q and L_H, without L_H, and with all losses.
_PAPER = {
    "vd": ((94.24, 94.72), (94.37, 94.86), (95.66, 96.00)),
    "cad": ((97.50, 95.50), (96.97, 97.39), (97.78, 96.81)),
    "caed": ((97.35, 91.91), (97.46, 94.63), (98.50, 98.00)),
}


def variants(setting: Setting) -> list[Variant]:
    """The three sums of losses with the config's weights, and everything as printed.

    An objective of another method, which the config may have beside them, is left out.
    """
    quoted = _PAPER[setting.dataset]
    has_more = setting.build_config().loss.supervised_contrastive > 0
    without = {"loss.supervised_contrastive": 0.0} if has_more else {}
    forms = {label: {**form, **without} for label, form in _FORMS.items()}
    as_printed = Variant(f"{_ALL}, all as printed", printed(), paper=dict(zip(METRICS, quoted[-1])))
    return [*ablation.rows(forms, quoted), as_printed]


def pairs(study: Study) -> list[tuple[Variant, Variant]]:
    """Compares all losses with fewer."""
    *fewer, whole, _ = study.variants
    return [(whole, one) for one in fewer]


def report(study: Study) -> Report:
    """One row per sum of losses, with its weights."""
    *_, whole, as_printed = study.variants
    found = ablation.report(study, [*pairs(study), (whole, as_printed)])
    compared, differences = found.tables
    config = flatten(study.config())
    weights = [_weights(config | variant.changes) for variant in study.variants]
    rows = [[label, weight, *rest] for (label, *rest), weight in zip(compared.rows, weights)]
    header = ["losses", "action, L_q, L_H, L_recon; Eq 8", *compared.header[1:]]
    note = (
        "The second column has the weights of the losses, and whether Eq 8 also counts clips of "
        "the same activity as negatives (literal) or leaves them out (masked). In the last row "
        "every equation is read as printed, too."
    )
    return dataclasses.replace(found, tables=[Table(header, rows), differences], notes=[note])


def _weights(config: Mapping[str, Any]) -> str:
    names = ("action", "quantisation", "contrastive", "reconstruction")
    weights = ", ".join(f"{config[f'loss.{name}']:g}" for name in names)
    return f"{weights}; {'masked' if config['loss.same_class_mask'] else 'literal'}"
