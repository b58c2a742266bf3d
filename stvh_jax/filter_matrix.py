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
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from jaxtyping import Int, Int64, Integer, UInt8

from stvh_jax import progress as progress_line
from stvh_jax.codes import pack, unpack
from stvh_jax.errors import UserError

Values = Literal["binary", "01", "real"]
Normalise = Literal["code", "bit"]

# What `fit` does unless told otherwise.
DEFAULTS = {"values": "binary", "per_step": False, "normalise": "code"}
# The most clips that F is fitted on; of a larger base set every so-manieth is taken.
_MOST_CLIPS = 1 << 14
_STEPS, _STEPS_AT_ONCE, _LEARNING_RATE = 1000, 50, 1e-2
# Bits of an entry, and the largest that a real one is rounded to.
_ENTRY_BITS = {"binary": 1, "01": 1, "real": 16}
_LARGEST_REAL = 2**15 - 1
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
        return self.factors.size * _ENTRY_BITS[self.values] + means

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
                scale = max(1, int(_ceil_quotient(np.abs(product).max(), _LARGEST_REAL)))
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
            return pack(values >= _ceil_quotient(sums[:, None], self.bits) + constant)
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
        constant = _ceil_quotient(self.means[focus], divisor)
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


def load_or_fit(
    run: epath.Path,
    base_codes: Callable[[], Mapping[int, UInt8[np.ndarray, "M bytes"]]],
    *,
    checkpoint: str,
    base_split: str,
    values: Values = "binary",
    per_step: bool = False,
    normalise: Normalise = "code",
    seed: int = 0,
) -> FilterMatrix:
    """Loads the F of a run's checkpoint, or fits it and saves it beside the checkpoint.

    Args:
      run: the run's folder; F is kept in its folder `filter_matrix/`.
      base_codes: makes the packed codes of the base set, of every focus, if F is to be fitted.
      checkpoint: names the checkpoint (`Encoder.name`).
      base_split: the name of the base set.
      values: see `fit`.
      per_step: see `fit`.
      normalise: see `fit`.
      seed: see `fit`.

    Raises:
      UserError: the file in the run is damaged, or the run cannot be written.
    """
    kind = "per_step" if per_step else "shared"
    path = run / "filter_matrix" / f"{checkpoint}-{base_split}-{values}-{kind}-{normalise}.npz"
    if path.exists():
        return FilterMatrix.from_bytes(path.read_bytes(), where=str(path))
    options = {"values": values, "per_step": per_step, "normalise": normalise, "seed": seed}
    matrix = fit(
        base_codes(),
        **options,
        progress=lambda done, steps, loss: progress_line.show(
            "fitting the filter matrix", steps, done, loss
        ),
    )
    facts = dict(matrix.facts) | {"checkpoint": checkpoint, "base_split": base_split}
    matrix = dataclasses.replace(matrix, facts=facts)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(matrix.to_bytes())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write to {run} ({error.strerror or error})") from error
    return matrix


def fit(
    codes: Mapping[int, UInt8[np.ndarray, "M bytes"]],
    *,
    values: Values = "binary",
    per_step: bool = False,
    normalise: Normalise = "code",
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> FilterMatrix:
    r"""Fits F so that what it derives is near the network's own codes of every focus (5.4).

    $$\min_F \frac{1}{L} \sum_{\tau < L} \left\| \frac{b'_\tau - \mu}{\sigma} - b_\tau \right\|^2$$

    by Adam on all clips at once; F is made binary going forward, and its gradient is that of the
    real matrix behind it (straight-through).

    Args:
      codes: packed codes of the base set, of every focus 0..L.
      values: see `FilterMatrix`.
      per_step: an F for each step in place of one for all.
      normalise: see `FilterMatrix`.
      seed: F is a function of it and the codes.
      progress: called with the steps done, all steps and the loss, now and then.

    Raises:
      ValueError: an option is none of its choices, or a focus is missing.
    """
    layers = max(codes)
    if sorted(codes) != list(range(layers + 1)) or layers < 1:
        raise ValueError(f"codes of foci {sorted(codes)}; give every one from 0 to the last")
    if values not in _ENTRY_BITS or normalise not in ("code", "bit"):
        raise ValueError(f"values={values!r}, normalise={normalise!r}; see FilterMatrix")
    clips = len(codes[layers])
    chosen = np.linspace(0, clips - 1, min(clips, _MOST_CLIPS)).round().astype(int)
    stored, *targets = (unpack(codes[focus][chosen]) for focus in range(layers, -1, -1))
    bits = stored.shape[1]
    axis = -1 if normalise == "code" else 0

    def loss_of(shadow):
        matrix, value, loss = _as_values(shadow, values), jnp.asarray(stored), 0.0
        for step, target in enumerate(targets):
            value = value @ matrix[step % len(matrix)].T
            centred = value - value.mean(axis, keepdims=True)
            deviation = jnp.sqrt((centred**2).mean(axis, keepdims=True) + 1e-6)
            loss += jnp.mean((centred / deviation - target) ** 2) / layers
        return loss

    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))

    def one_step(carry, _):
        shadow, state = carry
        loss, gradient = jax.value_and_grad(loss_of)(shadow)
        updates, state = optimizer.update(gradient, state, shadow)
        shadow = optax.apply_updates(shadow, updates)
        # Beyond 1 the matrix behind a binary one would only be slower to change its mind.
        return (shadow if values == "real" else jnp.clip(shadow, -1, 1), state), loss

    @jax.jit
    def some_steps(carry):
        return jax.lax.scan(one_step, carry, length=_STEPS_AT_ONCE)

    shape = (layers if per_step else 1, bits, bits)
    shadow = 0.01 * jax.random.normal(jax.random.key(seed), shape)
    carry = shadow, optimizer.init(shadow)
    for done in range(_STEPS_AT_ONCE, _STEPS + 1, _STEPS_AT_ONCE):
        carry, losses = some_steps(carry)
        if progress:
            progress(done, _STEPS, float(losses[-1]))
    fitted = np.asarray(_as_values(carry[0], values), np.float64)
    if values == "real":
        fitted *= _LARGEST_REAL / np.abs(fitted).max()
    matrix = FilterMatrix(
        np.rint(fitted).astype(np.int64),
        layers,
        values,
        normalise,
        facts={"clips": len(chosen), "seed": seed, "steps": _STEPS, "loss": float(losses[-1])},
    )
    return (
        matrix if normalise == "code" else dataclasses.replace(matrix, means=_means(matrix, codes))
    )


def _as_values(shadow, values: Values):
    """Gives the entries that a shadow stands for, with its gradient."""
    if values == "real":
        return shadow
    low = -1.0 if values == "binary" else 0.0
    return shadow + jax.lax.stop_gradient(jnp.where(shadow >= 0, 1.0, low) - shadow)


def _means(matrix: FilterMatrix, codes) -> Int64[np.ndarray, "L K"]:
    """Gives the mean of each bit's value over the base set, rounded up, exactly."""
    stored = codes[matrix.layers]
    ones = np.unpackbits(stored, axis=-1).sum(axis=0, dtype=np.int64)
    sums = [matrix.matrices[focus] @ (2 * ones - len(stored)) for focus in range(matrix.layers)]
    return _ceil_quotient(np.stack(sums), len(stored))


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
        means = _ceil_quotient(total(threshold_table, block), table.shape[-1])
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


def _ceil_quotient(numerator, denominator: int):
    """Divides integers, rounding up."""
    return -(-numerator // denominator)


def _rounded_quotient(numerator: Int64[np.ndarray, "..."], denominator: int):
    """Divides integers, rounding to the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
