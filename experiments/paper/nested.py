"""Nested codes, which the paper does not have: one training for all lengths against one each."""

from experiments.paper.code_lengths import BITS
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import OVER_HITS, Study, Variant
from stvh_jax.reporting.tables import Table

TITLE = "Nested codes: one training for all lengths"


def variants(setting: Setting) -> list[Variant]:
    """For each length, the code of a training of its own and the first bits of the nested code."""
    del setting
    separate = [Variant(f"separate, {bits} bits", {"model.bits": bits}) for bits in BITS]
    nested = [Variant(f"nested, {bits} bits", {"model.bits": BITS}, bits=bits) for bits in BITS]
    return separate + nested


def report(study: Study) -> Report:
    """One row per length, separate and nested side by side."""
    separate, nested = study.variants[: len(BITS)], study.variants[len(BITS) :]
    metrics = ("accuracy", "mAP@10", f"mAP@10{OVER_HITS}", "mAP@50", f"mAP@50{OVER_HITS}")
    header = ["bits", *(f"{how}: {metric}" for metric in metrics for how in ("separate", "nested"))]
    rows = [
        [str(bits), *(study.cell(one, metric) for metric in metrics for one in (alone, prefix))]
        for bits, alone, prefix in zip(BITS, separate, nested)
    ]
    note = (
        f"Separate: {len(BITS)} trainings of M-STVH per seed. Nested: one, with model.bits={BITS}."
    )
    note += " Its checkpoint is chosen by the accuracy of the longest code."
    return Report([Table(header, rows)], [note], {"": study.chart(metrics[:2])})
