"""The codes that the rows of a collection hold: the server compares them by Hamming distance alone.

A row of a focus has the code of that focus. With bit weights, it has the one code of the clip with
each bit repeated as often as it weighs at the focus (`BitWeights.spread`): the Hamming distance of
two such rows is the weighted distance of their clips, and bits that weigh nothing are not there.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, UInt8

from stvh_jax.codes.bit_weights import HUNDREDTHS, BitWeights
from stvh_jax.errors import UserError
from stvh_jax.retrieval.engine import LinearRequest, SearchRequest
from stvh_jax.retrieval.index_info import IndexInfo

# The most bits of a vector that a server takes, if it is set up as usual.
_MOST_BITS = 1 << 15


def length_of(info: IndexInfo) -> int:
    """Gives the bits of a row's code, the same at every focus, a multiple of 8.

    Raises:
      UserError: the bits' weights need more than a server takes.
    """
    if info.bit_weights is None:
        return info.bits
    sums = [int(_least(weights).sum()) for weights in info.bit_weights.weights]
    longest = -(-max(sums) // 8) * 8
    if longest > _MOST_BITS:
        raise UserError(
            f"on a Milvus server each bit of a code is repeated as often as it weighs, which makes "
            f"{longest} bits of {info.bits} here; it may make {_MOST_BITS}: make the index in a "
            "folder or a bucket"
        )
    return longest


def row_codes(
    info: IndexInfo, focus: int, stored: Mapping[int, UInt8[np.ndarray, "M bytes"]]
) -> UInt8[np.ndarray, "M row"]:
    """Gives the codes of some clips as the rows of a focus hold them.

    Args:
      info: what the index is.
      focus: whose rows.
      stored: the clips' own codes, of each stored focus.
    """
    codes = info.codes_of(focus, stored)
    return codes if info.bit_weights is None else _spread(info, info.bit_weights, focus, codes)


def row_weights(info: IndexInfo, request: SearchRequest) -> tuple[dict[int, int], int]:
    """Gives what a bit of the rows of each focus weighs in a search.

    Returns:
      The weights, and by how much sums of them are larger than in the request's own units: each sum
      is a multiple of that.
    """
    weights, unit = dict(request.foci), HUNDREDTHS
    if info.bit_weights is not None:
        unit *= info.bit_weights.unit
        for focus, share in request.foci.items():
            weights[focus] = share * int(np.gcd.reduce(info.bit_weights.weights[focus]))
    return weights, unit // request.weights_per_bit


def row_signs(info: IndexInfo, request: LinearRequest) -> dict[int, UInt8[np.ndarray, "row"]]:
    """Gives the signs of a linear query's weights, by each focus whose rows have its nearest clips.

    With bit weights these are, beside the foci asked for, the first and the last, whose rows have
    only the bits of one part, for a query that weighs one part more than a focus does. Rows in
    which the query weighs no bit are left out.
    """
    signs, whole = {}, request.query.code
    if info.bit_weights is not None:
        for focus in sorted({*request.foci, info.foci[0], info.last_focus}):
            if (request.query.weights * info.bit_weights.weights[focus]).any():
                signs[focus] = _spread(info, info.bit_weights, focus, whole[None])[0]
        return signs
    size = info.bits // 8
    for place, part in enumerate(request.parts):
        if request.query.weights[place * info.bits : (place + 1) * info.bits].any():
            signs[part.focus] = whole[place * size : (place + 1) * size]
    return signs


def _least(weights: Int64[np.ndarray, "K"]) -> Int64[np.ndarray, "K"]:
    """Gives weights without a common divisor."""
    return weights // np.gcd.reduce(weights)


def _spread(
    info: IndexInfo, weights: BitWeights, focus: int, codes: UInt8[np.ndarray, "M bytes"]
) -> UInt8[np.ndarray, "M row"]:
    spread = weights.spread(codes, focus)
    return np.pad(spread, ((0, 0), (0, length_of(info) // 8 - spread.shape[1])))
