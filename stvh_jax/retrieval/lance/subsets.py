"""The clips of a snapshot that meet a condition, and how they are searched."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from stvh_jax.codes.weighted_bits import ScannedCodes
from stvh_jax.retrieval.index_info import CodePart

# A condition that fewer clips meet has their codes gathered at once: of so few it takes less time
# than to pass all codes.
_FEW = 0.25


@dataclasses.dataclass
class Subset:
    """The clips that meet a condition.

    Attributes:
      met: says of each clip whether it does.
      codes: theirs side by side, of the parts searched so far.
      scanned: the same, as linear queries scan them.
      searched: how many queries have been made of them.
    """

    met: Bool[np.ndarray, "M"]
    codes: dict[CodePart, UInt8[np.ndarray, "m part"]] = dataclasses.field(default_factory=dict)
    scanned: dict[Sequence[CodePart], ScannedCodes] = dataclasses.field(default_factory=dict)
    searched: int = 0

    @functools.cached_property
    def rows(self) -> Int64[np.ndarray, "m"]:
        """Their rows."""
        return np.flatnonzero(self.met)

    @functools.cached_property
    def is_small(self) -> bool:
        """Says whether they are so few that it takes less time to gather them than to pass all."""
        return int(np.count_nonzero(self.met)) < _FEW * len(self.met)

    def pays_to_gather(self, queries: int) -> bool:
        """Says whether their codes should be gathered: where they are few, or asked for again."""
        self.searched += queries
        return self.searched > 1 or self.is_small
