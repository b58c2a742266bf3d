"""Two sets of labels, which the paper does not compare: trained on each and judged by both."""

from collections.abc import Mapping

import numpy as np

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant, mean_and_spread
from experiments.trained_run import TrainedRun
from stvh_jax.reporting.tables import Table

TITLE = "Labels: the original ones and the corrected ones"
NEEDS_CORRECTED_LABELS = True
# The models themselves are needed: each is judged by labels that it was not trained on.
NEEDS_RUNS = True

_AGREED = "accuracy where both agree"
_COLUMNS = (
    "accuracy, original",
    "mAP@10, original",
    "accuracy, corrected",
    "mAP@10, corrected",
    _AGREED,
)


def variants(setting: Setting) -> list[Variant]:
    """STVH trained on each of the two; none on data with one set of labels."""
    if not setting.corrected:
        return []
    return [
        Variant(f"STVH, {labels}", {"model.name": "stvh", "data.variant": variant})
        for labels, variant in _prepared(setting).items()
    ]


def _prepared(setting: Setting) -> dict[str, str]:
    """Gives the prepared variant of the data with each of the labels."""
    return {"original": setting.build_config().data.variant, "corrected": setting.corrected}


def report(study: Study) -> Report:
    """One row per labels trained on, one column per labels judged by."""
    judged = {
        variant.label: [judge(study, run, _prepared(study.setting)) for run in study.runs(variant)]
        for variant in study.variants
    }
    rows = [
        [label, *(mean_and_spread([one[column] for one in of_seeds]) for column in _COLUMNS)]
        for label, of_seeds in judged.items()
    ]
    # Which clips there are depends on the labels alone.
    counts = next(iter(judged.values()))[0]
    left_out = counts["clips, original"] - counts["clips, corrected"]
    notes = [
        "A row is the labels trained on; a column is the labels that the test clips, and the clips "
        "searched, are judged by.",
        f"Both agree on the activity of {counts['clips where both agree']} test clips. The "
        f"corrected labels leave out {left_out} test clips, which count only where the original "
        "labels judge.",
    ]
    return Report([Table(["trained on", *_COLUMNS], rows)], notes)


def judge(study: Study, run: TrainedRun, prepared: Mapping[str, str]) -> dict[str, float]:
    """Judges a run by each set of labels, in percent.

    Args:
      study: the study of the run.
      run: a trained run.
      prepared: the prepared variant of each set of labels.

    Returns:
      The values of the columns, and the numbers of test clips: of each set of labels, and of those
      whose activity is the same in all sets.
    """
    from stvh_jax.evaluation.judging import measures, rank
    from stvh_jax.inference.encoded_clips import at_every_focus, check_same_classes, encode_split

    found, right, known = {}, {}, []
    for labels, variant in prepared.items():
        encoder, dataset = study.open(run, variant)
        check_same_classes(encoder, dataset)
        splits = run.config.data.test_split, run.config.data.train_split
        queries, base = (
            at_every_focus(encoder, encode_split(encoder, dataset, split)) for split in splits
        )
        correct = queries.activity_scores.argmax(axis=1) == queries.activity
        foci = measures(rank(queries, base, queries))
        found[f"clips, {labels}"] = len(queries)
        found[f"accuracy, {labels}"] = 100 * float(correct.mean())
        found[f"mAP@10, {labels}"] = 100 * foci[str(encoder.foci[-1])]["activity_map@10"]
        names = list(zip(queries.match.tolist(), queries.clip.tolist()))
        right |= dict(zip(names, correct.tolist()))
        known.append(set(zip(names, queries.activity.tolist())))
    agreed = [name for name, _ in set.intersection(*known)]
    found[_AGREED] = 100 * float(np.mean([right[name] for name in agreed]))
    return found | {"clips where both agree": len(agreed)}
