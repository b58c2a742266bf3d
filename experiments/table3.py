"""Table 3: retrieval at 16, 32, 64 and 128 bits; the paper's figures are of Volleyball."""

from experiments.code_lengths import report, variants_of
from experiments.settings import Setting
from experiments.study import Variant

__all__ = ["TITLE", "report", "variants"]

TITLE = "Table 3: retrieval by the length of the code, beside the paper's on the Volleyball Dataset"


def variants(setting: Setting) -> list[Variant]:
    """Both models at every length."""
    del setting
    return variants_of("vd")
