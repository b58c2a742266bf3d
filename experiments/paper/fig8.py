"""Fig. 8: confusion matrices of both models, of Collective Activity in the paper."""

from experiments.paper.confusion import report, variants

__all__ = ["DATASET", "TITLE", "report", "variants"]


TITLE = "Fig. 8: confusion matrices"


DATASET = "cad"
