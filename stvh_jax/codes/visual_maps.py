"""What makes the visual bits of a graded code of what clips show: e = (x - m) W, v = e P + o.

They are fitted to the training clips (`training.visual_fitting`). An archive that is searched needs
no generalisation to other matches: `fit_adaptation` takes its own principal directions, and the
rotation that brings them nearest to bits (ITQ, Gong et al., "Iterative Quantization", 2013).
"""

import dataclasses
import functools
import hashlib
import io

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from stvh_jax import files
from stvh_jax.errors import UserError

_ROTATION_STEPS = 50
# An adaptation has a quarter of a MiB or so.
_MOST_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class VisualMaps:
    """What makes the visual bits of what clips show.

    Attributes:
      mean: `[C]`, m.
      whitening: `[C, E]`, W.
      projection: `[E, V]`, P.
      offset: `[V]`, o.
    """

    mean: np.ndarray
    whitening: np.ndarray
    projection: np.ndarray
    offset: np.ndarray

    def embed(self, views: Float[np.ndarray, "M S C"]) -> Float[np.ndarray, "M E"]:
        """Whitens what clips show."""
        return (views.mean(axis=1) - self.mean) @ self.whitening


@dataclasses.dataclass(frozen=True, eq=False)
class Adaptation:
    """Visual bits fitted to an archive: P and o in place of those that were trained.

    Attributes:
      projection: `[E, V]`, P.
      offset: `[V]`, o.
    """

    projection: Float[np.ndarray, "E V"]
    offset: Float[np.ndarray, "V"]

    @property
    def bits(self) -> int:
        """V, how many visual bits there are."""
        return self.projection.shape[1]

    @functools.cached_property
    def number(self) -> int:
        """Tells it from all others: 63 bits of the SHA-256 of its content, and never 0."""
        return int.from_bytes(self._digest[:8], "big") >> 1 or 1

    @property
    def _digest(self) -> bytes:
        sizes = np.array(self.projection.shape, np.int64)
        content = [sizes, np.float32(self.projection), np.float32(self.offset)]
        return hashlib.sha256(b"".join(array.tobytes() for array in content)).digest()

    def bits_of(self, embedded: Float[np.ndarray, "M E"]) -> Bool[np.ndarray, "M V"]:
        """Makes the visual bits of what clips show.

        Raises:
          UserError: it has other features than those that this was fitted to.
        """
        if embedded.ndim != 2 or embedded.shape[1] != len(self.projection):
            raise UserError(
                f"what the clips show has shape {embedded.shape}; this adaptation takes "
                f"{len(self.projection)} features of each clip"
            )
        return embedded @ self.projection + self.offset >= 0

    def to_bytes(self) -> bytes:
        """Serialises it."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            projection=np.float32(self.projection),
            offset=np.float32(self.offset),
            digest=np.frombuffer(self._digest, np.uint8),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str, cure: str) -> "Adaptation":
        """Reads what `to_bytes` made.

        Args:
          content: the bytes.
          where: where they are from, for the error.
          cure: what to do if they are damaged.

        Raises:
          Damaged: the bytes are damaged or something else.
        """
        with files.reading(where, "a readable adaptation", cure):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if sum(member.file_size for member in arrays.zip.infolist()) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
                found = cls(arrays["projection"], arrays["offset"])
                digest = arrays["digest"].tobytes()
            sizes = found.projection.shape, found.offset.shape
            if len(sizes[0]) != 2 or sizes[0][1:] != sizes[1]:
                raise ValueError(f"its arrays have shapes {sizes}")
            if found._digest != digest:
                raise ValueError("its digest does not match its content")
        return found


def fit_adaptation(embedded: ArrayLike, bits: int) -> Adaptation:
    """Fits P and o to an archive: its principal directions, rotated towards bits (ITQ).

    Where the archive has fewer directions than bits, the others are made of them by the rotation.

    Args:
      embedded: `[M, E]`, e of the clips of the archive.
      bits: V.

    Raises:
      UserError: there are no clips, or a feature is NaN or infinite.
    """
    shown = _checked(embedded)
    mean = shown.mean(axis=0)
    centred = shown - mean
    # The directions by their variance, without the M x M of an SVD.
    _, directions = np.linalg.eigh(centred.T @ centred)
    projection = padded(directions[:, ::-1][:, :bits], bits)
    reduced = centred @ projection
    rotation = np.linalg.qr(np.random.RandomState(0).randn(bits, bits))[0]
    for _ in range(_ROTATION_STEPS):
        signs = np.where(reduced @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(signs.T @ reduced)
        rotation = (left @ right).T
    projection = projection @ rotation
    offset = -mean @ projection
    return Adaptation(projection.astype(np.float32), offset.astype(np.float32))


def _checked(embedded: ArrayLike) -> Float[np.ndarray, "M E"]:
    """Gives what clips show as numbers of 64 bits.

    Raises:
      UserError: it is something else.
    """
    values = np.asarray(embedded)
    if values.ndim != 2 or not values.size or values.dtype.kind != "f":
        raise UserError(
            f"what the clips show is {values.dtype} {values.shape}; give the `embedded` of all "
            "clips, floating-point numbers [M, E]"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UserError("what the clips show has NaN or infinity in it")
    return values


def padded(columns: Float[np.ndarray, "C e"], features: int) -> Float[np.ndarray, "C E"]:
    """Adds columns of zeros."""
    return np.pad(columns, ((0, 0), (0, features - columns.shape[1])))
