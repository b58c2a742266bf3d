"""Codes that are learned without a label, which the paper does not have, and what is read of them.

The classifiers of such runs are not trained. What their features know of the activities is judged
by retrieval, and by read-outs that are fitted to labelled clips of the base.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments import feature_clips as features
from experiments.paper.literature import LABEL_FREE_LITERATURE, NOT_READ
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import MISSING, Study, Variant, mean_and_spread
from stvh_jax.evaluation import few_labels, read_outs
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

TITLE = "Codes learned without a label"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
NEEDS_LABEL_FREE = True

_ONE_CODE, _SUPERVISED, _BOXES = "128 bits, one code for all foci", "supervised", "sorted boxes"
_EUCLIDEAN = f"{_BOXES}, Euclidean distance"
_APPEARANCE = "appearance of whole frames, less the mean of each match"
_COSINE = f"{_BOXES}, standardised, cosine"
_MEASURES = {"accuracy": "accuracy", "recall": "MPCA"}


def variants(setting: Setting) -> list[Variant]:
    """The nested codes and the one code for all foci without labels, and STVH with labels."""
    if not setting.trains_without_labels:
        return []
    return [
        features.label_free("label-free, nested", features.NESTED),
        features.label_free(f"label-free, {_ONE_CODE}", {"model.objective": "graded"}),
        Variant(_SUPERVISED, {"model.name": "stvh"}),
    ]


def report(study: Study) -> Report:
    """What is found, by length of the code; what few labels read; and what others print."""
    found: dict[str, list] = {}
    curves: dict[str, list] = {}
    for place in range(len(study.seeds)):
        judged, read = judge_seed(study, place)
        for rows, of_seed in ((found, judged), (curves, read)):
            for name, values in of_seed.items():
                rows.setdefault(name, []).append(values)
    # Boxes have no seed of a training: they are judged once.
    tables = [
        Table(
            ["features", *features.COLUMNS.values()],
            [[name, *features.cells(of_seeds)] for name, of_seeds in found.items()],
        ),
        _curve_table(study, curves),
    ]
    notes = _notes()
    if study.quoted == "vd":
        first = [100 * one["hit@1"] for one in found[f"label-free, {features.REAL}"]]
        tables.append(_literature(mean_and_spread(first)))
        notes += _literature_notes()
    values = {"found": found, "label curves": {n: _plain(c) for n, c in curves.items()}}
    return Report(tables, notes, {"": _figure(curves)}, values=values)


def judge_seed(study: Study, place: int) -> tuple[dict[str, dict], dict[str, dict]]:
    """Judges the runs of one seed, and with those of the first seed the boxes.

    Args:
      study: the study, with the rows of `variants`.
      place: of the seed among those of the study.

    Returns:
      By features: what `feature_clips.Searching.judge` measures, and its label curves.
    """
    nested, one_code, supervised = (study.runs(variant)[place] for variant in study.variants)
    judged, curves = {}, {}
    encoder, dataset = study.open(nested)
    searching, of_run = features.of_run(encoder, dataset, features.BITS)
    judged |= {f"label-free, {name}": searching.judge(each) for name, each in of_run.items()}
    for name in (features.REAL, f"{features.BITS[-1]} bits"):
        curves[f"label-free, {name}"] = searching.label_curve(of_run[name])
    if study.setting.has_appearance:
        appearance = features.of_appearance(encoder, dataset)
        judged[_APPEARANCE] = searching.judge(appearance)
        both = features.beside(of_run[features.REAL], appearance)
        judged[f"label-free, {features.REAL} and appearance"] = searching.judge(both)
    boxes = features.of_boxes(encoder, dataset) if place == 0 else None
    encoder, dataset = study.open(one_code)
    searching, of_run = features.of_run(encoder, dataset, [encoder.bits])
    judged[f"label-free, {_ONE_CODE}"] = searching.judge(of_run[f"{encoder.bits} bits"])
    encoder, dataset = study.open(supervised)
    searching, of_run = features.of_run(encoder, dataset, [encoder.bits])
    judged |= {f"{_SUPERVISED}, {name}": searching.judge(each) for name, each in of_run.items()}
    if boxes is not None:
        queries, base = boxes
        standardised = tuple(read_outs.standardised(each, base) for each in boxes)
        judged[_EUCLIDEAN] = searching.judge(boxes, read_outs.nearness)
        judged[_COSINE] = searching.judge(standardised)
        curves[_COSINE] = searching.label_curve(standardised)
    return judged, curves


def _curve_table(study: Study, curves: Mapping[str, Sequence[Mapping]]) -> Table:
    """Lists what each number of labels reads, over all draws and seeds; then the model itself."""
    counts = list(next(iter(curves.values()))[0]["linear"])
    header = ["features", "read out by", "measure", *map(_labels, counts)]
    rows = [
        [
            name,
            read_out,
            title,
            *(mean_and_spread(_pooled(of_seeds, read_out, each, measure)) for each in counts),
        ]
        for name, of_seeds in curves.items()
        for read_out in of_seeds[0]
        for measure, title in _MEASURES.items()
    ]
    supervised = study.variants[-1]
    dashes = [MISSING] * (len(counts) - 1)
    rows += [
        [_SUPERVISED, "its classifier", title, *dashes, study.cell(supervised, title)]
        for title in _MEASURES.values()
    ]
    return Table(header, rows)


def _figure(curves: Mapping[str, Sequence[Mapping]]):
    """Draws the accuracy of each read-out over the labels per class."""
    lines = {
        f"{name}, {read_out}": {
            "accuracy": [
                (float(count), _pooled(of_seeds, read_out, count, "accuracy"))
                for count in of_seeds[0][read_out]
                if count is not None
            ]
        }
        for name, of_seeds in curves.items()
        for read_out in of_seeds[0]
    }
    return plots.measures_along(lines, along="labels per class", bottom=None)


def _labels(count: int | None) -> str:
    return "all labels" if count is None else f"{count} per class"


def _pooled(of_seeds, read_out: str, count: int | None, measure: str) -> list[float]:
    """Gives a measure of all draws and seeds in percent."""
    readings = [getattr(curve[read_out][count], measure) for curve in of_seeds]
    return [100 * value for draws in readings for value in draws]


def _plain(of_seeds: Sequence[Mapping]) -> list:
    """Gives label curves as values for JSON."""
    return [
        {
            read_out: {_labels(count): dataclasses.asdict(each) for count, each in curve.items()}
            for read_out, curve in of_seed.items()
        }
        for of_seed in of_seeds
    ]


def _literature(ours: str) -> Table:
    header = ["method", "sees", "learns from", "Hit@1"]
    quoted = [
        [f"{name}, arXiv {number} (quoted)", sees, learns, NOT_READ if hit is None else hit]
        for name, number, sees, learns, hit in LABEL_FREE_LITERATURE
    ]
    own = ["label-free, real features (ours)", "boxes of people", "two views of each clip", ours]
    return Table(header, [*quoted, own])


def _notes() -> list[str]:
    return [
        "The test clips search the base clips by the cosine, of bits as by their Hamming distance. "
        f"16 to 128 bits are the first bits of one nested code; {_ONE_CODE}: those of the "
        "activity. Label-free rows see no label in training, and have none of the losses below; "
        "the accuracies that the JSON keeps of their runs are of untrained classifiers.",
        "Linear read-out: a logistic regression on the base clips, whose L2 they choose by "
        "cross-validation over their matches, judged on the test clips. The neighbours are the "
        f"{read_outs.NEIGHBOURS} nearest labelled clips, of which each votes with "
        f"exp(cosine / {read_outs.TEMPERATURE}).",
        f"Few labels are drawn {few_labels.DRAWS} times for each training seed, the same for all "
        "features; ± in the second table is the standard deviation over draws and seeds. With one "
        f"label per class L2 cannot be chosen, and is {read_outs.UNCHOSEN}.",
    ]


def _literature_notes() -> list[str]:
    return [
        "The third table does not compare like with like. Group-DINOmics sees pixels through "
        "DINOv3, and learns from the optical flow of people and the positions of the ball; GAFL "
        "sees pixels. Ours sees boxes alone. The figure quoted is from a summary of the paper, "
        "whose own table we could not read, nor which clips it searches; those of GAFL could not "
        "be read here and are left out.",
    ]
