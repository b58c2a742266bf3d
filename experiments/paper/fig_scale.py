"""Retrieval along the scale from visual to activity, by several codes, beyond the paper."""

import dataclasses
import functools
from collections.abc import Mapping

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant, mean_and_spread
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

TITLE = "The scale from visual to activity"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True

_GRADED, _PRINTED = "one graded code", "a code for each focus"
_MEASURES = ("activity", "match", "both")


def variants(setting: Setting) -> list[Variant]:
    """M-STVH with one code for all foci, and with one for each."""
    del setting
    return [
        Variant(_GRADED, {"model.name": "mstvh", "model.objective": "graded"}),
        Variant(_PRINTED, {"model.name": "mstvh", "model.objective": "printed"}),
    ]


def report(study: Study) -> Report:
    """One row per code and place of the scale."""
    graded, printed = study.variants
    found: dict[str, list[dict]] = {}
    for variant, judge in ((graded, judge_graded), (printed, judge_printed)):
        for run in study.runs(variant):
            encoder, dataset = study.open(run)
            for name, places in judge(encoder, dataset, seed=run.seed).items():
                found.setdefault(name, []).append(places)
    rows = [
        [name, f"{place:.2f}", *(_cell(of_seeds, place, measure) for measure in _MEASURES)]
        for name, of_seeds in found.items()
        for place in of_seeds[0]
    ]
    from stvh_jax.evaluation import scale

    notes = [
        "Place: 0 visual, 1 activity. Activity: mAP@10 of the test clips that search the base. "
        f"Match: mAP@10 of the test clips that search all clips but those fewer than "
        f"{scale.WITHIN_FRAMES} frames away. Both: how many of the ten nearest of these have the "
        "query's activity and its match.",
        '"Adapted" is fitted to the archive, which is all clips, without labels.',
    ]
    curves = {
        name: {
            measure: [
                (place, [100 * getattr(of_seed[place], measure) for of_seed in of_seeds])
                for place in of_seeds[0]
            ]
            for measure in _MEASURES
        }
        for name, of_seeds in found.items()
    }
    values = {
        name: [
            {str(place): dataclasses.asdict(each) for place, each in of_seed.items()}
            for of_seed in of_seeds
        ]
        for name, of_seeds in found.items()
    }
    columns = ["code", "place", "activity mAP@10", "match mAP@10", "both, of ten"]
    figure = plots.measures_along(curves, along="visual to activity")
    return Report([Table(columns, rows)], notes, {"": figure}, values=values)


def _cell(of_seeds, place: float, measure: str) -> str:
    return mean_and_spread([100 * getattr(of_seed[place], measure) for of_seed in of_seeds])


def _encode(encoder, dataset):
    """Encodes the test clips, those searched by activity, and all."""
    from stvh_jax.inference.encoded_clips import EncodedClips, encode_split, join

    parts = {split: encode_split(encoder, dataset, split) for split in dataset.splits}
    data = encoder.config.data
    everything = EncodedClips.concatenate(list(parts.values()))
    return join(parts, data.test_split), join(parts, data.train_split), everything


def judge_graded(encoder, dataset, *, seed: int) -> Mapping[str, Mapping]:
    """Judges one graded code, as it was trained and adapted to all clips."""
    from stvh_jax.codes.visual_maps import fit_adaptation
    from stvh_jax.evaluation import scale

    del seed  # nothing is drawn
    clips = _encode(encoder, dataset)
    visual_bits = encoder.config.model.visual_bits
    adapted = encoder.adapted(fit_adaptation(clips[2].embedded, visual_bits))
    found = {}
    for name, model in (("", encoder), (", adapted", adapted)):
        of_model = clips if model is encoder else _encode(model, dataset)
        codes = tuple(part.codes[model.foci[-1]] for part in of_model)
        along = scale.spread_along_scale(codes, bits=model.bits, visual_bits=visual_bits)
        found[f"{_GRADED}{name}, {model.bits} bits"] = scale.judge_places(along, *clips)
    return found


def judge_printed(encoder, dataset, *, seed: int) -> Mapping[str, Mapping]:
    """Judges the codes of each focus, those that F derives, and blends of the first and last."""
    from stvh_jax.codes.filter_fitting import fit
    from stvh_jax.evaluation import derived_codes, scale

    clips = _encode(encoder, dataset)
    first, last, bits = encoder.foci[0], encoder.foci[-1], encoder.bits
    matrix = fit(clips[1].codes, seed=seed)
    derived = [derived_codes.derive_all(matrix, part.codes) for part in clips]
    own = {focus / last: _of(focus, [part.codes for part in clips]) for focus in encoder.foci}
    by_matrix = {focus / last: _of(focus, derived) for focus in derived[0]}
    by_matrix[1.0] = own[1.0]  # the stored code itself
    both = scale.join_codes(own[1.0], own[first / last])
    blends = scale.spread_along_scale(both, bits=2 * bits, visual_bits=bits)
    queries, base, everything = clips
    judge = functools.partial(scale.judge_places, queries=queries, base=base, everything=everything)
    return {
        f"{_PRINTED}, {len(encoder.foci) * bits} bits": judge(own),
        f"derived by F from the last, {bits} bits and F": judge(by_matrix),
        f"blends of the first and the last, {2 * bits} bits": judge(blends),
    }


def _of(focus: int, codes) -> tuple:
    return tuple(by_focus[focus] for by_focus in codes)
