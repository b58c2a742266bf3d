"""Writes what `benchmarks.filter_matrix` measured into the tables of docs/filter_matrix.md."""

import pathlib
from collections.abc import Mapping

from stvh_jax import files
from stvh_jax.errors import Damaged

PAGE = pathlib.Path("docs/filter_matrix.md")
FOLDER = "filter_matrix"
_WHAT = "what benchmarks.filter_matrix writes"


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes each table of the page between its two marks; returns the path of the page, if any.

    Args:
      folder: the folder of all results; the tables are in its subfolder `FOLDER`.

    Raises:
      Damaged: a file of results cannot be read, or the page lacks the marks of its table.
    """
    paths = sorted((folder / FOLDER).glob("*.json"))
    if not paths:
        return []
    with files.reading(PAGE, "a page"):
        text = PAGE.read_text(encoding="utf-8")
    for path in paths:
        found = files.read_json(path, _WHAT, cure="run the benchmark again")
        with files.reading(path, _WHAT, "run the benchmark again"):
            table = markdown(found)
        start, end = (f"<!-- {word}: {path.stem} -->" for word in ("table", "end of table"))
        before, found_start, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not found_start or not found_end:
            raise Damaged(f"{PAGE} has no place for {path}; it stands between {start} and {end}")
        text = f"{before}{start}\n{table}\n{end}{after}"
    files.write(PAGE, text)
    return [PAGE]


def markdown(found: Mapping) -> str:
    """Formats one table for all foci, with the figures of the stored code above it.

    Args:
      found: the JSON of the benchmark: in `foci`, for each focus, rows of name, share of equal bits
        in the base and in the queries, activity mAP@10, match mAP@10, bits per clip, bits of F.
    """
    last, *foci = sorted(found["foci"], key=int, reverse=True)
    ((_, _, _, activity, match, *_),) = found["foci"][last]
    checkpoint = found["checkpoint"]
    lines = [
        f"The stored code, focus {last}: act. {_percent(activity)}, match {_percent(match)}. "
        f"Base: {found['base']}; queries: {found['queries']}; match retrieval: "
        f"{found['clips in match retrieval']} clips; seed {found['seed']}; {checkpoint['kind']} "
        f"checkpoint, step {checkpoint['step']}; {found['hardware']}.",
        "",
        "| codes | "
        + "".join(f"focus {focus}: bits | act. | match | " for focus in foci)
        + "bits per clip | bits of F |",
        f"|---|{'---:|' * (3 * len(foci) + 2)}",
    ]
    by_focus = [{row[0]: row[1:] for row in found["foci"][focus]} for focus in foci]
    # Focus 0 has rows that the others lack.
    for name in by_focus[-1]:
        cells = []
        for rows in by_focus:
            _, queries, activity, match, *_ = rows.get(name, (None,) * 6)
            bits = None if name == "own" else queries
            cells += [_percent(value) for value in (bits, activity, match)]
        *_, per_clip, of_matrix = by_focus[-1][name]
        cells += ["–" if value is None else str(value) for value in (per_clip, of_matrix)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
