"""Derives the codes of a focus, many at once, by the tables of a filter matrix: with JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from stvh_jax.codes.filter_matrix import ceil_quotient

# Codes derived in one call, in blocks that fit into a core's own cache.
_SLAB, _BLOCK = 1 << 16, 512


def derive(
    codes: UInt8[np.ndarray, "M bytes"],
    table: Int[np.ndarray, "bytes 256 K"],
    threshold_table: Int[np.ndarray, "bytes 256"],
    constant: Int[np.ndarray, "K"],
) -> UInt8[np.ndarray, "M bytes"]:
    """Derives the packed codes of a focus.

    Args:
      codes: packed codes of focus L.
      table: what each byte of a code adds to the value of each bit.
      threshold_table: what it adds to their mean, times K.
      constant: the threshold that is the same for all codes.
    """
    # Sums rarely need 64 bits, but some do, and JAX has no such integers by default.
    with jax.enable_x64(True):
        slabs = [
            _derive_slab(_padded(codes[start : start + _SLAB]), table, threshold_table, constant)
            for start in range(0, len(codes), _SLAB)
        ]
        return np.concatenate(jax.device_get(slabs))[: len(codes)]


@jax.jit
def _derive_slab(codes, table, threshold_table, constant):
    """Sums the tables over the bytes of each code, compares, and packs the bits."""

    def total(tables, block):
        # The rows of the bytes are added one by one: XLA fuses that into a single loop.
        return functools.reduce(
            jnp.add, (tables[place][block[:, place]] for place in range(len(tables)))
        )

    def derive_block(block):
        means = ceil_quotient(total(threshold_table, block), table.shape[-1])
        thresholds = means.astype(table.dtype)[:, None] + constant.astype(table.dtype)[None]
        bits = (total(table, block) >= thresholds).reshape(len(block), -1, 8)
        places = jnp.left_shift(jnp.uint8(1), jnp.arange(7, -1, -1, dtype=jnp.uint8))
        return jnp.where(bits, places[None, None], jnp.uint8(0)).sum(axis=-1, dtype=jnp.uint8)

    return jax.lax.map(derive_block, codes.reshape(-1, _BLOCK, codes.shape[1])).reshape(codes.shape)


def _padded(codes: UInt8[np.ndarray, "M bytes"]) -> UInt8[np.ndarray, "padded bytes"]:
    """Pads codes to a block or a slab, so that only a few shapes are compiled."""
    size = _BLOCK if len(codes) <= _BLOCK else _SLAB
    return np.pad(codes, ((0, size - len(codes)), (0, 0)))
