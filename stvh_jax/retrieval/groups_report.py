"""Groups of clips as a table for the console, and as JSON."""

from collections.abc import Mapping
from typing import Any

from stvh_jax.codes.grouping import NUMBERS
from stvh_jax.reporting import tables
from stvh_jax.retrieval.groups import Groups
from stvh_jax.retrieval.hits_report import without_empty
from stvh_jax.retrieval.index import Index
from stvh_jax.times import clock_tenths


def groups_table(groups: Groups, *, focus: str | float) -> str:
    """Lays groups of clips out as plain text."""
    chosen = ""
    if groups.silhouette is not None:
        chosen = (
            f", as many of {NUMBERS[0]} to {NUMBERS[-1]} as stand apart the most (silhouette "
            f"{groups.silhouette:.2f})"
        )
    heading = f"{_counted(len(groups), 'group')} of {_counted(groups.clips, 'clip')} at focus "
    header = ["group", "clips", "share", "bits away", "name", "nearest the middle", "others"]
    rows = [
        [
            str(group.number),
            str(len(group)),
            f"{100 * group.share:.1f} %",
            f"{group.distance:.1f}",
            group.name or "–",
            _clip_at(group.representative),
            ", ".join(map(_clip_at, group.others)) or "–",
        ]
        for group in groups
    ]
    return (
        f"{heading}{focus}{chosen}\n\n{tables.aligned(without_empty([header, *rows], ('name',)))}\n"
    )


def groups_to_dict(index: Index, groups: Groups, *, focus: str | float) -> dict[str, Any]:
    """Gives groups in plain values, for JSON."""
    return {
        "focus": focus,
        "clips": groups.clips,
        "index_version": index.version,
        "silhouette": groups.silhouette,
        "groups": [group.to_dict() for group in groups],
    }


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _clip_at(record: Mapping[str, Any]) -> str:
    """Names a clip, with when it is, where that is known."""
    clip, start = f"{record['match']}/{record['clip']}", record["start"]
    return clip if start is None else f"{clip} at {clock_tenths(start)}"
