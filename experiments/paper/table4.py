"""Table 4: retrieval at 16, 32, 64 and 128 bits, in the paper for Collective Activity."""

from experiments.paper.code_lengths import pairs, report, variants

__all__ = ["DATASET", "TITLE", "pairs", "report", "variants"]
TITLE = "Table 4: retrieval by the length of the code"
DATASET = "cad"
