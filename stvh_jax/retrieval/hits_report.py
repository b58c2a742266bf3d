"""The hits of a search as a table for the console, as JSON, and as a picture grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.names import printable
from stvh_jax.reporting import pages, tables
from stvh_jax.retrieval.asking import Asked
from stvh_jax.retrieval.hits import Hit, Hits, check_output
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import Moment
from stvh_jax.times import clock

# How a grid is written, by the ending of the file.
GRIDS = (".png", ".svg")

# The most hits that a grid shows: the pictures of more would be too small.
_MOST_PICTURES = 20

Image = UInt8[np.ndarray, "H W 3"]

# Gives the key frames of some clips of a split, by the prepared set's own (match, clip).
KeyFrames = Callable[[str, set[tuple]], dict[tuple, Image]]


def hits_table(index: Index, asked: Asked, hits: Hits, *, focus: str | float) -> str:
    """Lays the hits out as plain text, with the distance at every focus and the bits that agree."""
    heading = (
        f"like {printable(asked.title)} at focus {focus}: {len(hits)} of {len(index)} clips, "
        f"ranked by {printable(asked.way)}"
    )
    if not len(hits):
        return f"{heading}\n"
    bits = index.info.bits
    header = ["rank", "bits away", "clip", "seconds", "activity", "predicted", "media"]
    foci = [f"focus {each}" for each in index.foci]
    rows = [
        [
            str(rank),
            f"{hit.distance:.4g}",
            f"{hit.match}/{hit.clip}",
            _seconds(hit),
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
    table = [[*header, *foci, "bits agree"], *rows]
    media = header.index("media")
    if all(row[media] == "–" for row in rows):
        table = [[*row[:media], *row[media + 1 :]] for row in table]
    table = [[printable(cell) for cell in row] for row in table]
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
        "activity",
        "predicted",
    ]
    rows = [
        [
            str(rank),
            f"{moment.distance:.4g}",
            moment.match,
            *("–" if time is None else clock(time) for time in (moment.start, moment.stop)),
            str(len(moment.hits)),
            moment.best.clip,
            moment.best.record["activity"] or "–",
            _prediction(moment.best),
        ]
        for rank, moment in enumerate(moments, start=1)
    ]
    table = [[printable(cell) for cell in row] for row in (header, *rows)]
    return f"{heading}\n\n{tables.aligned(table)}\n"


def hit_line(hit: Hit) -> str:
    """Says in a line which clip was found."""
    start = hit.record["start"]
    cells = [
        f"{hit.distance:.4g} bits away",
        f"{hit.match}/{hit.clip}",
        "" if start is None else f"at {clock(start)}",
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


def write_grid(
    path: epath.PathLike, asked: Asked, hits: Hits, key_frames: KeyFrames, *, focus: str | float
) -> None:
    """Draws the query's clip, if it has one, and the first twenty hits, by their key frames.

    Args:
      path: the PNG or SVG file to write.
      asked: what was searched for; the first of several clips is shown.
      hits: what was found.
      key_frames: gives the pictures.
      focus: the focus searched, for the title.

    Raises:
      UserError: the file has another ending or cannot be written, a clip has no picture, or
        Matplotlib is not installed.
    """
    checked = check_output(path, GRIDS)
    plots = pages.load_plots()
    shown = hits[:_MOST_PICTURES]
    records = [{"match": hit.match, "clip": hit.clip, **hit.record} for hit in shown]
    distances: list[float | None] = [hit.distance for hit in shown]
    clips, given = asked.clips, []
    if clips is not None:
        records, distances = [clips.records[0], *records], [None, *distances]
        given = [] if clips.image is None else [clips.image]
    images = [*given, *_images(records[len(given) :], key_frames)]
    row = [
        plots.Picture(
            image,
            record["activity"] or record["predicted"] or "unknown",
            record["match"] or "–",
            distance,
        )
        for record, image, distance in zip(records, images, distances)
    ]
    figure = plots.hits_grid([row], title=f"Like {asked.title} at focus {focus}")
    with files.writing(checked):
        files.write(checked, plots.render(figure, kind=checked.suffix[1:]))


def _images(records: Sequence[dict], key_frames: KeyFrames) -> list[Image]:
    """Gives the key frame of each clip, reading each split once."""
    names = [(record["split"], _prepared_name(record)) for record in records]
    images = {}
    for split in dict.fromkeys(split for split, _ in names):
        of_split = {name for other, name in names if other == split}
        images |= {(split, name): image for name, image in key_frames(split, of_split).items()}
    return [images[name] for name in names]


def _prepared_name(record: dict) -> tuple[str, str]:
    """Gives (match, clip) of a clip of a prepared set.

    Raises:
      UserError: the clip is not one of a prepared set.
    """
    match, clip = record["match"], record["clip"]
    if record["split"] is None:
        raise UserError(
            f"clip {match}/{clip} is not in a prepared set, so there is no picture of it"
        )
    return match, clip


def _seconds(hit: Hit) -> str:
    start, stop = hit.record["start"], hit.record["stop"]
    return "–" if start is None or stop is None else f"{start:.1f}–{stop:.1f}"


def _prediction(hit: Hit) -> str:
    if hit.record["predicted"] is None:
        return "–"
    confidence = hit.record["confidence"]
    share = "" if confidence is None else f" {100 * confidence:.0f} %"
    return f"{hit.record['predicted']}{share}"
