"""Fig. 10: retrieval with the codes of each layer, by activity and by match."""

import statistics

from experiments.results import Report
from experiments.study import OVER_HITS, Study, mean_and_spread
from experiments.study import mstvh_alone as variants
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

__all__ = ["TITLE", "report", "variants"]
TITLE = "Fig. 10: retrieval by focus, for the activity and for the match"

_COLUMNS = {
    f"{kind}_map@10{suffix}": f"{kind} mAP@10{words}"
    for kind in ("activity", "match")
    for words, suffix in (("", ""), (OVER_HITS, "/over_hits"))
}


def report(study: Study) -> Report:
    """One row per focus, from before the first layer to the last."""
    results = study.results(study.variants[0])
    foci = sorted(results[0]["foci"], key=int)

    def values(focus: str, name: str) -> list[float]:
        measured = [one["foci"][focus].get(name) for one in results]
        return [100 * value for value in measured if value is not None]

    rows = [[focus, *(mean_and_spread(values(focus, name)) for name in _COLUMNS)] for focus in foci]
    lines = [
        [statistics.fmean(values(focus, f"{kind}_map@10")) / 100 for focus in foci]
        for kind in ("activity", "match")
    ]
    note = "Activity: the test clips search the base. Match: every clip searches all others. "
    note += "Focus 0 stands before any layer. The paper shows its curves as a picture only."
    table = Table(["focus", *_COLUMNS.values()], rows)
    return Report([table], [note], {"": plots.focus_curves(*lines)})
