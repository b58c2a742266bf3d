"""The test clips of a run as linear queries, and the base that they search."""

import dataclasses
from collections.abc import Callable

import numpy as np

from experiments.settings import Setting
from experiments.study import Variant
from stvh_jax.codes.linear_query import CodeSpace, LinearQuery
from stvh_jax.inference.encoded_clips import EncodedClips, encode_split, join
from stvh_jax.inference.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class LinearClips:
    """The clips of a run, encoded, with h.

    Attributes:
      queries: the test clips.
      base: what they search by activity.
      everything: all clips.
      activity: the codes at the activity end of the scale.
      visual: those at the visual end; None where no clip shows anything there.
    """

    queries: EncodedClips
    base: EncodedClips
    everything: EncodedClips
    activity: CodeSpace
    visual: CodeSpace | None

    @classmethod
    def of(cls, encoder: Encoder, dataset) -> "LinearClips":
        """Encodes the clips of a data set."""
        parts = {
            split: encode_split(encoder, dataset, split, keep_relaxed=True)
            for split in dataset.splits
        }
        data = encoder.config.data
        return cls(
            queries=join(parts, data.test_split),
            base=join(parts, data.train_split),
            everything=EncodedClips.concatenate(list(parts.values())),
            activity=_space(encoder, encoder.foci[-1]),
            visual=None if encoder.bit_weights is None else _space(encoder, 0),
        )

    def weights(self, make: Callable[[int], LinearQuery], space: CodeSpace) -> np.ndarray:
        """Gives what each bit weighs for each query, which `make` makes of its place."""
        rows = [
            space.bit_weights * space.unit(make(place).direction(space))
            for place in range(len(self.queries))
        ]
        return np.array(rows)

    def codes_of(self, place: int) -> dict[int, np.ndarray]:
        """Gives the codes of a query."""
        return {focus: codes[place] for focus, codes in self.queries.codes.items()}

    def relaxed_of(self, place: int) -> dict[int, np.ndarray]:
        """Gives h of a query."""
        assert self.queries.relaxed is not None
        return {focus: h[place] for focus, h in self.queries.relaxed.items()}


def ranked_variants(setting: Setting) -> list[Variant]:
    """STVH; where clips show more than boxes, M-STVH with one code, which has a visual end."""
    if setting.has_appearance or setting.has_frames:
        return [Variant("one graded code", {"model.name": "mstvh", "model.objective": "graded"})]
    return [Variant("STVH", {"model.name": "stvh"})]


def _space(encoder: Encoder, focus: int) -> CodeSpace:
    last, weights = encoder.foci[-1], encoder.bit_weights
    of_bits = np.ones(encoder.bits) if weights is None else weights.weights[focus]
    return CodeSpace(
        focus=last,
        bit_weights=of_bits.astype(np.float64),
        readout=encoder.readout,
        codes_of=lambda codes: codes[last],
    )
