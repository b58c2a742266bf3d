"""What the paper claims of its tables and figures, and whether ours show it.

The words of a claim are the paper's in short; whether ours show it is decided from the JSON of each
experiment by rules that are the same for all data.
"""

import dataclasses
import importlib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence

from experiments.differences import Difference
from experiments.settings import SETTINGS
from experiments.study import StoredStudy

_HEADING = """## What the paper claims, and what ours show

A difference counts as shown, or as the opposite, if 0 is outside every interval that there is. One
is the paired bootstrap over the queries: 10 000 times, the same queries are drawn anew for both
models, and the interval holds the middle 95 % of the mean differences. The other, where there are
several seeds, is the 95 % t interval over the seeds. Where there is one seed and the values of each
query were not kept, there is no interval, and nothing is decided, however large the difference.
"""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
      title: the heading: the table or figure, and what is claimed.
      paper: what the paper says of it.
      experiment: whose results decide.
      judge: says in a sentence or two what a result shows.
    """

    title: str
    paper: str
    experiment: str
    judge: Callable[[Mapping], str]


def section(everything: Mapping[str, Sequence[Mapping]]) -> list[str]:
    """Goes through all claims, data by data.

    Args:
      everything: the JSON of all results, by the name of their data.

    Returns:
      The parts of the section.
    """
    parts = [_HEADING]
    for claim in CLAIMS:
        lines = [f"### {claim.title}\n", f"The paper: {claim.paper}\n"]
        results = [one for found in everything.values() for one in found]
        said = [line for one in results for line in said_of(one, [claim])]
        lines += said or ["- Not measured."]
        parts.append("\n".join(lines) + "\n")
    return parts


def said_of(found: Mapping, claims: Sequence[Claim] | None = None) -> list[str]:
    """Says what one result shows of each claim that is about it, as lines of a list.

    Args:
      found: the JSON of the result.
      claims: the claims; `CLAIMS` if None.
    """
    return [
        f"- {_where(found)}: {claim.judge(found)}"
        for claim in (CLAIMS if claims is None else claims)
        if claim.experiment == found["experiment"]
    ]


def _where(found: Mapping) -> str:
    seeds = len(found["seeds"])
    about = found["about"]
    return f"{about[0].upper()}{about[1:]} ({'one seed' if seeds == 1 else f'{seeds} seeds'})"


def _by_difference(found: Mapping) -> str:
    """Judges a claim that the first form of every pair is better."""
    differences = [one for one in (Difference(**stored) for stored in _pairs(found)) if one.by_seed]
    if not differences:
        return "not measured."
    by_pair: dict[str, list[str]] = {}
    for one in differences:
        verdict = _VERDICTS[one.sign] if one.is_bounded else "no interval"
        pair = by_pair.setdefault(f"{one.more} less {one.less}", [])
        pair.append(f"{one.metric} {one.mean:+.1f} ({verdict})")
    said = "; ".join(f"{pair}: {', '.join(words)}" for pair, words in by_pair.items())
    return f"{_summary(differences)} {said}."


_VERDICTS = {1: "shown", -1: "the opposite", 0: "not decided"}


def _summary(differences: Sequence[Difference]) -> str:
    signs = [one.sign for one in differences if one.is_bounded]
    ahead = sum(one.mean > 0 for one in differences)
    if not signs:
        return (
            f"No interval can be computed: one seed, and no values of each query. {ahead} of the "
            f"{len(differences)} differences have the sign of the claim."
        )
    if all(sign > 0 for sign in signs):
        return "Shown."
    counts = [f"{signs.count(sign)} {word}" for sign, word in _VERDICTS.items() if sign in signs]
    return f"Not shown as a whole: of {len(signs)} differences, {', '.join(counts)}."


def _pairs(found: Mapping) -> list[Mapping]:
    """Gives the differences between the pairs that a claim is about, not those of other rows."""
    module = importlib.import_module(f"experiments.paper.{found['experiment']}")
    setting = SETTINGS[found["data"]]
    study = StoredStudy.of(module, setting, found["seeds"], stored=found)
    wanted = {(more.label, less.label) for more, less in module.pairs(study)}
    return [one for one in found["differences"] if (one["more"], one["less"]) in wanted]


# From which share of a whole change one layer alone makes it a step.
_STEP = 0.8
# In points of mAP@10, what the activity has to gain from the first focus to the last.
_RISE = 5.0


def _by_focus(found: Mapping) -> str:
    """Judges whether the foci are a scale from visual to activity, or a step."""
    runs = found["runs"][0]["seeds"]
    foci = sorted(runs[0]["foci"], key=int)
    activity, match = (
        [100 * statistics.fmean(run["foci"][focus][name] for run in runs) for focus in foci]
        for name in ("activity_map@10", "match_map@10")
    )
    text = (
        f"mAP@10 for the activity at the foci {foci[0]} to {foci[-1]} is {_listed(activity)}, for "
        f"the match {_listed(match)}"
    )
    if activity[-1] - activity[0] < _RISE:
        return f"No scale: focus 0 already finds the activity as the last one does. {text}."
    shares = [_first_share(values) for values in (activity, match)]
    text += (
        f"; the first layer makes {_percent(shares[0])} of the whole rise and "
        f"{_percent(shares[1])} of the whole fall."
    )
    if min(shares) >= _STEP:
        return f"A step from visual to activity at the first layer, not a scale. {text}"
    return f"More a scale than a step. {text}"


def _first_share(values: Sequence[float]) -> float:
    """Gives the share of the change from the first to the last that the first layer makes."""
    change = values[-1] - values[0]
    return (values[1] - values[0]) / change if change else 0.0


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _by_nearest(found: Mapping) -> str:
    """Counts the queries whose nearest clip is of the same match or activity, by focus."""
    table = found["tables"][0]
    columns = list(zip(*table["rows"]))[1:]
    counts = [
        f"{name}: match {sum('= match' in cell for cell in cells)}, "
        f"activity {sum(cell.startswith('✓') for cell in cells)}"
        for name, cells in zip(table["header"][1:], columns)
    ]
    return (
        f"Of {len(table['rows'])} queries, the nearest clip shares with the query at "
        f"{'; '.join(counts)}. So few pictures show what the codes do, but prove nothing; Fig. 10 "
        "counts all clips."
    )


def _by_evenness(found: Mapping) -> str:
    """Compares how even the attention of the first layer and of the last is."""
    table = found["tables"][0]
    layers = sorted({int(row[1]) for row in table["rows"]})
    frames, actors = (
        [statistics.fmean(float(row[place]) for row in table["rows"] if int(row[1]) == layer)
         for layer in layers]
        for place in (2, 3)
    )  # fmt: skip
    widens = frames[-1] - frames[0] > 0.05
    narrows = actors[0] - actors[-1] > 0.05
    by_layer = [", ".join(f"{value:.2f}" for value in values) for values in (frames, actors)]
    return (
        f"{'O-MFAT widens' if widens else 'O-MFAT does not widen'}: its evenness over the frames "
        f"at the layers {layers[0]} to {layers[-1]} is {by_layer[0]}. "
        f"{'G-MFAT narrows' if narrows else 'G-MFAT does not narrow'}: over the actors it is "
        f"{by_layer[1]}. Two clips of one model."
    )


# The pairs of activities that the paper names as alike, and as unlike.
_ALIKE = (("r_set", "r_spike"), ("r_set", "r_pass"), ("r_spike", "r_pass"))
_UNLIKE = ("r_set", "l_winpoint")


def _by_distance(found: Mapping) -> str:
    """Compares the distances between activities that the paper names."""
    table = found["tables"][0]
    names = table["header"][1:]
    distances = {
        (row[0], name): float(cell)
        for row in table["rows"]
        for name, cell in zip(names, row[1:])
        if re.fullmatch(r"[\d.]+", cell)
    }
    mirrored = [(f"r_{kind}", f"l_{kind}") for kind in ("set", "spike", "pass", "winpoint")]
    if not {*_ALIKE, _UNLIKE, *mirrored} <= distances.keys():
        return "these data do not have the activities that the paper names."
    alike = [distances[pair] for pair in _ALIKE]
    unlike = distances[_UNLIKE]
    nearer = sum(one < unlike for one in alike)
    within = statistics.fmean(value for (one, other), value in distances.items() if one == other)
    between = statistics.fmean(value for (one, other), value in distances.items() if one != other)
    return (
        f"{'Shown' if nearer == len(alike) else 'Not shown as printed'}: the three pairs named as "
        f"alike are {_listed(alike)} bits apart, the pair named as unlike {unlike:.1f}. Clips of "
        f"one activity are {within:.1f} apart, of two {between:.1f}, of an activity and its mirror "
        f"image {statistics.fmean(distances[pair] for pair in mirrored):.1f}."
    )


CLAIMS = (
    Claim(
        "Table 3: M-STVH against STVH",
        "STVH retrieves better at every length, says the text; in the table for Volleyball, "
        "M-STVH has the higher mAP@10 and accuracy at 16, 32 and 64 bits. Judged here: M-STVH is "
        "the better one.",
        "table3",
        _by_difference,
    ),
    Claim(
        "Table 4: the same on Collective Activity",
        "STVH retrieves better at every length, in text and table. Judged as for Table 3.",
        "table4",
        _by_difference,
    ),
    Claim(
        "Table 5: the MSF module against transformer blocks",
        "M-STVH is better than both forms with standard blocks, in accuracy and mAP@10.",
        "table5",
        _by_difference,
    ),
    Claim(
        "Table 6: how many layers",
        "three layers are best on Volleyball, four on Collective Activity and its extended set.",
        "table6",
        _by_difference,
    ),
    Claim(
        "Table 7: the losses",
        "each loss helps; with all of them accuracy and mAP@10 are best.",
        "table7",
        _by_difference,
    ),
    Claim(
        "Fig. 1: interleaving against plain fusion and a global video hash",
        "both are worse than STVH (no numbers are given).",
        "fig1",
        _by_difference,
    ),
    Claim(
        "Fig. 9: from the same match to the same activity",
        "the nearest clip changes from one of the same looks to one of the same activity with "
        "every layer.",
        "fig9",
        _by_nearest,
    ),
    Claim(
        "Fig. 10: the foci are a scale",
        "with every layer the retrieval of activities improves and that of matches declines.",
        "fig10",
        _by_focus,
    ),
    Claim(
        "Fig. 11: attention by layer",
        "O-MFAT widens from few frames to all; on Volleyball, G-MFAT narrows to the key people.",
        "fig11",
        _by_evenness,
    ),
    Claim(
        "Fig. 12: distances between activities",
        "activities that are alike (r_set, r_spike, r_pass) have nearer codes than activities that "
        "are not (r_set, l_winpoint).",
        "fig12",
        _by_distance,
    ),
)
