"""Table 3: retrieval at 16, 32, 64 and 128 bits, in the paper for the Volleyball Dataset."""

from experiments.paper.code_lengths import pairs, report, variants

__all__ = ["DATASET", "TITLE", "pairs", "report", "variants"]
TITLE = "Table 3: retrieval by the length of the code"
DATASET = "vd"
