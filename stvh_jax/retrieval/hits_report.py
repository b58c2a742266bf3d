"""The hits of a search as a table for the console, as JSON, and as a picture grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.reporting import pages, tables
from stvh_jax.retrieval.index import Hit, Hits, Index, check_output
from stvh_jax.retrieval.queries import Query

# How a grid is written, by the ending of the file, and the most hits that it shows: more could not
# be told apart.
GRIDS = (".png", ".svg")


_MOST_PICTURES = 20


# Gives the key frames of some clips of a split, by (match, clip).
KeyFrames = Callable[[str, set[tuple[int, int]]], dict[tuple[int, int], UInt8[np.ndarray, "H W 3"]]]


def hits_table(index: Index, query: Query, hits: Hits, *, focus: str | float) -> str:
    """Lays the hits out as plain text, with the distance at every focus and the bits that agree."""
    heading = f"like {query.name} at focus {focus}: {len(hits)} of {len(index)} clips"
    if not len(hits):
        return f"{heading}\n"
    bits = index.info.bits
    header = ["rank", "bits away", "clip", "seconds", "activity", "predicted", "media"]
    foci = [f"focus {one}" for one in index.foci]
    rows = [
        [
            str(rank),
            f"{hit.distance:g}",
            f"{hit.match}/{hit.clip}",
            _seconds(hit),
            hit.record["activity"] or "–",
            _prediction(hit),
            hit.record["media"] or "–",
            *(f"{hit.distances[one]:g}" for one in index.foci),
            f"{len(hit.agreeing_bits)} of {bits}",
        ]
        for rank, hit in enumerate(hits, start=1)
    ]
    table = [[*header, *foci, "bits agree"], *rows]
    if all(row[6] == "–" for row in rows):
        table = [[*row[:6], *row[7:]] for row in table]
    lines = [heading, "", tables.aligned(table)]
    shown = int((hits.distances == hits.distances[-1]).sum())
    if hits.ties_at_k > shown:
        lines += [
            "",
            f"{hits.ties_at_k} clips are {hits.distances[-1]:g} bits away; shown: the first "
            f"{shown}, by match and clip",
        ]
    return "\n".join(lines) + "\n"


def hits_to_dict(index: Index, query: Query, hits: Hits, *, focus: str | float) -> dict[str, Any]:
    """Gives the query and its hits in plain values, for JSON."""
    return {
        "query": query.records,
        "focus": focus,
        "bits": index.info.bits,
        "clips": len(index),
        "index_version": index.version,
        "ties_at_k": hits.ties_at_k,
        "hits": [{"rank": rank, **hit.to_dict()} for rank, hit in enumerate(hits, start=1)],
    }


def write_grid(
    path: epath.PathLike, query: Query, hits: Hits, key_frames: KeyFrames, *, focus: str | float
) -> None:
    """Draws the query and its hits, the first twenty, as pictures of their key frames.

    Args:
      path: the PNG or SVG file to write.
      query: what was searched for; the first of several clips is shown.
      hits: what was found.
      key_frames: gives the pictures.
      focus: the focus searched, for the title.

    Raises:
      UserError: the file has another ending or cannot be written, a clip has no picture, or
        Matplotlib is not installed.
    """
    path = check_output(path, GRIDS)
    plots = pages.load_plots()
    first = query.records[0]
    shown = [{"match": hit.match, "clip": hit.clip, **hit.record} for hit in hits[:_MOST_PICTURES]]
    images = _images(shown if query.image is not None else [first, *shown], key_frames)

    def picture(record: dict, image, distance: float | None):
        activity = record["activity"] or record["predicted"] or "unknown"
        return plots.Picture(image, activity, record["match"] or "–", distance)

    row = [picture(first, query.image if query.image is not None else images.pop(0), None)]
    row += [
        picture(record, image, float(distance))
        for record, image, distance in zip(shown, images, hits.distances)
    ]
    figure = plots.hits_grid([row], title=f"Like {query.name} at focus {focus}")
    with files.writing(path):
        files.write(path, plots.render(figure, kind=path.suffix[1:]))


def _images(records: Sequence[dict], key_frames: KeyFrames) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Gives the key frame of each clip, reading each split once."""
    names: dict[str, set[tuple[int, int]]] = {}
    for record in records:
        if record["split"] is None or not record["match"].isdecimal():
            raise UserError(
                f"clip {record['match']}/{record['clip']} is of no prepared set, so that there is "
                "no picture of it"
            )
        names.setdefault(record["split"], set()).add((int(record["match"]), record["clip"]))
    images = {}
    for split, clips in names.items():
        images |= key_frames(split, clips)
    return [images[int(record["match"]), record["clip"]] for record in records]


def _seconds(hit: Hit) -> str:
    start, stop = hit.record["start"], hit.record["stop"]
    return "–" if start is None or stop is None else f"{start:.1f}–{stop:.1f}"


def _prediction(hit: Hit) -> str:
    if hit.record["predicted"] is None:
        return "–"
    confidence = hit.record["confidence"]
    share = "" if confidence is None else f" {100 * confidence:.0f} %"
    return f"{hit.record['predicted']}{share}"
