"""The results of an evaluation as a table for the console and as an HTML page.

Both are made from the `results` dictionary that is also written as JSON. Any of its entries may be
missing or None, which shows as a dash.
"""

from stvh_jax.evaluation.report.page import curves, write_evaluation
from stvh_jax.evaluation.report.tables import metrics_table

__all__ = ["curves", "metrics_table", "write_evaluation"]
