"""Fig. 8: confusion matrices of both models; the paper's are of Collective Activity."""

from experiments.confusion import report, variants

__all__ = ["TITLE", "report", "variants"]

TITLE = "Fig. 8: confusion matrices, as the paper has them of Collective Activity"
