"""One stored code for all foci: a focus is what each of its bits weighs.

d_i(a, b) = sum_k w_ik [a_k != b_k] / u, with whole numbers w_ik for the foci i = 0..L, the same sum
of weights at every focus, and the unit u by which the largest distance is K bits at each of them.
Between two foci the weights are blended, in hundredths.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt8

from stvh_jax.codes.packing import hamming_distances
from stvh_jax.errors import UserError, shown

# A blend of two foci weighs them in hundredths.
HUNDREDTHS = 100
# The largest sum of weights: distances, in hundredths too, stay in 32 bits.
_MOST = 1 << 24
# Codes whose bits are picked at a time: unpacked, they take eight times their space.
_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class BitWeights:
    """What each of K bits weighs at each of the foci 0..L.

    Attributes:
      weights: `[L + 1, K]`, whole numbers from 0 on, with the same sum, a multiple of K, at every
        focus.
    """

    weights: np.ndarray

    def __post_init__(self):
        """Checks them.

        Raises:
          UserError: they are not of this kind.
        """
        weights = np.asarray(self.weights)
        if weights.ndim != 2 or weights.dtype.kind not in "iu" or min(weights.shape) < 2:
            raise UserError(
                f"bit weights are {weights.dtype} {weights.shape}; give whole numbers, a row for "
                "each focus"
            )
        sums = weights.sum(axis=1)
        if weights.min() < 0 or sums[0] == 0 or (sums != sums[0]).any() or sums[0] > _MOST:
            raise UserError(
                f"bit weights have the sums {shown(sums.tolist())}; give numbers from 0 on with "
                f"one sum at every focus, up to {_MOST}"
            )
        if weights.shape[1] % 8 or sums[0] % weights.shape[1]:
            raise UserError(
                f"the sum of bit weights is {sums[0]}; give a multiple of their number, which is a "
                "multiple of 8"
            )
        object.__setattr__(self, "weights", weights.astype(np.int64))

    @property
    def bits(self) -> int:
        """K, the length of the code."""
        return self.weights.shape[1]

    @property
    def layers(self) -> int:
        """L, the last focus."""
        return len(self.weights) - 1

    @property
    def unit(self) -> int:
        """How many units of `distances` at one focus make one bit."""
        return int(self.weights[0].sum()) // self.bits

    @functools.cached_property
    def visual(self) -> Int64[np.ndarray, "V"]:
        """The bits that weigh something at focus 0 and nothing at the last."""
        return np.flatnonzero((self.weights[0] > 0) & (self.weights[-1] == 0))

    def with_visual(
        self, codes: UInt8[np.ndarray, "M bytes"], bits: Bool[np.ndarray, "M V"]
    ) -> UInt8[np.ndarray, "M bytes"]:
        """Puts other visual bits into codes."""
        unpacked = np.unpackbits(codes, axis=1)
        unpacked[:, self.visual] = bits
        return np.packbits(unpacked, axis=1)

    def at(self, hundredths: int) -> Int64[np.ndarray, "K"]:
        """Gives what each bit weighs at a focus between two, in hundredths of the weights.

        Args:
          hundredths: a hundred times the focus, 0 to 100 L.
        """
        lower, above = divmod(hundredths, HUNDREDTHS)
        upper = min(lower + 1, self.layers)
        return (HUNDREDTHS - above) * self.weights[lower] + above * self.weights[upper]

    @functools.cached_property
    def groups(self) -> list[Int64[np.ndarray, "bits"]]:
        """The bits, in groups of those that weigh the same at every focus."""
        _, number = np.unique(self.weights, axis=1, return_inverse=True)
        return [np.flatnonzero(number == group) for group in range(number.max() + 1)]

    def part(self, codes: UInt8[np.ndarray, "M bytes"], group: int) -> UInt8[np.ndarray, "M part"]:
        """Packs the bits of one group, in whole words of 64 bits; spare bits are zero.

        Whole words are compared in half of the time that other lengths take.
        """
        packed = part_of(codes, self.groups[group])
        return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))

    def whole(self, parts: Sequence[UInt8[np.ndarray, "M part"]]) -> UInt8[np.ndarray, "M bytes"]:
        """Puts codes together again of what `part` gives of every group."""
        unpacked = np.empty((len(parts[0]), self.bits), np.uint8)
        for bits, part in zip(self.groups, parts):
            unpacked[:, bits] = np.unpackbits(part, axis=1, count=len(bits))
        return np.packbits(unpacked, axis=1)

    def distances(
        self,
        queries: UInt8[np.ndarray, "Q bytes"],
        base: UInt8[np.ndarray, "M bytes"],
        focus: int,
    ) -> Int[np.ndarray, "Q M"]:
        """Computes weighted distances at a focus, in units."""
        return weighted_distances(queries, base, self.weights[focus])

    def spread(
        self, codes: UInt8[np.ndarray, "M bytes"], focus: int
    ) -> UInt8[np.ndarray, "M spread"]:
        """Repeats each bit as often as it weighs at a focus, with the least whole numbers.

        The Hamming distances of what is made are weighted distances, so that it can be judged as
        any code is.
        """
        weights = self.weights[focus] // np.gcd.reduce(self.weights[focus])
        return np.packbits(np.repeat(np.unpackbits(codes, axis=1), weights, axis=1), axis=1)

    def to_json(self) -> list[list[int]]:
        """Gives plain values."""
        return self.weights.tolist()

    @classmethod
    def from_json(cls, values: Any) -> "BitWeights":
        """Reads what `to_json` gave.

        Raises:
          UserError: it is something else.
        """
        try:
            weights = np.array(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"bit weights are not a table of whole numbers ({error})") from error
        return cls(weights)


def laid_out(*, bits: int, visual_bits: int, layers: int) -> BitWeights:
    """Makes the weights of a code whose last bits are visual, and all before them of the activity.

    At focus i the mean difference of the visual bits weighs 1 - i / L, and that of the bits of the
    activity i / L.

    Raises:
      UserError: one of the parts has no bit.
    """
    if not 0 < visual_bits < bits or layers < 1:
        raise UserError(f"{visual_bits} of {bits} bits are visual; both parts need some")
    activity_bits = bits - visual_bits
    focus = np.arange(layers + 1)[:, None]
    is_visual = np.arange(bits) >= activity_bits
    weights = np.where(is_visual, (layers - focus) * activity_bits, focus * visual_bits)
    weights //= np.gcd.reduce(weights, axis=None)
    return BitWeights(weights * (bits // math.gcd(bits, int(weights[0].sum()))))


def part_of(
    codes: UInt8[np.ndarray, "M bytes"], bits: Int64[np.ndarray, "bits"]
) -> UInt8[np.ndarray, "M part"]:
    """Packs some bits of codes, contiguous in memory; bits beyond a whole byte are zero."""
    whole = len(bits) % 8 == 0 and bits[0] % 8 == 0 and bits[-1] - bits[0] == len(bits) - 1
    if whole:  # a range of bytes
        return np.ascontiguousarray(codes[:, bits[0] // 8 : (bits[-1] + 1) // 8])
    part = np.empty((len(codes), -(-len(bits) // 8)), np.uint8)
    for start in range(0, len(codes), _ROWS):
        rows = slice(start, start + _ROWS)
        part[rows] = np.packbits(np.unpackbits(codes[rows], axis=1)[:, bits], axis=1)
    return part


def weighted_distances(
    queries: UInt8[np.ndarray, "Q bytes"],
    base: UInt8[np.ndarray, "M bytes"],
    weights: Int64[np.ndarray, "K"],
) -> Int[np.ndarray, "Q M"]:
    """Adds up what the bits weigh in which each query differs from each base code."""
    total = np.zeros((len(queries), len(base)), np.int32)
    for weight in np.unique(weights[weights > 0]):
        bits = np.flatnonzero(weights == weight)
        total += int(weight) * hamming_distances(part_of(queries, bits), part_of(base, bits))
    return total
