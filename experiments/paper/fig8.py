"""Fig. 8: confusion matrices of both models, in the paper for Collective Activity."""

from experiments.paper.confusion import report, variants

__all__ = ["NEEDS_RUNS", "DATASET", "TITLE", "report", "variants"]
TITLE = "Fig. 8: confusion matrices"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
DATASET = "cad"
