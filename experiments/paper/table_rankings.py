"""What of a query is compared with the stored bits: its bits, what is before them, its class."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from experiments.linear_clips import ranked_variants
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant, mean_and_spread
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

TITLE = "Rankings of the same stored codes"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True

_FACTORS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
_COLUMNS = {
    "average_precision": "mAP@10",
    "hit": "Hit@1",
    "precision": "precision@10",
    "found": "ever found",
}
_BY_NAME = (10, 50)


def variants(setting: Setting) -> list[Variant]:
    """STVH; where clips show more than boxes, M-STVH with one code, which has a visual end."""
    return ranked_variants(setting)


def report(study: Study) -> Report:
    """One row per ranking, by activity and by match; the classes by their names."""
    found: dict[str, dict[str, list]] = {"activity": {}, "match": {}, "name": {}}
    for run in study.runs(study.variants[0]):
        for kind, of_run in judge_run(*study.open(run)).items():
            for name, quality in of_run.items():
                found[kind].setdefault(name, []).append(quality)
    tables = [
        Table(
            [f"ranking, by {kind}", *_COLUMNS.values()],
            [[name, *_cells(of_seeds)] for name, of_seeds in found[kind].items()],
        )
        for kind in ("activity", "match")
        if found[kind]
    ]
    tables.append(
        Table(
            ["activity, by its name", *(f"precision@{k}" for k in _BY_NAME)],
            [
                [name, *(mean_and_spread([100 * one[k] for one in of_seeds]) for k in _BY_NAME)]
                for name, of_seeds in found["name"].items()
            ],
        )
    )
    notes = [
        "h is what the network makes of the query before the signs, d the direction of its class "
        "(the classifier's columns, less their mean, by their probabilities), both of length one; "
        "the base has bits alone. Ever found: the share of the base that is among the ten of any "
        "query. Here one order of equals was drawn at random, in place of the expectation.",
        "By match the test clips search all clips but those near in time, at the visual end.",
    ]
    values = {
        kind: {
            name: [one if kind == "name" else dataclasses.asdict(one) for one in of_seeds]
            for name, of_seeds in rows.items()
        }
        for kind, rows in found.items()
    }
    return Report(tables, notes, {"": _figure(found["activity"])}, values=values)


def _cells(of_seeds) -> list[str]:
    return [
        mean_and_spread([100 * getattr(one, column) for one in of_seeds]) for column in _COLUMNS
    ]


def _figure(rows: Mapping[str, list]):
    """Draws what is gained by the class over what is ever found, as its factor grows."""
    curves: dict[str, dict[str, list]] = {}
    for name, of_seeds in rows.items():
        curve = "h + a d" if name.startswith("h") else name
        curve = "its code + a d of it" if name.startswith("code") else curve
        share = 100 * float(np.mean([one.found for one in of_seeds]))
        for measure in ("average_precision", "hit"):
            points = curves.setdefault(curve, {}).setdefault(_COLUMNS[measure], [])
            points.append((share, [100 * getattr(one, measure) for one in of_seeds]))
    return plots.measures_along(curves, along="ever found, % of the base", bottom=None)


def judge_run(encoder, dataset) -> dict[str, dict]:
    """Judges every ranking of one run: by activity, by match, and the classes by name."""
    from experiments.linear_clips import LinearClips
    from stvh_jax.evaluation.linear_rankings import judge_ranking

    clips = LinearClips.of(encoder, dataset)
    last = clips.activity.focus
    base = clips.base.codes[last]

    def same_activity(chunk: slice):
        return clips.queries.activity[chunk, None] == clips.base.activity[None]

    itself = _same_clip(clips)
    by_activity = {
        name: judge_ranking(clips.weights(make, clips.activity), base, same_activity,
                            left_out=itself)
        for name, make in _rankings(clips).items()
    }  # fmt: skip
    by_match = {}
    if clips.visual is not None:
        everything = clips.everything.codes[last]
        for name in ("Hamming", "h"):
            weights = clips.weights(_rankings(clips)[name], clips.visual)
            same, near = _same_match(clips)
            by_match[name] = judge_ranking(weights, everything, same, left_out=near)
    return {"activity": by_activity, "match": by_match, "name": _by_name(clips)}


def _rankings(clips) -> dict[str, Callable]:
    """Gives what makes a query of a clip's place, by the name of the ranking."""
    from stvh_jax import queries

    readout, last = clips.activity.readout, clips.activity.focus

    def code(place):
        return queries.from_codes(clips.codes_of(place))

    def h(place):
        return queries.from_clip(clips.relaxed_of(place))

    def toward(place):
        return queries.toward_class(readout.probabilities(clips.relaxed_of(place)[last]))

    def toward_of_code(place):
        return queries.toward_class_of(clips.codes_of(place))

    def with_class(factor):
        return lambda place: h(place) + factor * toward(place)

    def code_with_class(factor):
        return lambda place: code(place) + factor * toward_of_code(place)

    return {
        "Hamming": code,
        "h": h,
        **{f"h + {factor:g} d": with_class(factor) for factor in _FACTORS},
        **{f"code + {factor:g} d of the code": code_with_class(factor) for factor in _FACTORS},
        "d": toward,
    }


def _same_clip(clips):
    """Says which clips of the base are the query itself; None if the two have none in common."""
    names = [list(zip(each.match, each.clip)) for each in (clips.queries, clips.base)]
    if not set(names[0]) & set(names[1]):
        return None
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names[0] + names[1]))}
    own, others = (np.array([numbers[name] for name in each]) for each in names)
    return lambda chunk: own[chunk, None] == others[None]


def _same_match(clips):
    """Says which of all clips are of the query's match, and which of these are near in time."""
    from stvh_jax.evaluation.scale import WITHIN_FRAMES

    queries, everything = clips.queries, clips.everything

    def same(chunk: slice):
        return queries.match[chunk, None] == everything.match[None]

    def near(chunk: slice):
        apart = np.abs(queries.frame[chunk, None] - everything.frame[None])
        return same(chunk) & (apart < WITHIN_FRAMES)

    return same, near


def _by_name(clips) -> dict[str, dict[int, float]]:
    """Gives the precision of the first clips that each activity's name finds."""
    from stvh_jax.codes.packing import unpack
    from stvh_jax.queries import by_name

    space = clips.activity
    signs = unpack(clips.base.codes[space.focus])
    found = {}
    for label, activity in enumerate(space.readout.names):
        scores = signs @ (space.bit_weights * by_name(activity).direction(space))
        right = clips.base.activity[np.argsort(-scores, kind="stable")] == label
        found[activity] = {k: float(right[:k].mean()) for k in _BY_NAME}
    return found
