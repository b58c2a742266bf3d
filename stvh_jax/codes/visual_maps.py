"""What makes the visual bits of a graded code of what clips show: e = (x - m) W, v = e P + o.

They are fitted to the training clips (`training.visual_fitting`). An archive that is searched needs
no generalisation to other matches: `adapt` takes its own principal directions, and the rotation
that brings them nearest to bits (ITQ, Gong et al., "Iterative Quantization", 2013).
"""

import dataclasses

import numpy as np
from jaxtyping import Float

_ROTATION_STEPS = 50


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


def adapt(
    embedded: Float[np.ndarray, "M E"], bits: int
) -> tuple[Float[np.ndarray, "E V"], Float[np.ndarray, "V"]]:
    """Fits P and o to an archive: its principal directions, rotated towards bits (ITQ).

    Where the archive has fewer directions than bits, the others are made of them by the rotation.

    Args:
      embedded: e of the clips of the archive.
      bits: V.
    """
    mean = embedded.mean(axis=0)
    centred = embedded - mean
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    projection = padded(directions[:bits].T, bits)
    reduced = centred @ projection
    rotation = np.linalg.qr(np.random.RandomState(0).randn(bits, bits))[0]
    for _ in range(_ROTATION_STEPS):
        signs = np.where(reduced @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(signs.T @ reduced)
        rotation = (left @ right).T
    projection = projection @ rotation
    return projection, -mean @ projection


def padded(columns: Float[np.ndarray, "C e"], features: int) -> Float[np.ndarray, "C E"]:
    """Adds columns of zeros."""
    return np.pad(columns, ((0, 0), (0, features - columns.shape[1])))
