"""The hits of a search as a table for the console, and as JSON."""

from collections.abc import Sequence
from typing import Any

from stvh_jax.names import printable
from stvh_jax.reporting import tables
from stvh_jax.retrieval.asking import Asked
from stvh_jax.retrieval.hits import Hit, Hits
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import Moment
from stvh_jax.retrieval.record import GIVEN_NAME
from stvh_jax.times import clock_tenths


def hits_table(index: Index, asked: Asked, hits: Hits, *, focus: str | float) -> str:
    """Lays the hits out as plain text, with the distance at every focus and the bits that agree."""
    heading = (
        f"like {printable(asked.title)} at focus {focus}: {len(hits)} of {len(index)} clips, "
        f"ranked by {printable(asked.way)}"
    )
    if not len(hits):
        return f"{heading}\n"
    bits = index.info.bits
    header = ["rank", "bits away", "clip", "time", "name", "activity", "predicted", "media"]
    foci = [f"focus {each}" for each in index.foci]
    rows = [
        [
            str(rank),
            f"{hit.distance:.4g}",
            f"{hit.match}/{hit.clip}",
            _time(hit),
            _name(hit),
            hit.record["activity"] or "–",
            _prediction(hit),
            hit.record["media"] or "–",
            *(
                f"{hit.distances[each]:.4g}" if each in hit.distances else "–"
                for each in index.foci
            ),
            f"{len(hit.agreeing_bits)} of {bits}",
        ]
        for rank, hit in enumerate(hits, start=1)
    ]
    table = without_empty([[*header, *foci, "bits agree"], *rows], ("name", "media"))
    lines = [heading, "", tables.aligned(table)]
    shown = int((hits.distances == hits.distances[-1]).sum())
    if hits.ties_at_k > shown:
        lines += [
            "",
            f"{hits.ties_at_k} clips are {hits.distances[-1]:g} bits away; shown: the first "
            f"{shown}, by match and clip",
        ]
    return "\n".join(lines) + "\n"


def moments_table(
    index: Index, asked: Asked, moments: Sequence[Moment], *, focus: str | float
) -> str:
    """Lays moments out as plain text."""
    heading = (
        f"like {printable(asked.title)} at focus {focus}: {len(moments)} moments in {len(index)} "
        f"clips, ranked by {printable(asked.way)}"
    )
    if not moments:
        return f"{heading}\n"
    header = [
        "rank",
        "bits away",
        "match",
        "from",
        "to",
        "clips",
        "nearest",
        "name",
        "activity",
        "predicted",
    ]
    rows = [
        [
            str(rank),
            f"{moment.distance:.4g}",
            moment.match,
            *("–" if time is None else clock_tenths(time) for time in (moment.start, moment.stop)),
            str(len(moment.hits)),
            moment.best.clip,
            _name(moment.best),
            moment.best.record["activity"] or "–",
            _prediction(moment.best),
        ]
        for rank, moment in enumerate(moments, start=1)
    ]
    return f"{heading}\n\n{tables.aligned(without_empty([header, *rows], ('name',)))}\n"


def hit_line(hit: Hit) -> str:
    """Says in a line which clip was found."""
    start = hit.record["start"]
    cells = [
        f"{hit.distance:.4g} bits away",
        f"{hit.match}/{hit.clip}",
        "" if start is None else f"at {clock_tenths(start)}",
        _prediction(hit) if hit.record["predicted"] else "",
    ]
    return printable("  ".join(cell for cell in cells if cell))


def hits_to_dict(
    index: Index,
    asked: Asked,
    hits: Hits,
    *,
    focus: str | float,
    moments: Sequence[Moment] | None = None,
) -> dict[str, Any]:
    """Gives the query, its hits, and the moments that they make, in plain values, for JSON."""
    joined = [{"rank": rank, **moment.to_dict()} for rank, moment in enumerate(moments or (), 1)]
    return ({} if moments is None else {"moments": joined}) | {
        "query": [] if asked.clips is None else asked.clips.records,
        "title": asked.title,
        "ranking": asked.way,
        "focus": focus,
        "bits": index.info.bits,
        "clips": len(index),
        "index_version": index.version,
        "ties_at_k": hits.ties_at_k,
        "hits": [{"rank": rank, **hit.to_dict()} for rank, hit in enumerate(hits, start=1)],
    }


def without_empty(table: list[list[str]], columns: Sequence[str]) -> list[list[str]]:
    """Gives a table as it is printed, without those of some columns that say nothing."""
    header, *rows = table
    empty = {
        place
        for place, name in enumerate(header)
        if name in columns and all(row[place] == "–" for row in rows)
    }
    return [
        [printable(cell) for place, cell in enumerate(row) if place not in empty] for row in table
    ]


def _name(hit: Hit) -> str:
    return str(hit.record.get(GIVEN_NAME) or "–")


def _time(hit: Hit) -> str:
    start, stop = hit.record["start"], hit.record["stop"]
    return "–" if start is None or stop is None else f"{clock_tenths(start)}–{clock_tenths(stop)}"


def _prediction(hit: Hit) -> str:
    if hit.record["predicted"] is None:
        return "–"
    confidence = hit.record["confidence"]
    share = "" if confidence is None else f" {100 * confidence:.0f} %"
    return f"{hit.record['predicted']}{share}"
