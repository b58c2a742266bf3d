"""Fig. 7: confusion matrices of both models; the paper's are of the Volleyball Dataset."""

from experiments.confusion import report, variants

__all__ = ["TITLE", "report", "variants"]

TITLE = "Fig. 7: confusion matrices, as the paper has them of the Volleyball Dataset"
