"""Table 4: retrieval at 16, 32, 64 and 128 bits; the paper's figures are of Collective Activity."""

from experiments.code_lengths import report, variants_of
from experiments.settings import Setting
from experiments.study import Variant

__all__ = ["TITLE", "report", "variants"]

TITLE = "Table 4: retrieval by the length of the code, beside the paper's on Collective Activity"


def variants(setting: Setting) -> list[Variant]:
    """Both models at every length."""
    del setting
    return variants_of("cad")
