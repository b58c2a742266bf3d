"""Fig. 9: the clip nearest to a query at every focus."""

from experiments.results import Report
from experiments.study import Study
from experiments.study import mstvh_alone as variants
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

__all__ = ["NEEDS_RUNS", "NEEDS_FRAMES", "ONE_SEED", "TITLE", "report", "variants"]
TITLE = "Fig. 9: the nearest clip at every focus"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
# Pictures of one model; other seeds would show the same.
ONE_SEED = True
NEEDS_FRAMES = True
_QUERIES = 3


def report(study: Study) -> Report:
    """One row per query: the first test clip of an activity, and its nearest clip at each focus."""
    evaluation = study.evaluate(study.runs(study.variants[0])[0])
    foci = sorted(evaluation.queries.codes)
    by_focus = [evaluation.hits(focus, queries=_QUERIES, k=1) for focus in foci]
    shown = [[rows[0][0], *(hit for _, hit in rows)] for rows in zip(*by_focus)]
    columns = ["no MSF", *(f"layer {focus}" for focus in foci[1:])]
    table = Table(
        ["query", *columns],
        [[_in_words(row[0]), *(_in_words(hit, row[0]) for hit in row[1:])] for row in shown],
    )
    note = "✓ same activity, ✗ another; = same match, ≠ another; distances "
    note += "in bits. The clips of all splits are searched; no query was chosen by its hits."
    return Report(
        [table],
        [note],
        {"": plots.hits_grid(shown, title=TITLE, columns=columns)},
        pictures=study.setting.has_frames,
        unit="",
    )


def _in_words(picture: plots.Picture, query: plots.Picture | None = None) -> str:
    if query is None:
        return f"{picture.activity}, match {picture.match}"
    activity = "✓" if picture.activity == query.activity else "✗"
    match = "=" if picture.match == query.match else "≠"
    return f"{activity} {picture.activity}, {match} match {picture.match}, {picture.distance}"
