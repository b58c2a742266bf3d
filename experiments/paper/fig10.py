"""Fig. 10: retrieval with the codes of each layer, by activity and by match."""

import statistics

from experiments.results import Report
from experiments.study import Study, mean_and_spread
from experiments.study import mstvh_alone as variants
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

__all__ = ["TITLE", "report", "variants"]
TITLE = "Fig. 10: retrieval by focus, for the activity and for the match"


def report(study: Study) -> Report:
    """One row per focus, from before the first layer to the last."""
    results = study.results(study.variants[0])
    foci = sorted(results[0]["foci"], key=int)
    values = {
        kind: [[one["foci"][focus][f"{kind}_map@10"] for one in results] for focus in foci]
        for kind in ("activity", "match")
    }
    rows = [
        [
            focus,
            *(
                mean_and_spread([100 * value for value in values[kind][place]])
                for kind in ("activity", "match")
            ),
        ]
        for place, focus in enumerate(foci)
    ]
    lines = [
        [statistics.fmean(of_focus) for of_focus in values[kind]] for kind in ("activity", "match")
    ]
    note = "Activity: the test clips search the base. Match: every clip searches all others. "
    note += "Focus 0 stands before any layer. The paper shows its curves as a picture only."
    table = Table(["focus", "activity mAP@10", "match mAP@10"], rows)
    return Report([table], [note], {"": plots.focus_curves(*lines)})
