"""What an evaluation measures of a filter matrix F and the codes that it derives (Eq. 16-18).

The codes of every focus below the last, L, are derived from those of L, for both sides of a search.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from stvh_jax.codes.filter_matrix import FilterMatrix


def derive_all(
    matrix: FilterMatrix, codes: Mapping[int, UInt8[np.ndarray, "M bytes"]]
) -> dict[int, UInt8[np.ndarray, "M bytes"]]:
    """Derives the codes of the foci 0..L-1 from those of focus L."""
    return {
        focus: matrix.derive(codes[matrix.layers], focus)
        for focus in codes
        if focus < matrix.layers
    }


def bit_agreement(one: UInt8[np.ndarray, "M bytes"], other: UInt8[np.ndarray, "M bytes"]) -> float:
    """Gives the share of bits that are equal, comparing two codes of each clip."""
    return 1 - float(np.bitwise_count(one ^ other).mean()) / 8


def describe(matrix: FilterMatrix) -> dict:
    """Describes F in the results of an evaluation."""
    return {
        "values": matrix.values,
        "per_step": len(matrix.factors) > 1,
        "normalise": matrix.normalise,
        "storage_bits": matrix.storage_bits,
        "digest": matrix.digest,
        "facts": dict(matrix.facts),
    }


def storage(matrix: FilterMatrix, *, clips: int) -> list[dict]:
    r"""Counts the bits that the codes of a base set take, with and without F (Eq. 18).

    $$CR = \frac{M c + |F|}{M L K}$$

    for M clips with c stored bits each; in the paper c = K and |F| = K^2. The denominator counts
    own codes of the layers 1..L, without focus 0.

    Returns:
      For each way of storing them: `name`, `bits_a_clip` (c), `matrix_bits` (|F|), `bits` (of all
      clips and F together), `compression_ratio`.
    """
    bits, layers = matrix.bits, matrix.layers
    ways = [
        (f"own codes of foci 1 to {layers}", layers * bits, 0),
        (f"own codes of foci 0 to {layers}", (layers + 1) * bits, 0),
        (f"code of focus {layers} and F", bits, matrix.storage_bits),
        (f"codes of foci 0 and {layers} and F", 2 * bits, matrix.storage_bits),
    ]
    return [
        {
            "name": name,
            "bits_a_clip": a_clip,
            "matrix_bits": matrix_bits,
            "bits": clips * a_clip + matrix_bits,
            "compression_ratio": (clips * a_clip + matrix_bits) / (clips * layers * bits),
        }
        for name, a_clip, matrix_bits in ways
    ]
