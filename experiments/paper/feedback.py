"""Teaching a search by examples and counter-examples, with simulated users."""

import functools
from collections.abc import Callable

import numpy as np

from experiments.linear_clips import ranked_variants
from experiments.results import Report
from experiments.settings import Setting
from experiments.study import Study, Variant, mean_and_spread
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

TITLE = "Feedback, with simulated users"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True

_ROUNDS = 5
# The most test clips that are asked by; of more, every so many are taken.
_MOST_QUERIES = 400
# How much the mean of the liked and of the others counts in Rocchio's rule, usual and as large as
# was best on validation clips.
_ROCCHIO = {"Rocchio, 0.75 and 0.15": (0.75, 0.15), "Rocchio, 4 and 4": (4.0, 4.0)}
_FEEDBACK = "examples, by regression"


def variants(setting: Setting) -> list[Variant]:
    """The models whose rankings are compared in `table_rankings`."""
    return ranked_variants(setting)


def report(study: Study) -> Report:
    """A row per way of learning from labels, a column per round."""
    found: dict[str, dict[str, list]] = {}
    for run in study.runs(study.variants[0]):
        for name, of_run in judge_run(*study.open(run), seed=run.seed).items():
            for measure, rounds in of_run.items():
                found.setdefault(name, {}).setdefault(measure, []).append(rounds)
    rows = [
        [
            name,
            measure,
            *(mean_and_spread([100 * each[r] for each in seeds]) for r in range(_ROUNDS)),
        ]
        for name, measures in found.items()
        for measure, seeds in measures.items()
    ]
    notes = [
        "Each round the ten nearest that were not labelled yet are shown, judged and then "
        "labelled; round 0 is before any label. All start from the query's h and its class. In "
        '"ten at random" ten clips drawn from the whole base are labelled in place of the hits. '
        f"Up to {_MOST_QUERIES} test clips ask, evenly chosen; their labels are the answers.",
    ]
    curves = {
        name: {
            measure: [(r, [100 * each[r] for each in seeds]) for r in range(_ROUNDS)]
            for measure, seeds in measures.items()
        }
        for name, measures in found.items()
    }
    columns = ["learns from labels by", "of what is fresh", *(f"round {r}" for r in range(_ROUNDS))]
    figure = plots.measures_along(curves, along="round", bottom=None)
    return Report([Table(columns, rows)], notes, {"": figure}, values=found)


def judge_run(encoder, dataset, *, seed: int) -> dict[str, dict[str, list[float]]]:
    """Simulates the users of one run: by way of learning and measure, a share per round."""
    from experiments.linear_clips import LinearClips
    from stvh_jax.evaluation import feedback

    clips = LinearClips.of(encoder, dataset)
    base = clips.base.codes[clips.activity.focus]
    count = len(clips.queries)
    asking = np.linspace(0, count - 1, min(count, _MOST_QUERIES)).astype(int)
    asking = [place for place in asking if clips.queries.activity[place] >= 0]
    ways = {_FEEDBACK: _by_examples, **{
        name: functools.partial(_by_rocchio, shares=shares) for name, shares in _ROCCHIO.items()
    }}  # fmt: skip
    random = np.random.default_rng(seed)
    users = {name: (way, feedback.label_hits) for name, way in ways.items()}
    users["ten at random, by regression"] = (_by_examples, feedback.label_at_random(random))
    users["no label"] = (_by_nothing, feedback.label_hits)
    found = {}
    for name, (way, choose) in users.items():
        taught = [
            feedback.simulate(
                base,
                clips.base.activity == clips.queries.activity[place],
                way(clips, place, base),
                rounds=_ROUNDS,
                choose=choose,
            )
            for place in asking
        ]
        found[name] = {
            "Hit@1": np.mean([each.hit for each in taught], axis=0).tolist(),
            "precision@10": np.mean([each.precision for each in taught], axis=0).tolist(),
        }
    return found


def _start(clips, place: int):
    """Gives what a query asks for before anything is labelled: as searched if nothing is said."""
    from stvh_jax import queries
    from stvh_jax.retrieval.asking import CLASS

    relaxed = clips.relaxed_of(place)
    probabilities = clips.activity.readout.probabilities(relaxed[clips.activity.focus])
    return queries.from_clip(relaxed) + CLASS * queries.toward_class(probabilities)


def _by_nothing(clips, place: int, base) -> Callable:
    del base
    space, start = clips.activity, _start(clips, place)
    weights = space.bit_weights * start.direction(space)
    return lambda liked, not_liked: weights


def _by_examples(clips, place: int, base) -> Callable:
    from stvh_jax import queries

    space, start = clips.activity, _start(clips, place)

    def teach(liked, not_liked):
        query = start
        if liked or not_liked:
            codes = ({space.focus: base[places]} for places in (liked, not_liked))
            query = queries.like(next(codes), not_like=next(codes), prior=start)
        return space.bit_weights * query.direction(space)

    return teach


def _by_rocchio(clips, place: int, base, *, shares: tuple[float, float]) -> Callable:
    from stvh_jax.codes.packing import unpack

    space = clips.activity
    start = space.unit(_start(clips, place).direction(space))

    def teach(liked, not_liked):
        direction = start.copy()
        for places, share in ((liked, shares[0]), (not_liked, -shares[1])):
            if places:
                codes = unpack(base[places]).astype(np.float64)
                direction += share * np.mean([space.unit(code) for code in codes], axis=0)
        return space.bit_weights * direction

    return teach
