"""How clips compare with what was searched for: the distance at each focus, the bits that agree."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax.codes.linear_query import LinearQuery, weighted_code
from stvh_jax.codes.weighted_bits import WeightedCode
from stvh_jax.errors import UserError
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.index_info import HUNDREDTHS, IndexInfo

# Packed codes of clips by focus.
StoredCodes = Mapping[int, UInt8[np.ndarray, "M bytes"]]


@runtime_checkable
class Comparison(Protocol):
    """Compares the clips that were found with what was searched for."""

    def distances(self, stored: StoredCodes) -> dict[int, Float[np.ndarray, "M"]]:
        """Gives the distance of each clip at every focus, in bits."""
        ...

    def agreeing(self, stored: StoredCodes) -> Bool[np.ndarray, "M K"]:
        """Says which bits of each clip agree with the query."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class WithCodes:
    """Compares clips with codes, of which the mean distance counts.

    Attributes:
      info: what the index is.
      queries: the stored codes of the queries.
      focus: the focus at which bits are compared.
    """

    info: IndexInfo
    queries: Mapping[int, UInt8[np.ndarray, "Q bytes"]]
    focus: int

    def distances(self, stored: StoredCodes) -> dict[int, Float[np.ndarray, "M"]]:
        """Gives the mean distance of each clip at every focus, in bits."""
        return self.info.mean_distances(self.queries, stored)

    def agreeing(self, stored: StoredCodes) -> Bool[np.ndarray, "M K"]:
        """Says in which bits each clip agrees with every query."""
        clips, queries = (self.info.codes_of(self.focus, c) for c in (stored, self.queries))
        different = np.bitwise_or.reduce(clips[:, None] ^ queries, axis=1)
        return np.unpackbits(different, axis=1) == 0


@dataclasses.dataclass(frozen=True, eq=False)
class WithLinearQuery:
    """Compares clips with a linear query.

    Attributes:
      info: what the index is.
      query: what was searched for.
      focus: the focus at which bits are compared.
    """

    info: IndexInfo
    query: LinearQuery
    focus: int

    def distances(self, stored: StoredCodes) -> dict[int, Float[np.ndarray, "M"]]:
        """Gives the distance of each clip at every focus at which the query says something."""
        found = {}
        for focus, weighted in self._weighted.items():
            distances = weighted.distances(self.info.codes_of(focus, stored))
            found[focus] = distances / (weighted.total / self.info.bits)
        return found

    def agreeing(self, stored: StoredCodes) -> Bool[np.ndarray, "M K"]:
        """Says which bits of each clip are on the side of the query, of those that it weighs."""
        clips, weighted = self.info.codes_of(self.focus, stored), self._weighted.get(self.focus)
        if weighted is None:  # of a blend of two foci, at the one that weighs more
            return np.zeros((len(clips), self.info.bits), bool)
        same = np.unpackbits(np.bitwise_xor(clips, weighted.code), axis=1) == 0
        return same & (weighted.weights > 0)

    @functools.cached_property
    def _weighted(self) -> dict[int, WeightedCode]:
        """What each bit weighs, by the foci at which the query says something."""
        found = {}
        for focus in self.info.foci:
            spaces = list(spaces_of(self.info, {focus: HUNDREDTHS}).values())
            with contextlib.suppress(UserError):
                found[focus] = weighted_code(self.query, spaces, where=f"focus {focus}")
        return found
