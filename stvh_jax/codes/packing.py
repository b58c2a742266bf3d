"""Hash codes: signs of the relaxed codes, packed eight to a byte, and their Hamming distances.

A code of K bits is stored as K / 8 `uint8` in the bit order of `np.packbits` (big-endian: bit 0 is
the most significant bit of byte 0). A set bit is +1, a clear bit -1.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int32, Shaped, UInt8

from stvh_jax.errors import UserError

# Pairs compared at a time: the scratch arrays of one chunk fit into a core's own cache.
_CHUNK_PAIRS = 1 << 15


# `Any` is an array of NumPy or of JAX: to name the type of the latter would import JAX.
def binarize(h: Float[Any, "... K"]) -> Float[Any, "... K"]:
    """Takes the sign of a relaxed code, `b = sign(h)` with `sign(0) = +1` (Eq. 5).

    Args:
      h: relaxed codes, NumPy or JAX.

    Returns:
      -1 or +1, of the type of `h`; no gradient flows through it.
    """
    return (2 * (h >= 0) - 1).astype(h.dtype)


def code_lengths(bits: Any) -> tuple:
    """Reads `config.model.bits`: the length of the code, or of nested codes, the whole one last."""
    return tuple(bits) if isinstance(bits, (list, tuple)) else (bits,)


def pack(signs: Shaped[Any, "... K"]) -> UInt8[np.ndarray, "... bytes"]:
    """Packs signs or bits into bytes.

    Args:
      signs: -1 and +1, as from `binarize`, or booleans, or 0 and 1.

    Returns:
      K / 8 bytes per code.

    Raises:
      UserError: they are no numbers, or K is not a multiple of 8.
    """
    signs = np.asarray(signs)
    if not signs.ndim or signs.dtype.kind not in "biufV":
        raise UserError(f"signs are {signs.dtype} {signs.shape}; give -1 and +1, [..., K]")
    bits = signs.shape[-1]
    if bits % 8:
        raise UserError(f"a code has {bits} bits; the length must be a multiple of 8")
    return np.packbits(signs > 0, axis=-1)


def check_codes(
    codes: Any, name: str, *, axes: int | None = 2, like: np.ndarray | None = None
) -> None:
    """Checks that an array holds packed codes; the values of other types would be taken for bits.

    Args:
      codes: what should be `uint8`, `[M, bytes]`.
      name: what the message calls it.
      axes: how many axes it should have; None for any but none.
      like: other codes, which should have as many bytes.

    Raises:
      UserError: it does not.
    """
    array = isinstance(codes, np.ndarray)
    if not array or codes.dtype != np.uint8 or codes.ndim != (axes or max(1, codes.ndim)):
        what = f"{codes.dtype} {codes.shape}" if array else f"of type {type(codes).__name__}"
        shape = {1: "[bytes]", 2: "[M, bytes]", None: "[..., bytes]"}[axes]
        raise UserError(f"{name}: {what} are no packed codes; give NumPy's uint8 {shape}")
    if like is not None and codes.shape[-1] != like.shape[-1]:
        raise UserError(
            f"{name}: codes of {8 * codes.shape[-1]} bits cannot be compared with codes of "
            f"{8 * like.shape[-1]}"
        )


def unpack(codes: UInt8[np.ndarray, "... bytes"]) -> Float[np.ndarray, "... K"]:
    """Unpacks bytes into K = 8 * bytes signs, -1 or +1 as float32: the inverse of `pack`.

    Raises:
      UserError: they are no packed codes.
    """
    check_codes(codes, "codes", axes=None)
    return np.float32(2) * np.unpackbits(codes, axis=-1) - np.float32(1)


def hamming_distances(
    queries: UInt8[np.ndarray, "Q bytes"], base: UInt8[np.ndarray, "M bytes"]
) -> Int32[np.ndarray, "Q M"]:
    """Counts the bits in which each query differs from each base code.

    Raises:
      UserError: they are no packed codes, or of different lengths.
    """
    check_codes(queries, "queries")
    check_codes(base, "base", like=queries)
    query_words = _words(queries)
    # One contiguous column per word, which the scan reads once, in order.
    base_words = np.ascontiguousarray(_words(base).T)
    distances = np.empty((len(queries), len(base)), np.int32)
    rows = max(1, _CHUNK_PAIRS // max(1, len(base)))
    # Counts of a word are single bytes, and adding these up in wider numbers takes twice the time.
    sums = np.empty((rows, len(base)), np.uint8 if 8 * queries.shape[1] < 256 else np.int32)
    differing, counts = np.empty(sums.shape, np.uint64), np.empty(sums.shape, np.uint8)
    for start in range(0, len(queries), rows):
        chunk = query_words[start : start + rows]
        total, differ, count = (scratch[: len(chunk)] for scratch in (sums, differing, counts))
        total[:] = 0
        for word, column in enumerate(base_words):
            np.bitwise_xor(chunk[:, word, None], column, out=differ)
            np.add(total, np.bitwise_count(differ, out=count), out=total)
        distances[start : start + rows] = total
    return distances


def _words(codes: UInt8[np.ndarray, "B bytes"]) -> Shaped[np.ndarray, "B words"]:
    """Views codes as 64-bit words, padded with zero bytes, which differ in no bit."""
    if spare := -codes.shape[1] % 8:
        codes = np.pad(codes, ((0, 0), (0, spare)))
    return np.ascontiguousarray(codes).view(np.uint64)
