"""The filter matrix F (5.4) derives the codes of all other foci from the one that is stored.

Only a clip's code of the last focus L is stored. Each multiplication by F goes one focus back
(Eq. 16), and the signs of the values minus their mean are the code of that focus (Eq. 17):

    b'_(L-k) = F^k b_(L),    b~_(L-k) = sign(b'_(L-k) - mu)

Values stay integers between the steps, so that F^k is one matrix for each focus. Means are
compared as integers, too, without a division: every machine derives the same bits.
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, Int64, Integer, UInt8

from stvh_jax import files
from stvh_jax.codes.packing import check_codes, pack
from stvh_jax.errors import UserError

Values = Literal["binary", "01", "real"]
Normalise = Literal["code", "bit"]
# The options of `filter_fitting.fit`, as they are by default.
DEFAULTS: dict[str, Any] = {"values": "binary", "per_step": False, "normalise": "code"}
# How many bits an entry takes, and the largest value that real entries are scaled to.
ENTRY_BITS = {"binary": 1, "01": 1, "real": 16}
LARGEST_REAL = 2**15 - 1
# For so few codes plain NumPy is faster: there is nothing to compile or to transfer.
_FEW = 256
_FORMAT = "stvh filter matrix 1"
# Far more than any F takes, and what a small archive may announce.
_MOST_BYTES = 256 << 20
_MOST_LAYERS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class FilterMatrix:
    """A fitted F.

    Attributes:
      factors: one F for all steps (S = 1), or one for each step down from focus L (S = L).
      layers: L, the focus of the codes that F is applied to.
      values: the entries: -1 and +1 (`binary`), 0 and 1 (`01`), or 16-bit integers that stand for
        `real` numbers up to a common scale, which changes no sign.
      normalise: mu is the mean over the K bits of one `code`, or the mean of each `bit` over the
        base set that F was fitted on.
      means: the means of each bit, rounded up, for each focus 0..L-1; None if mu is that of a code.
      facts: what F was fitted on, and how well.
    """

    factors: Int64[np.ndarray, "S K K"]
    layers: int
    values: Values = "binary"
    normalise: Normalise = "code"
    means: Int64[np.ndarray, "L K"] | None = None
    facts: Mapping = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        steps = "all steps" if len(self.factors) == 1 else "each step"
        return (
            f"FilterMatrix({self.bits} bits, {self.values}, for {steps}, "
            f"derives foci 0 to {self.layers - 1} from {self.layers})"
        )

    @property
    def bits(self) -> int:
        """The length K of a code."""
        return self.factors.shape[-1]

    @property
    def storage_bits(self) -> int:
        """How many bits F and its means take to store: K^2 for one binary F for all steps."""
        means = 0 if self.means is None else 8 * self.means.nbytes
        return self.factors.size * ENTRY_BITS[self.values] + means

    @functools.cached_property
    def digest(self) -> str:
        """A digest of F and of how it is applied: equal digests derive equal codes."""
        described = (_FORMAT, self.layers, self.values, self.normalise, self.factors.shape)
        hashed = hashlib.sha256(json.dumps(described).encode())
        for array in (self.factors, self.means):
            if array is not None:
                hashed.update(np.ascontiguousarray(array, "<i8").tobytes())
        return hashed.hexdigest()

    @functools.cached_property
    def matrices(self) -> dict[int, Int64[np.ndarray, "K K"]]:
        """F^k for every focus L - k; products of real matrices are rounded to 16 bits again."""
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
          focus: 0..L; for L the codes themselves are returned.

        Raises:
          UserError: these are no codes, or of another length, or there is no such focus.
        """
        check_codes(codes, "codes")
        if codes.shape[-1] * 8 != self.bits:
            raise UserError(
                f"the codes have {codes.shape[-1] * 8} bits, "
                f"but the filter matrix is for {self.bits}"
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
        from stvh_jax.codes import filter_derivation  # it imports JAX

        return filter_derivation.derive(codes, table, threshold_table, constant)

    @functools.cached_property
    def _tables(self) -> dict:
        """The tables of `_table` for every focus used so far."""
        return {}

    def _table(self, focus: int):
        """Tabulates what each byte of a code adds to the value of each bit, and to their mean.

        Returns:
          `[bytes, 256, K]` and `[bytes, 256]`, in the smallest integers that hold every sum, and
          a threshold `[K]` that is the same for all codes. A common divisor of all values is taken
          out, so that 8 bits are enough for the first step of a binary F.
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
                # Integers that hold the sum over the bits as well as K, by which it is divided.
                _narrowest(table.sum(axis=2), self.bits * max(1, most)),
                np.zeros(self.bits, np.int8),
            )
        assert self.means is not None, "normalise is 'bit'"
        constant = ceil_quotient(self.means[focus], divisor)
        table = _narrowest(table, max(most, int(np.abs(constant).max())))
        return table, np.zeros(table.shape[:2], np.int16), constant.astype(table.dtype)

    def check(self) -> None:
        """Checks that the parts fit each other.

        Raises:
          ValueError: they do not.
        """
        if self.values not in ENTRY_BITS or self.normalise not in ("code", "bit"):
            raise ValueError(f"unknown values {self.values!r} or normalise {self.normalise!r}")
        if not isinstance(self.layers, int) or not 1 <= self.layers <= _MOST_LAYERS:
            raise ValueError(f"it has {self.layers!r} layers")
        steps, bits = len(self.factors), self.bits
        if self.factors.shape != (steps, bits, bits) or steps not in (1, self.layers) or not bits:
            raise ValueError(f"its factors have shape {self.factors.shape}")
        means = None if self.means is None else (self.means.dtype, self.means.shape)
        wanted = (np.dtype(np.int64), (self.layers, bits)) if self.normalise == "bit" else None
        if means != wanted or not isinstance(self.facts, Mapping):
            raise ValueError("its means do not fit its factors, or its facts are damaged")

    def to_bytes(self) -> bytes:
        """Serialises F; entries with two values take one bit each."""
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
        arrays: dict[str, Any] = {
            "about": np.frombuffer(json.dumps(described).encode(), np.uint8),
            "factors": factors,
        }
        if self.means is not None:
            arrays["means"] = self.means
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str) -> "FilterMatrix":
        """Reads what `to_bytes` made.

        Args:
          content: the bytes.
          where: the file they are from, for the error.

        Raises:
          Damaged: the bytes are damaged or something else.
        """
        cure = "delete it, and it will be fitted again"
        with files.reading(where, "a readable filter matrix", cure):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if sum(member.file_size for member in arrays.zip.infolist()) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
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
                raise ValueError("its digest does not match its content")
            matrix.check()
        return matrix


def compression_ratio(*, bits: int, layers: int, clips: int) -> float:
    """Computes Eq. 18: the size of one code per clip and F, relative to a code for each layer."""
    return 1 / layers + bits / (clips * layers)


def _narrowest(table: Integer[np.ndarray, "..."], most: int) -> Int[np.ndarray, "..."]:
    """Casts to the smallest integers that hold every value from -`most` to `most`."""
    for kind in (np.int8, np.int16, np.int32, np.int64):
        if most <= np.iinfo(kind).max:
            return table.astype(kind)
    raise ValueError(f"values up to {most} exceed 64 bits; use fewer layers or bits")


def ceil_quotient(numerator, denominator: int):
    """Divides integers, rounding up."""
    return -(-numerator // denominator)


def _rounded_quotient(numerator: Int64[np.ndarray, "..."], denominator: int):
    """Divides integers, rounding to the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
