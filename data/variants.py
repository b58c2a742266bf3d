"""The data sets and the variants they can be prepared in.

A variant's name is one of CONTENTS, followed by every choice that is not the default, as in
`boxes_only-five`.
"""

import dataclasses
import importlib
from collections.abc import Mapping

from stvh_jax.errors import UserError

DATASETS = ("volleyball", "collective_activity", "collective_activity_extended")
# What clips have beside labels: boxes and pixels; boxes alone; boxes, and features of whole frames
# that were computed elsewhere. With the options of `python -m data prepare` that ask for it.
CONTENTS = {
    "frames": "",
    "boxes_only": " --boxes-only",
    "boxes_and_appearance": " --boxes-only --features FILE.npz",
}
# What the clips of one's own footage may have, with the options of `python -m data import`.
OWN_CONTENTS = {"boxes_only": "", "frames": " --image-size HEIGHT WIDTH"}
# The name of such a set, unless another is given.
OWN_NAME = "own"


def options_of(dataset: str) -> Mapping[str, tuple[str, ...]]:
    """Returns the choices of each option that a data set is prepared with, the default first.

    Raises:
      UserError: there is no such data set.
    """
    if dataset not in DATASETS:
        raise UserError(
            f"data set {dataset!r} is not one of: {', '.join(DATASETS)}; python -m data import "
            "makes one of your own"
        )
    return importlib.import_module(f"data.{dataset}.constants").OPTIONS


@dataclasses.dataclass(frozen=True)
class Variant:
    """How a data set is prepared.

    Attributes:
      dataset: one of DATASETS.
      content: one of CONTENTS.
      choices: option -> choice, for every option of the data set.
    """

    dataset: str
    content: str
    choices: Mapping[str, str]

    @classmethod
    def parse(cls, dataset: str, name: str) -> "Variant":
        """Reads the name of a variant.

        Raises:
          UserError: there is no such data set or variant.
        """
        options = options_of(dataset)
        content, *named = name.split("-")
        chosen = {
            option: next((choice for choice in choices if choice in named), choices[0])
            for option, choices in options.items()
        }
        variant = cls(dataset, content, chosen)
        if content not in CONTENTS or variant.name != name:
            endings = [c for choices in options.values() for c in choices[1:]]
            raise UserError(
                f"data variant {name!r} of {dataset} is not one of: {', '.join(CONTENTS)}"
                + (f", followed by any of -{', -'.join(endings)} in this order" if endings else "")
            )
        return variant

    @property
    def name(self) -> str:
        """The name of the variant."""
        return "-".join([self.content, *self._changed.values()])

    @property
    def flags(self) -> str:
        """The options of `python -m data prepare` that prepare it."""
        changed = [f" --{option} {choice}" for option, choice in self._changed.items()]
        return CONTENTS[self.content] + "".join(changed)

    @property
    def _changed(self) -> dict[str, str]:
        options = options_of(self.dataset)
        return {o: choice for o, choice in self.choices.items() if choice != options[o][0]}
