"""What each view of a clip contributes to codes learned without a label, beyond the paper."""

from collections.abc import Mapping

from experiments import feature_clips as features
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant
from stvh_jax.reporting.tables import Table

TITLE = "Codes learned without a label: the views"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
NEEDS_LABEL_FREE = True
ONE_SEED = True

# Fields of config.label_free: those that 0 leaves out, by their words, and those of a choice.
_LEFT_OUT = {
    "zoom": "zoom",
    "shift": "shift",
    "squeeze": "squeeze",
    "tilt": "tilt",
    "box_noise": "noise of boxes",
    "person_shift": "shifts of single people",
    "leave_out": "left-out people",
    "bit_balance": "bit balance",
    "bit_independence": "bit independence",
}
_CHOICES = {"contrast": ("info_nce", "vicreg", "barlow_twins")}


def variants(setting: Setting) -> list[Variant]:
    """The run of `label_free`; without each thing that it has; with each other choice."""
    if not setting.trains_without_labels:
        return []
    options = setting.build_config(features.LABEL_FREE).label_free
    changes = {
        f"without {words}": {f"label_free.{field}": 0.0}
        for field, words in _LEFT_OUT.items()
        if options[field]
    }
    changes |= {
        f"{field}: {value}": {f"label_free.{field}": value}
        for field, values in _CHOICES.items()
        for value in values
        if value != options[field]
    }
    forms: Mapping[str, Mapping] = {"as configured": {}, **changes}
    return [
        features.label_free(label, {**features.NESTED, **form}) for label, form in forms.items()
    ]


def report(study: Study) -> Report:
    """Two rows per form: the real features and all bits of the nested code."""
    kinds = (features.REAL, f"{features.BITS[-1]} bits")
    found: dict[str, dict[str, list]] = {}
    for variant in study.variants:
        of_form = found[variant.label] = {kind: [] for kind in kinds}
        for run in study.runs(variant):
            searching, of_run = features.of_run(*study.open(run), features.BITS[-1:])
            for kind in kinds:
                of_form[kind].append(searching.judge(of_run[kind]))
    rows = [
        [label, kind, *features.cells(of_form[kind])]
        for label, of_form in found.items()
        for kind in kinds
    ]
    note = (
        "Each row is a training without labels that lacks one thing, or has another choice; the "
        "columns are those of `label_free`. None has the losses below."
    )
    header = ["form", "features", *features.COLUMNS.values()]
    return Report([Table(header, rows)], [note], values=found)
