"""What a focus of one stored code can be: weights of its bits, some of them, or a derived code."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant, mean_and_spread
from stvh_jax.reporting.tables import Table

TITLE = "What a focus of one stored code is"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_MEASURES = {"activity": "activity mAP@10", "match": "match mAP@10", "both": "both, of ten"}


def variants(setting: Setting) -> list[Variant]:
    """M-STVH with one code for all foci."""
    del setting
    return [Variant("one graded code", {"model.name": "mstvh", "model.objective": "graded"})]


def report(study: Study) -> Report:
    """One row per form and measure, a column per place of the scale."""
    found: dict[str, list[Mapping]] = {}
    for run in study.runs(study.variants[0]):
        encoder, dataset = study.open(run)
        for name, places in judge_forms(encoder, dataset, seed=run.seed).items():
            found.setdefault(name, []).append(places)
    rows = [
        [
            name,
            title,
            *(
                mean_and_spread([100 * getattr(places[place], measure) for places in of_seeds])
                for place in PLACES
            ),
        ]
        for name, of_seeds in found.items()
        for measure, title in _MEASURES.items()
    ]
    notes = [
        "All forms store one code of as many bits, and are fitted to what the trained model makes "
        "of its training clips. Place: 0 visual, 1 activity. The measures are those of fig_scale.",
        "A form whose visual bits stand by themselves can also be adapted to an archive.",
    ]
    values = {
        name: [
            {str(place): dataclasses.asdict(each) for place, each in places.items()}
            for places in of_seeds
        ]
        for name, of_seeds in found.items()
    }
    columns = ["a focus is", "measure", *(f"place {place:g}" for place in PLACES)]
    return Report([Table(columns, rows)], notes, values=values)


def judge_forms(encoder, dataset, *, seed: int) -> dict[str, dict]:
    """Fits every form to the training clips of a graded model, and judges it along the scale."""
    from experiments import scale_forms
    from stvh_jax.evaluation import scale
    from stvh_jax.inference.encoded_clips import EncodedClips, encode_split, join

    encoded = {split: encode_split(encoder, dataset, split) for split in dataset.splits}
    data = encoder.config.data
    clips = {
        "queries": join(encoded, data.test_split),
        "base": join(encoded, data.train_split),
        "everything": EncodedClips.concatenate(list(encoded.values())),
    }
    of_split = {split: parts_of(encoder, dataset, split) for split in dataset.splits}
    parts = {
        "queries": joined(of_split, data.test_split.split("+")),
        "base": joined(of_split, data.train_split.split("+")),
        "everything": joined(of_split, dataset.splits),
    }
    parts = scale_forms.scaled(parts, "base")
    base = clips["base"]
    forms = scale_forms.fit_all(
        parts["base"],
        base.activity,
        np.unique(base.match, return_inverse=True)[1],
        layers=encoder.foci[-1],
        seed=seed,
    )
    return {
        name: scale.judge_places(
            {place: tuple(form.codes(each, place) for each in parts.values()) for place in PLACES},
            **clips,
        )
        for name, form in forms.items()
    }


def parts_of(encoder, dataset, split: str):
    """Gives what a graded model makes of the clips of a split."""
    import jax

    from experiments.scale_forms import Parts

    found = []
    size = encoder.config.train.evaluation_batch_size
    for batch in dataset.evaluation_batches(split, batch_size=size):
        outputs = jax.device_get(encoder.apply(encoder.variables, batch))
        present = np.asarray(batch.clip_mask)
        arrays = outputs.relaxed[-1], outputs.embedded, outputs.visual
        found.append([array[present] for array in arrays])
    return Parts(*map(np.concatenate, zip(*found)))


def joined(parts: Mapping, splits):
    """Joins the parts of several splits."""
    from experiments.scale_forms import Parts

    arrays = [dataclasses.astuple(parts[split]) for split in splits]
    return Parts(*map(np.concatenate, zip(*arrays)))
