"""What a fusion makes of the actors of a batch of clips."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Fused(NamedTuple):
    """Actor features joined with position.

    Attributes:
      layers: the features after each of the L layers, f_(1) to f_(L).
      temporal: f_T of section 4.4, what the temporal half of the last layer gives; None where a
        layer has no such half.
    """

    layers: list[Float[Array, "B T N D"]]
    temporal: Float[Array, "B T N D"] | None = None
