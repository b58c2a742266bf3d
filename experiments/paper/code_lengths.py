"""What Tables 3 and 4 share: retrieval and classification at every length of the code."""

from experiments.differences import table as differences_table
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant

BITS = (16, 32, 64, 128)
_METRICS = ("mAP@5", "mAP@10", "mAP@20", "mAP@50", "accuracy")
# By length: the metrics in order, for STVH and for M-STVH.
_PAPER = {
    "vd": {
        16: ((94.23, 93.66, 93.82, 94.20, 94.84), (94.93, 94.42, 94.33, 94.55, 95.06)),
        32: ((95.11, 95.10, 95.14, 95.09, 94.99), (95.72, 95.23, 94.54, 94.59, 95.21)),
        64: ((95.07, 95.07, 95.04, 95.03, 95.21), (95.85, 95.47, 94.87, 94.62, 95.59)),
        128: ((95.99, 96.02, 95.67, 95.68, 95.59), (96.12, 96.00, 95.66, 95.58, 95.66)),
    },
    "cad": {
        16: ((97.17, 97.73, 97.69, 97.80, 97.76), (91.83, 93.64, 94.67, 94.99, 95.82)),
        32: ((97.07, 97.04, 97.22, 97.21, 97.37), (96.49, 96.30, 96.15, 96.53, 96.99)),
        64: ((97.26, 97.28, 96.79, 96.33, 97.89), (96.28, 96.56, 96.89, 96.91, 96.99)),
        128: ((98.24, 98.10, 98.10, 97.91, 98.29), (96.91, 96.81, 96.78, 96.82, 97.78)),
    },
}


def variants(setting: Setting) -> list[Variant]:
    """Both models at every length, with the paper's figures for the data set."""
    rows = []
    for bits in BITS:
        quoted = _PAPER.get(setting.dataset, {}).get(bits, ((), ()))
        for name, label, figures in zip(("stvh", "mstvh"), ("STVH", "M-STVH"), quoted):
            rows.append(
                Variant(
                    f"{label}, {bits} bits",
                    {"model.name": name, "model.bits": bits},
                    paper=dict(zip(_METRICS, figures)),
                )
            )
    return rows


def pairs(study: Study) -> list[tuple[Variant, Variant]]:
    """Compares M-STVH with STVH at every length."""
    return list(zip(study.variants[1::2], study.variants[::2]))


def report(study: Study) -> Report:
    """One row per model and length."""
    charted = ("mAP@10", "mAP@50", "accuracy")
    differences = study.differences(pairs(study))
    return Report(
        [study.compare("model", _METRICS), differences_table(differences)],
        figures={"": study.chart(charted)},
        differences=differences,
    )
