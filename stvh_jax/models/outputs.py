"""What a model returns for a batch of clips."""

import dataclasses

import flax.struct

from stvh_jax.clips import Leaf


@flax.struct.dataclass
class Outputs:
    """What a model says of B clips, for its F foci (M-STVH: 0..L, STVH: L alone).

    Attributes:
      relaxed: `[F, B, K]`, h, the codes before the sign, in (-1, 1).
      activity_logits: `[H, B, G]`, activity scores read from h, for the H foci that learn them
        (M-STVH: 1..L).
      action_logits: `[B, N, A]`, action scores, in the order the clip listed its actors.
      relation: `[B, K]`, a, the clip's code by the relations of its actors' actions (for Eq 8).
      reconstruction_error: `[B]`, mean squared error of the decoded features (Eq 13), zero
        without a decoder.
      visual: `[B, V]`, the visual bits of a graded code before the sign, or None. The relaxed codes
        are of the activity's bits alone, which stand before these.
      embedded: `[B, E]`, the whitened features that these are made of, or None.
      shown: `[B, S, C]`, what S views of each clip show, from which the visual end is fitted, or
        None.
      prefix_logits: of nested codes, the activity scores read from the first bits alone, by how
        many they are.

    A model without codes leaves all but the logits None, one without actors what is theirs.
    """

    activity_logits: Leaf
    action_logits: Leaf = None
    relaxed: Leaf = None
    relation: Leaf = None
    reconstruction_error: Leaf = None
    visual: Leaf = None
    embedded: Leaf = None
    shown: Leaf = None
    prefix_logits: dict = flax.struct.field(default_factory=dict)

    def prefix(self, bits: int) -> "Outputs":
        """Takes the nested codes of the first `bits` bits, and what is read from them."""
        if bits == self.relaxed.shape[-1]:
            return dataclasses.replace(self, prefix_logits={})
        return dataclasses.replace(
            self,
            relaxed=self.relaxed[..., :bits],
            relation=None if self.relation is None else self.relation[..., :bits],
            activity_logits=self.prefix_logits[bits],
            prefix_logits={},
        )

    def nested(self) -> list["Outputs"]:
        """Gives the codes of every length, each as if it were the only one."""
        return [*map(self.prefix, self.prefix_logits), dataclasses.replace(self, prefix_logits={})]
