"""The codes of an index as spaces in which a linear query is a direction."""

import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, UInt8

from stvh_jax.codes.linear_query import CodeSpace
from stvh_jax.retrieval.clip_table import Codes, stored_codes
from stvh_jax.retrieval.index_info import CodePart, IndexInfo


def spaces_of(info: IndexInfo, weights: Mapping[int, int]) -> dict[CodePart, tuple[CodeSpace, int]]:
    """Gives the codes that a linear query is compared with, and how much each counts.

    Args:
      info: what the index is.
      weights: of each focus, in hundredths; see `IndexInfo.weights`.
    """
    if info.bit_weights is not None:
        of_bits = info.bit_weights.at(sum(focus * share for focus, share in weights.items()))
        return {CodePart(info.last_focus): (_space(info, info.last_focus, of_bits), 1)}
    ones = np.ones(info.bits, np.int64)
    return {CodePart(focus): (_space(info, focus, ones), share) for focus, share in weights.items()}


def _space(info: IndexInfo, focus: int, of_bits: Int[np.ndarray, "K"]) -> CodeSpace:
    return CodeSpace(
        focus=focus,
        bit_weights=of_bits.astype(np.float64),
        readout=info.readout if focus == info.last_focus else None,
        codes_of=functools.partial(_codes_of, info, focus),
    )


def _codes_of(info: IndexInfo, focus: int, codes: Codes) -> UInt8[np.ndarray, "..."]:
    """Picks, or derives, the codes of a focus."""
    stored = stored_codes(info, codes, what="the query")
    shape = np.shape(codes[info.last_focus] if isinstance(codes, Mapping) else codes)
    return info.codes_of(focus, stored).reshape(shape)
