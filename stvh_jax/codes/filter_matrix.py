"""The filter matrix (5.4): the codes of all other foci from the one that is stored.

A clip's code of the last focus L is stored. F takes one focus of it away at a time (Eq. 16), and
the signs of what is left, less their mean, are the code of that focus (Eq. 17):

    b'_(L-k) = F^k b_(L),    b~_(L-k) = sign(b'_(L-k) - mu)

Nothing is made binary between the steps, so F^k is one matrix for each focus. Everything is
integer, the mean too, which is compared and never divided by: no machine flips a bit.
"""

import dataclasses
import functools
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Int64, Integer, UInt8

from stvh_jax.codes.packing import pack
from stvh_jax.errors import UserError

Values = Literal["binary", "01", "real"]


Normalise = Literal["code", "bit"]


# Bits of an entry, and the largest that a real one is rounded to.
ENTRY_BITS = {"binary": 1, "01": 1, "real": 16}


LARGEST_REAL = 2**15 - 1


# Codes derived in one call, of which a block at a time stays in a core's own cache; of few codes
# NumPy makes less ado.
_SLAB, _BLOCK, _FEW = 1 << 16, 512, 256


_FORMAT = "stvh filter matrix 1"


# What reading a damaged or foreign file raises; RuntimeError where it seems encrypted or packed.
_UNREADABLE = (
    ValueError, LookupError, TypeError, OSError, EOFError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class FilterMatrix:
    """A fitted F.

    Attributes:
      factors: one F for all steps (S = 1) or one for each step down from focus L (S = L).
      layers: L, the focus of the codes it is applied to.
      values: what entries may be: -1 and +1 (`binary`), 0 and 1 (`01`), or 16-bit integers that
        stand for `real` numbers up to a common scale, which changes no sign.
      normalise: mu is the mean over the K bits of one `code`, or the mean of each `bit` over the
        base set that F was fitted on.
      means: the latter, rounded up, of each focus 0..L-1; None for the former.
      facts: what it was fitted on, and how well.
    """

    factors: Int64[np.ndarray, "S K K"]
    layers: int
    values: Values = "binary"
    normalise: Normalise = "code"
    means: Int64[np.ndarray, "L K"] | None = None
    facts: Mapping = dataclasses.field(default_factory=dict)

    @property
    def bits(self) -> int:
        """K."""
        return self.factors.shape[-1]

    @property
    def storage_bits(self) -> int:
        """What F takes to store, with its means: K^2 bits for a binary one of all steps."""
        means = 0 if self.means is None else 8 * self.means.nbytes
        return self.factors.size * ENTRY_BITS[self.values] + means

    @functools.cached_property
    def digest(self) -> str:
        """Names F and how it is applied: equal digests derive equal codes."""
        described = (_FORMAT, self.layers, self.values, self.normalise, self.factors.shape)
        hashed = hashlib.sha256(json.dumps(described).encode())
        for array in (self.factors, self.means):
            if array is not None:
                hashed.update(np.ascontiguousarray(array, "<i8").tobytes())
        return hashed.hexdigest()

    @functools.cached_property
    def matrices(self) -> dict[int, Int64[np.ndarray, "K K"]]:
        """F^k of every focus L - k; products of real matrices are rounded to 16 bits again."""
        product = np.eye(self.bits, dtype=np.int64)
        matrices = {}
        for step in range(self.layers):
            product = self.factors[step % len(self.factors)] @ product
            if self.values == "real":
                scale = max(1, int(ceil_quotient(np.abs(product).max(), LARGEST_REAL)))
                product = _rounded_quotient(product, scale)
            matrices[self.layers - 1 - step] = product
        return matrices

    def derive(
        self, codes: UInt8[np.ndarray, "M bytes"], focus: int
    ) -> UInt8[np.ndarray, "M bytes"]:
        """Derives the packed codes of a focus from those of focus L (Eq. 16, 17).

        Args:
          codes: packed codes of focus L.
          focus: 0..L; L returns the codes themselves.

        Raises:
          UserError: the codes have other bits, or there is no such focus.
        """
        if codes.shape[-1] * 8 != self.bits:
            raise UserError(
                f"the codes have {codes.shape[-1] * 8} bits, "
                f"but the filter matrix is of {self.bits}"
            )
        if focus == self.layers:
            return codes
        if focus not in self.matrices:
            raise UserError(
                f"the filter matrix derives foci 0 to {self.layers}; there is no {focus}"
            )
        if focus not in self._tables:
            self._tables[focus] = self._table(focus)
        table, threshold_table, constant = self._tables[focus]
        if len(codes) <= _FEW:
            places = np.arange(codes.shape[1])
            values = table[places, codes].sum(axis=1, dtype=table.dtype)
            sums = threshold_table[places, codes].sum(axis=1, dtype=threshold_table.dtype)
            return pack(values >= ceil_quotient(sums[:, None], self.bits) + constant)
        # Integers of 64 bits are seldom needed, and JAX has none unless told so.
        with jax.enable_x64(True):
            slabs = [
                _derive_slab(
                    _padded(codes[start : start + _SLAB]), table, threshold_table, constant
                )
                for start in range(0, len(codes), _SLAB)
            ]
            return np.concatenate(jax.device_get(slabs))[: len(codes)]

    @functools.cached_property
    def _tables(self) -> dict:
        """The tables of every focus used so far."""
        return {}

    def _table(self, focus: int):
        """Gives what each byte of a code adds to each bit's value, and to the mean over the bits.

        Returns:
          `[bytes, 256, K]` and `[bytes, 256]`, in the smallest integers that hold every sum, and
          a threshold `[K]` that is the same for all codes. A common divisor of everything
          compared is taken out: a binary F then needs 8 bits in the first step.
        """
        matrix = self.matrices[focus]
        signs = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(int) - 1
        table = np.einsum("kpi,vi->pvk", matrix.reshape(self.bits, -1, 8), signs)
        divisor = max(1, int(np.gcd.reduce(table, axis=None)))
        table = table // divisor
        most = int(np.abs(matrix).sum(axis=1).max()) // divisor
        if self.normalise == "code":
            return (
                _narrowest(table, most),
                # Their sum over the bits, and K, by which it is divided, in integers of one kind.
                _narrowest(table.sum(axis=2), self.bits * max(1, most)),
                np.zeros(self.bits, np.int8),
            )
        constant = ceil_quotient(self.means[focus], divisor)
        table = _narrowest(table, max(most, int(np.abs(constant).max())))
        return table, np.zeros(table.shape[:2], np.int16), constant.astype(table.dtype)

    def to_bytes(self) -> bytes:
        """Serialises F; entries of a bit take one bit."""
        buffer = io.BytesIO()
        described = {
            "format": _FORMAT,
            "digest": self.digest,
            "layers": self.layers,
            "values": self.values,
            "normalise": self.normalise,
            "facts": dict(self.facts),
        }
        factors = self.factors.astype(np.int16) if self.values == "real" else pack(self.factors)
        arrays = {"factors": factors} | ({} if self.means is None else {"means": self.means})
        np.savez(buffer, about=np.frombuffer(json.dumps(described).encode(), np.uint8), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str) -> "FilterMatrix":
        """Reads what `to_bytes` made.

        Raises:
          UserError: it is something else, or damaged; says `where` it was found.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                factors = arrays["factors"]
                means = arrays.get("means")
            if about["values"] != "real":
                low = 0 if about["values"] == "01" else -1
                factors = np.where(np.unpackbits(factors, axis=-1), 1, low)
            matrix = cls(
                factors.astype(np.int64),
                about["layers"],
                about["values"],
                about["normalise"],
                means,
                about["facts"],
            )
            if matrix.digest != about["digest"]:
                raise ValueError("its digest is not that of its content")
        except _UNREADABLE as error:
            raise UserError(
                f"{where} is no readable filter matrix ({error}); delete it, and it is fitted anew"
            ) from error
        return matrix


def compression_ratio(*, bits: int, layers: int, clips: int) -> float:
    """Gives Eq. 18: one code and F, in place of a code for each of L layers."""
    return 1 / layers + bits / (clips * layers)


@jax.jit
def _derive_slab(codes, table, threshold_table, constant):
    """Sums the tables over the bytes of each code, compares, and packs the bits."""

    def total(tables, block):
        # Each byte's row is added in turn: XLA then makes one loop of all, with nothing in between.
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
    """Fills codes up to a block or a slab, so that few shapes are compiled."""
    size = _BLOCK if len(codes) <= _BLOCK else _SLAB
    return np.pad(codes, ((0, size - len(codes)), (0, 0)))


def _narrowest(table: Integer[np.ndarray, "..."], most: int) -> Int[np.ndarray, "..."]:
    """Casts to the smallest integers that hold every value up to `most`, and its negative."""
    for kind in (np.int8, np.int16, np.int32, np.int64):
        if most <= np.iinfo(kind).max:
            return table.astype(kind)
    raise ValueError(f"values up to {most} exceed 64 bits; fewer layers or bits are possible")


def ceil_quotient(numerator, denominator: int):
    """Divides integers, rounding up."""
    return -(-numerator // denominator)


def _rounded_quotient(numerator: Int64[np.ndarray, "..."], denominator: int):
    """Divides integers, rounding to the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
