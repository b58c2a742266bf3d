"""What each view, loss and pretext does for codes learned without a label, beyond the paper."""

from collections.abc import Mapping

from experiments import feature_clips as features
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant
from stvh_jax.fields import flatten
from stvh_jax.reporting.tables import Table

TITLE = "Codes learned without a label: the views"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
NEEDS_LABEL_FREE = True
ONE_SEED = True

# Fields of the config: those that 0 leaves out, by their words, and those of a choice.
_LEFT_OUT = {
    "label_free.contrast_weight": "contrast of views",
    "label_free.arrangement_weight": "arrangements",
    "label_free.zoom": "zoom",
    "label_free.shift": "shift",
    "label_free.squeeze": "squeeze",
    "label_free.tilt": "tilt",
    "label_free.box_noise": "noise of boxes",
    "label_free.person_shift": "shifts of single people",
    "label_free.person_size": "sizes of single people",
    "label_free.leave_out": "left-out people",
    "label_free.moment": "another moment",
    "label_free.speed": "another speed",
    "label_free.colour": "other colours",
    "loss.bit_balance": "bit balance",
    "loss.bit_independence": "bit independence",
    "data.flip": "mirrored clips",
}
# What is read of people from codes, by the words for it; each is tried beside what is configured,
# and alone.
_PRETEXTS = {
    "attributes": "attributes of people",
    "masked_people": "masked people",
    "next_positions": "next positions",
}
# The losses that are left out where a pretext is alone.
_OTHERS = {"label_free.contrast_weight": 0.0, "label_free.arrangement_weight": 0.0}
_CHOICES = {"label_free.contrast": ("info_nce", "vicreg", "barlow_twins")}


def variants(setting: Setting) -> list[Variant]:
    """The run of `label_free`; without each thing that it has; each other choice and pretext."""
    if not setting.trains_without_labels:
        return []
    config = setting.build_config(features.LABEL_FREE).copy_and_resolve_references()
    fields = flatten(config.to_dict())
    changes = {
        f"without {words}": {field: type(fields[field])(0)}
        for field, words in _LEFT_OUT.items()
        if fields[field]
    }
    changes |= {
        f"{field.rpartition('.')[2]}: {value}": {field: value}
        for field, values in _CHOICES.items()
        for value in values
        if value != fields[field]
    }
    frames = fields["data.num_frames"]
    for name, words in _PRETEXTS.items():
        pretext = {f"label_free.{name}_weight": 1.0}
        if name == "next_positions":
            pretext["label_free.next_frames"] = frames // 3
        if all(pretext.values()):
            changes[f"with {words}"] = pretext
            changes[f"{words} alone"] = {**pretext, **_OTHERS}
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
        "Each row is a training without labels that lacks one thing, or has another choice or a "
        "pretext; alone is without contrast and arrangements. The columns are those of "
        "`label_free`. None has the losses below."
    )
    header = ["form", "features", *features.COLUMNS.values()]
    return Report([Table(header, rows)], [note], values=found)
