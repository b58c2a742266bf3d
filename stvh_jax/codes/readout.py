"""What reads activities from codes: the classifier of the last focus, b @ kernel + bias.

An index keeps it beside its codes, so that an activity can be searched for by its name.
"""

import base64
import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from stvh_jax.errors import UserError, shown

# The most classes that are kept: far more than any data set has.
_MOST_CLASSES = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Readout:
    """Reads the scores of G activities from a code of K bits.

    Attributes:
      names: of the activities.
      kernel: `[K, G]`.
      bias: `[G]`.
    """

    names: tuple[str, ...]
    kernel: np.ndarray
    bias: np.ndarray

    def __post_init__(self):
        """Checks them.

        Raises:
          UserError: they do not fit, or are not finite.
        """
        names = tuple(self.names)
        kernel, bias = (np.asarray(array) for array in (self.kernel, self.bias))
        kinds = {kernel.dtype.kind, bias.dtype.kind}
        if kinds - set("fiu") or kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
            raise UserError(
                f"a readout has a kernel {kernel.shape} and a bias {bias.shape}; give numbers "
                "[K, G] and [G]"
            )
        texts = all(isinstance(name, str) and name for name in names)
        if not texts or len(set(names)) < len(names) or len(names) != len(bias):
            raise UserError(
                f"a readout of {len(bias)} activities has the names {shown(list(names))}; give one "
                "for each"
            )
        if not 1 <= len(names) <= _MOST_CLASSES:
            raise UserError(f"a readout of {len(names)} activities; give 1 to {_MOST_CLASSES}")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise UserError("a readout has numbers that are not finite")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "kernel", kernel.astype(np.float32))
        object.__setattr__(self, "bias", bias.astype(np.float32))

    @property
    def bits(self) -> int:
        """K, the length of the codes."""
        return len(self.kernel)

    def probabilities(self, code: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M G"]:
        """Reads the probabilities of the activities from codes, of -1 and +1, or relaxed."""
        scores = code @ self.kernel.astype(np.float64) + self.bias
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def direction(self, probabilities: Float[np.ndarray, "any"]) -> Float[np.ndarray, "K"]:
        """Gives what codes of these activities have in common, and those of others have not.

        The columns of the kernel, less their mean, weighed by the probabilities.

        Raises:
          UserError: there are probabilities of another number of activities.
        """
        if probabilities.shape != self.bias.shape:
            raise UserError(
                f"{len(probabilities)} probabilities; this index knows {len(self.names)} activities"
            )
        kernel = self.kernel.astype(np.float64)
        return (kernel - kernel.mean(axis=1, keepdims=True)) @ probabilities

    def one_hot(self, activity: str) -> Float[np.ndarray, "G"]:
        """Gives the probabilities of a clip that is of one activity.

        Raises:
          UserError: the activity is not known.
        """
        if activity not in self.names:
            raise UserError(
                f"there is no activity {shown(activity)}; this index knows {', '.join(self.names)}"
            )
        return (np.array(self.names) == activity).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """Gives plain values."""
        return {
            "names": list(self.names),
            "kernel": _to_text(self.kernel),
            "bias": _to_text(self.bias),
        }

    @classmethod
    def from_json(cls, values: Any) -> "Readout":
        """Reads what `to_json` gave.

        Raises:
          UserError: it is something else.
        """
        try:
            names, bias = values["names"], _from_text(values["bias"])
            if not isinstance(names, list):
                raise TypeError("its names are not a list")
            return cls(tuple(names), _from_text(values["kernel"]).reshape(-1, len(bias)), bias)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            raise UserError(f"a readout cannot be read ({error})") from error


def _to_text(array: Shaped[np.ndarray, "..."]) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def _from_text(text: str) -> Float[np.ndarray, "n"]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
