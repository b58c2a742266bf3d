"""Fig. 8: confusion matrices of both models, in the paper for Collective Activity."""

from experiments.paper.confusion import report, variants

__all__ = ["DATASET", "TITLE", "report", "variants"]
TITLE = "Fig. 8: confusion matrices"
DATASET = "cad"
