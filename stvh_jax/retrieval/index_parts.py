"""Checks that the parts of what an index is fit: its filter matrix, weights, readout and origin."""

import json
from typing import Any

from stvh_jax import files
from stvh_jax.codes.bit_weights import BitWeights
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import UserError

# What an origin says of these, if it says anything, is of these types.
_TYPES = dict.fromkeys(("run", "checkpoint", "checkpoint_kind", "data_dir", "media"), str) | {
    "frames_per_second": (int, float)
}


def check_filter_matrix(matrix: Any, bits: int, stored_foci: tuple[int, ...]) -> None:
    """Checks that a filter matrix, if there is one, derives foci from those stored.

    Raises:
      UserError: it is something else, or is for other codes.
    """
    if matrix is None:
        return
    if not isinstance(matrix, FilterMatrix):
        raise UserError(f"the filter matrix is of type {type(matrix).__name__}")
    if matrix.bits != bits:
        raise UserError(f"the filter matrix is for {matrix.bits} bits, the codes have {bits}")
    if stored_foci[-1] != matrix.layers:
        raise UserError(
            f"stored foci {list(stored_foci)}; choose from 0 to {matrix.layers}, and include "
            f"{matrix.layers}, from which the others are derived"
        )


def check_bit_weights(weights: Any, bits: int, stored_foci: tuple[int, ...], matrix: Any) -> None:
    """Checks that bit weights, if there are any, weigh the bits of the codes stored.

    Raises:
      UserError: they are something else or for other codes, or there is a filter matrix beside.
    """
    if weights is None:
        return
    if not isinstance(weights, BitWeights):
        raise UserError(f"the bit weights are of type {type(weights).__name__}")
    if weights.bits != bits:
        raise UserError(f"the bit weights are for {weights.bits} bits, the codes have {bits}")
    if stored_foci != (weights.layers,):
        raise UserError(
            f"stored foci {list(stored_foci)}; bit weights of foci 0 to {weights.layers} "
            f"weigh one code, so give [{weights.layers}]"
        )
    if matrix is not None:
        raise UserError("with bit weights no focus is derived; leave out the filter matrix")


def check_readout(readout: Any, bits: int) -> None:
    """Checks that a readout, if there is one, reads from codes of so many bits.

    Raises:
      UserError: it is something else, or reads from others.
    """
    if readout is not None and not isinstance(readout, Readout):
        raise UserError(f"the readout is of type {type(readout).__name__}")
    if readout is not None and readout.bits != bits:
        raise UserError(f"the readout is for {readout.bits} bits, the codes have {bits}")


def check_origin(origin: Any) -> None:
    """Checks what an index says of where it came from.

    Raises:
      UserError: it is no mapping of plain values, or a value is of another type than is read.
    """
    try:
        if not all(isinstance(name, str) for name in origin):
            raise TypeError("its names are not all texts")
        json.dumps(dict(origin), allow_nan=False)
        for name, kind in _TYPES.items():
            value = origin.get(name)
            if isinstance(value, bool) or not (value is None or isinstance(value, kind)):
                raise TypeError(f"its {name} is of type {type(value).__name__}")
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise UserError(
            f"the origin is not a mapping of plain values ({files.reason(error)})"
        ) from error
