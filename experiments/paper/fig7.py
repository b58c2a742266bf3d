"""Fig. 7: confusion matrices of both models, of the Volleyball Dataset in the paper."""

from experiments.paper.confusion import report, variants

__all__ = ["DATASET", "TITLE", "report", "variants"]


TITLE = "Fig. 7: confusion matrices"


DATASET = "vd"
