"""Fig. 7: confusion matrices of both models, in the paper for the Volleyball Dataset."""

from experiments.paper.confusion import report, variants

__all__ = ["DATASET", "TITLE", "report", "variants"]
TITLE = "Fig. 7: confusion matrices"
DATASET = "vd"
