"""How values of the results are written: numbers, names, the line that says what was run."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

MISSING = "–"

# The accuracies by the name that the reader sees.
ACCURACIES = {
    "activity accuracy": "activity_accuracy",
    "activity MPCA": "activity_mpca",
    "activity accuracy from the code": "activity_accuracy_from_code",
    "action accuracy": "action_accuracy",
    "action MPCA": "action_mpca",
}


def is_missing(value: Any) -> bool:
    """Whether there is no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text(value: Any) -> str:
    """Writes a value, or a dash."""
    return MISSING if is_missing(value) else str(value)


def number(key: str, value: float | None) -> str:
    """Writes the measure of this name in percent, except for the few that are not shares."""
    if value is None or is_missing(value):
        return MISSING
    if key.endswith("distinct_codes"):
        return f"{value:.0f}"
    return f"{value:.3f}" if key.endswith("bit_balance") else f"{100 * value:.2f}"


def percent(value: float | None) -> str:
    """Writes a share in percent."""
    return number("", value)


def subtitle(results: Mapping[str, Any]) -> str:
    """Says in one line which model was evaluated on which clips."""
    data, checkpoint = results.get("data") or {}, results.get("checkpoint") or {}
    boxes = f"{percent(data.get('untracked_share'))} % of the queries' actors without a track"
    if data.get("still_boxes"):
        boxes = "every actor with the still box of the key frame"
    labels = f" with {data['labels']} labels" if data.get("labels") else ""
    return (
        f"{text(results.get('run'))}: {text(results.get('model'))}, "
        f"{text(results.get('bits'))} bits, {text(results.get('layers'))} layers, "
        f"{text(checkpoint.get('kind'))} checkpoint of step {text(checkpoint.get('step'))}; "
        f"{text(data.get('name'))}{labels}, {text(data.get('query_clips'))} "
        f"{text(data.get('query_split'))} clips searched in {text(data.get('base_clips'))} "
        f"{text(data.get('base_split'))} clips; {boxes}"
    )


def notes(results: Mapping[str, Any]) -> list[str]:
    """Says, a line each, what was not judged, and why."""
    lines = []
    if results.get("objective") == "label_free":
        lines.append("trained without labels: it names no activities, and has no accuracies")
    curves = (results.get("curves") or {}).values()
    if curves and not any(kinds["activity"]["n"] for kinds in curves):
        lines.append(
            "no query has a label that another clip has: judged by the match of each clip, and by "
            "how well the bits are used"
        )
    return lines


def measures_by_focus(results: Mapping[str, Any], codes: str = "foci") -> dict[str, Mapping]:
    """Gives the measures of each focus in order, by a label that names the first and the last.

    Args:
      results: the results of an evaluation.
      codes: `foci` for the network's own codes, or `derived`.
    """
    foci: Mapping[str, Any] = results.get(codes) or {}
    return {label: foci[focus] or {} for focus, label in labels_of_foci(results, foci).items()}


def labels_of_foci(results: Mapping[str, Any], foci: Iterable[str]) -> dict[str, str]:
    """Labels some foci, in order: numbers, of which the first and the last are named."""
    ends = {"0": "0 visual", str(results.get("layers")): f"{results.get('layers')} activity"}
    return {focus: ends.get(focus, focus) for focus in sorted(foci, key=int)}
