"""Fig. 7: confusion matrices of both models, in the paper for the Volleyball Dataset."""

from experiments.paper.confusion import report, variants

__all__ = ["NEEDS_RUNS", "DATASET", "TITLE", "report", "variants"]
TITLE = "Fig. 7: confusion matrices"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
DATASET = "vd"
