"""What the paper's equations take, counted from them and not from the code: the products alone.

A product of an m x k and a k x n matrix is 2 m k n operations. A gradient takes two products for
each of the forward pass, so that a step of training is counted as three forward passes.
"""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of M-STVH on precomputed actor features.

    Attributes:
      batch: B, clips.
      frames: T.
      actors: N.
      features: D.
      layers: L.
      bits: K.
      activities: G.
      actions: A.
      ffn: the hidden size of a feed-forward network, in D.
    """

    batch: int
    frames: int
    actors: int
    features: int
    layers: int
    bits: int
    activities: int
    actions: int
    ffn: int = 2


def attention(sizes: Sizes, places: int) -> int:
    """Counts Eq 4 for every actor in every frame, each looking at `places` places.

    Three projections (D^2); f W2 (f W3)^T and the mixing of f W1 (places D); G W and AT_v AT_p
    (places^2).
    """
    tokens, features = sizes.batch * sizes.frames * sizes.actors, sizes.features
    return 2 * tokens * (3 * features**2 + 2 * places * features + 2 * places**2)


def forward(sizes: Sizes) -> int:
    """Counts what makes every code and score of a batch (Eq 3 to 5 and 10 to 12)."""
    tokens, features, bits = (
        sizes.batch * sizes.frames * sizes.actors,
        sizes.features,
        sizes.bits,
    )
    layer = attention(sizes, sizes.frames) + attention(sizes, sizes.actors)
    layer += 2 * tokens * 2 * sizes.ffn * features**2
    head = 2 * sizes.batch * bits * (features + sizes.activities)
    actions = 2 * sizes.batch * sizes.actors * features * sizes.actions
    embedding, visual = 2 * tokens * features**2, 2 * sizes.batch * features * bits
    return embedding + sizes.layers * (layer + head) + actions + visual


def training(sizes: Sizes) -> int:
    """Counts a step: three forward passes, and the losses that compare the clips of a batch.

    These are Eq 7 at every layer (h h^T and b b^T) and Eq 8, whose codes are two graph convolutions
    of the actions: A X U, then A relu(.) V, of which only the mean is read.
    """
    bits, pairs = sizes.bits, sizes.batch**2
    codes = 2 * pairs * bits * (2 * sizes.layers + 1)
    nodes = sizes.batch * sizes.actors
    convolutions = 2 * nodes * sizes.actions * bits  # X U, alike in all frames
    convolutions += 2 * nodes * sizes.frames * sizes.actors * bits  # A (X U)
    convolutions += 2 * nodes * sizes.frames * bits + 2 * sizes.batch * bits**2  # mean(A .) V
    return 3 * (forward(sizes) + codes + convolutions)


def slope(sizes: Sequence[float], values: Sequence[float], *, last: int = 3) -> float:
    """Fits the exponent e of values ~ sizes^e to the `last` of the largest sizes.

    By least squares between their logarithms; NaN where a value is not above zero.
    """
    if min(values[-last:]) <= 0:
        return math.nan
    x, y = (list(map(math.log, row[-last:])) for row in (sizes, values))
    middle, height = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - middle) ** 2 for one in x)
    return sum((one - middle) * (other - height) for one, other in zip(x, y)) / spread
