"""The tables of an evaluation's report, and all of them as plain text."""

from collections.abc import Mapping
from typing import Any

from stvh_jax.evaluation.report.words import (
    ACCURACIES,
    labels_of_foci,
    measures_by_focus,
    notes,
    number,
    percent,
    subtitle,
    text,
)
from stvh_jax.fields import flatten
from stvh_jax.reporting.tables import Table, aligned

_COLUMNS = {
    "activity mAP@5": "activity_map@5",
    "mAP@10": "activity_map@10",
    "mAP@20": "activity_map@20",
    "mAP@50": "activity_map@50",
    "match mAP@10": "match_map@10",
    "bit balance": "bit_balance",
    "distinct codes": "distinct_codes",
}

# Each column of the table of derived codes: its heading, whose codes it is about, the measure.
_DERIVED_COLUMNS = (
    ("activity mAP@10", "foci", "activity_map@10"),
    ("derived", "derived", "activity_map@10"),
    ("match mAP@10", "foci", "match_map@10"),
    ("derived", "derived", "match_map@10"),
    ("equal bits, queries", "derived", "bit_agreement_query"),
)


def metrics_table(results: Mapping[str, Any]) -> str:
    """Lays the results out as plain text: the accuracies, then one row per focus.

    In place of the accuracies of a model that names no activities, a line says so. If the results
    have a filter matrix, two more tables show how its derived codes do and what storing them takes.
    Accuracies, agreement and mAP are in percent.
    """
    accuracies = [[name, f"{number(key, results.get(key))} %"] for name, key in ACCURACIES.items()]
    foci = [
        [label, *(number(key, values.get(key)) for key in _COLUMNS.values())]
        for label, values in measures_by_focus(results).items()
    ]
    parts = [subtitle(results), *notes(results)]
    if results.get("objective") != "label_free":
        parts.append(aligned(accuracies))
    if foci:
        parts.append(aligned([["focus (mAP in %)", *_COLUMNS], *foci]))
    tables = (derived_table(results), storage_table(results))
    parts += [aligned([table.header, *table.rows]) for table in tables if table.rows]
    return "\n\n".join(parts) + "\n"


def derived_table(results: Mapping[str, Any]) -> Table:
    """Compares the derived codes with the network's own: activity, match, equal bits."""
    tables = {codes: measures_by_focus(results, codes) for codes in ("foci", "derived")}
    rows = [
        [
            focus,
            *(
                number(key, tables[codes].get(focus, {}).get(key))
                for _, codes, key in _DERIVED_COLUMNS
            ),
        ]
        for focus in tables["derived"]
    ]
    return Table(["focus (in %)", *(heading for heading, _, _ in _DERIVED_COLUMNS)], rows)


def storage_table(results: Mapping[str, Any]) -> Table:
    """Shows what storing the codes of the base set takes, with and without the filter matrix."""
    rows = [
        [
            way["name"],
            str(way["bits_a_clip"]),
            str(way["matrix_bits"]),
            str(way["bits"]),
            f"{way['compression_ratio']:.4f}",
        ]
        for way in results.get("storage") or []
    ]
    return Table(["stored", "bits a clip", "bits of F", "bits of all", "ratio (Eq. 18)"], rows)


def activities_table(results: Mapping[str, Any]) -> Table:
    """Shows the mAP of the full ranking for the queries of each activity, one column per focus."""
    by_focus = results.get("map_by_activity") or {}
    labels = labels_of_foci(results, by_focus)
    rows = [
        [activity, *(percent(by_focus[focus][place]) for focus in labels)]
        for place, activity in enumerate(results.get("activity_names") or [])
        if by_focus
    ]
    return Table(["mAP in % of the queries of", *(f"focus {x}" for x in labels.values())], rows)


def measures_table(heading: str, foci: Mapping[str, Mapping]) -> Table:
    """Lists every measure, one column per focus."""
    keys = dict.fromkeys(key for values in foci.values() for key in values)
    rows = [[key, *(number(key, values.get(key)) for values in foci.values())] for key in keys]
    return Table([heading, *foci], rows)


def facts_table(values: Mapping[str, Any]) -> Table:
    """Lists nested values by their dotted names."""
    return Table([], [[name, text(value)] for name, value in flatten(values).items()])
