"""Fig. 12: the mean Hamming distance between the codes of every two activities."""

import numpy as np

from experiments.results import Report
from experiments.study import MISSING, Study
from experiments.study import mstvh_alone as variants
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

__all__ = ["NEEDS_RUNS", "TITLE", "report", "variants"]
TITLE = "Fig. 12: mean Hamming distances between activities"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True


def report(study: Study) -> Report:
    """Distances between the test clips' codes of the last focus, in bits, mean over the seeds."""
    results = study.results(study.variants[0])
    names, bits = results[0]["activity_names"], results[0]["bits"]
    of_seeds = np.array([one["class_distances"] for one in results], float)
    # Two activities with too few test clips have no distance, whatever the seed.
    distances = of_seeds.mean(axis=0)
    rows = [
        [name, *(MISSING if np.isnan(distance) else f"{distance:.1f}" for distance in row)]
        for name, row in zip(names, distances)
    ]
    figure = plots.class_distances(distances, names, title=f"mean distance, of {bits} bits")
    note = (
        f"Mean over the seeds, in bits out of {bits}. The paper shows its matrix as a picture only."
    )
    return Report([Table(["", *names], rows)], [note], {"": figure}, unit="")
