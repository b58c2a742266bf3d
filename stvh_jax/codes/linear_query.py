"""Queries that are directions in the space of codes, and their sums.

A linear query weighs every bit, and a clip's similarity is the sum of the weights of its set bits
less that of the others: sum_k w_k b_k, with b_k = -1 or +1. Hamming distance is the case of weights
-1 and +1. Any of them can be asked at any focus: with W_k, what bit k weighs there, the similarity
of a direction u is sum_k W_k u_k b_k, and its length the root of sum_k W_k u_k^2.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from stvh_jax.codes.readout import Readout
from stvh_jax.codes.weighted_bits import WeightedCode
from stvh_jax.errors import UserError

# Weights that are not whole numbers are rounded to such with this sum.
_SUM_OF_WEIGHTS = 1 << 30

# Packed codes `[bytes]` of one clip, or `[m, bytes]` of several, by focus or of the last focus.
Codes = UInt8[np.ndarray, "..."] | Mapping[int, UInt8[np.ndarray, "..."]]


@dataclasses.dataclass(frozen=True)
class CodeSpace:
    """The codes of one focus, in which a query is a direction.

    Attributes:
      focus: whose codes these are.
      bit_weights: `[K]`, what each bit weighs, 0 or more.
      readout: reads activities from these codes; None where none are read.
      codes_of: picks, or derives, the codes of the focus from those by focus.
    """

    focus: int
    bit_weights: Float[np.ndarray, "K"]
    readout: Readout | None
    codes_of: Callable[[Codes], UInt8[np.ndarray, "..."]]

    def length(self, direction: Float[np.ndarray, "K"]) -> float:
        """Gives the length of a direction.

        Raises:
          UserError: it has another number of weights than the codes have bits.
        """
        if direction.shape != self.bit_weights.shape:
            raise UserError(
                f"the query has {len(direction)} weights, the codes {len(self.bit_weights)} bits"
            )
        return float(np.sqrt(self.bit_weights @ np.square(direction)))

    def unit(self, direction: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
        """Gives a direction the length of one; what has no length here stays without."""
        length = self.length(direction)
        return direction / length if length else np.zeros_like(direction)


class LinearQuery(abc.ABC):
    """A direction in the space of codes; they can be added, and multiplied by numbers.

    In a sum each summand has the length of its factor, whatever its own was.
    """

    @abc.abstractmethod
    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Gives the direction at a focus; zero where the query says nothing there.

        Raises:
          UserError: it cannot be known there.
        """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Says in a few words what the query is."""

    def __add__(self, other: "LinearQuery") -> "LinearQuery":
        """Adds two queries."""
        if not isinstance(other, LinearQuery):
            return NotImplemented
        return Sum((*_summands(self), *_summands(other)))

    def __sub__(self, other: "LinearQuery") -> "LinearQuery":
        """Takes a query away."""
        if not isinstance(other, LinearQuery):
            return NotImplemented
        return self + -1.0 * other

    def __mul__(self, factor: int | float) -> "LinearQuery":
        """Multiplies a query by a number.

        Raises:
          UserError: it is not finite, or zero.
        """
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if not np.isfinite(factor) or not factor:
            raise UserError(f"a query times {factor}; give a finite number other than 0")
        return Sum(tuple((float(factor) * own, query) for own, query in _summands(self)))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        """Shows the name."""
        return f"<query {self.name}>"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sum(LinearQuery):
    """Queries of length one, each times a factor."""

    terms: tuple[tuple[float, LinearQuery], ...]

    @property
    def name(self) -> str:
        """Names the summands."""
        names = [
            query.name if factor == 1 else f"{factor:g} x {query.name}"
            for factor, query in self.terms
        ]
        return " + ".join(names)

    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Adds up the directions, each of the length of its factor."""
        total = np.zeros(len(space.bit_weights))
        for factor, query in self.terms:
            total += factor * space.unit(query.direction(space))
        return total


def _summands(query: LinearQuery) -> tuple[tuple[float, LinearQuery], ...]:
    return query.terms if isinstance(query, Sum) else ((1.0, query),)


def weighted_code(
    query: LinearQuery, spaces: Sequence[tuple[CodeSpace, int]], *, where: str
) -> WeightedCode:
    """Gives what is to be scanned for: a weight for each bit of some codes, side by side.

    Args:
      query: what is asked for.
      spaces: the codes compared, and how much each counts; in each the query has the same length.
      where: names them in messages.

    Raises:
      UserError: the query says nothing there, or is not finite.
    """
    parts, length = [], None
    for space, share in spaces:
        direction = query.direction(space)
        own = space.length(direction)
        length = length or own
        # The same factor, 1, where all are of one length, as codes are: whole numbers stay so.
        factor = share * (length / own if own else 0.0)
        parts.append(factor * space.bit_weights * direction)
    weights = parts[0] if len(parts) == 1 else np.concatenate(parts)
    whole = np.abs(weights)
    total = float(whole.sum())
    if not np.isfinite(total):
        raise UserError("the query has weights that are not finite numbers")
    if not total:
        raise UserError(f"{query.name} says nothing at {where}; choose another focus")
    if total > _SUM_OF_WEIGHTS or (np.rint(whole) != whole).any():
        whole = np.rint(whole / total * _SUM_OF_WEIGHTS)
    return WeightedCode(np.packbits(weights > 0), whole.astype(np.int64))
