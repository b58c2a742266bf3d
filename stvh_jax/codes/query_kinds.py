"""What can be asked for: a clip by its code or by h, a class, examples and counter-examples.

Each is a `LinearQuery`. The functions check what they are given; what they make can be added.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from stvh_jax.codes.linear_query import Codes, CodeSpace, LinearQuery
from stvh_jax.codes.packing import check_codes, unpack
from stvh_jax.codes.readout import Readout
from stvh_jax.errors import UserError, shown

# How far examples may lead away from the query that they are added to, which has the length of one;
# chosen on validation clips (docs/asking.md).
_FREEDOM = 5.0
# How many examples may be given.
_MOST_EXAMPLES = 10_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FromCodes(LinearQuery):
    """The signs of a code."""

    codes: Codes

    @property
    def name(self) -> str:
        """Says what is asked for."""
        return "Hamming"

    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Gives the direction at a focus."""
        return unpack(space.codes_of(self.codes)).astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FromClip(LinearQuery):
    """What the network said before the signs were taken."""

    relaxed: Mapping[int, Float[np.ndarray, "K"]]

    @property
    def name(self) -> str:
        """Says what is asked for."""
        return "asymmetric"

    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Gives the direction at a focus."""
        if space.focus not in self.relaxed:
            raise UserError(
                f"the network says nothing of focus {space.focus}; search by the codes, which are "
                "derived there"
            )
        return self.relaxed[space.focus].astype(np.float64)


class _OfClasses(LinearQuery):
    """Activities, each by its probability: nothing where none are read from the codes."""

    @abc.abstractmethod
    def probabilities_at(self, space: CodeSpace, readout: Readout) -> Float[np.ndarray, "G"]:
        """Gives the probabilities of the activities that the readout knows."""

    @property
    def name(self) -> str:
        """Says what is asked for."""
        return "its class"

    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Gives the direction at a focus."""
        if space.readout is None:
            return np.zeros(len(space.bit_weights))
        return space.readout.direction(self.probabilities_at(space, space.readout))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TowardClass(_OfClasses):
    """The activities that a clip is thought to be of."""

    probabilities: Float[np.ndarray, "G"]

    def probabilities_at(self, space: CodeSpace, readout: Readout) -> Float[np.ndarray, "G"]:
        """Gives those that are known."""
        return self.probabilities


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TowardClassOf(_OfClasses):
    """The activities that are read from a code."""

    codes: Codes

    def probabilities_at(self, space: CodeSpace, readout: Readout) -> Float[np.ndarray, "G"]:
        """Reads them."""
        return readout.probabilities(unpack(space.codes_of(self.codes)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ByName(_OfClasses):
    """One activity, by its name alone."""

    activity: str

    @property
    def name(self) -> str:
        """The activity's."""
        return self.activity

    def probabilities_at(self, space: CodeSpace, readout: Readout) -> Float[np.ndarray, "G"]:
        """Gives all to the one activity."""
        return readout.one_hot(self.activity)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Like(LinearQuery):
    """Examples and counter-examples: a logistic regression on the bits, drawn to another query.

    The direction v has the least of m+ + m- + |v - p|^2 / 2 c. Here m+ is the mean over the
    examples x of log(1 + exp(-v . x)), m- that over the counter-examples of log(1 + exp(v . x)),
    so that both count alike, however many there are; x is a code and p the direction of the other
    query, both of length one, and c is `_FREEDOM`. There is no intercept, as only v ranks clips.
    """

    these: Codes
    not_like: Codes
    prior: LinearQuery | None

    @property
    def name(self) -> str:
        """Says what is asked for."""
        counts = [_count(codes) for codes in (self.these, self.not_like)]
        examples = f"{counts[0]} liked, {counts[1]} not"
        return examples if self.prior is None else f"{self.prior.name}, {examples}"

    def direction(self, space: CodeSpace) -> Float[np.ndarray, "K"]:
        """Gives the direction at a focus."""
        # Slow to import, and needed for examples alone.
        import scipy.optimize
        import scipy.special

        # In coordinates in which all bits weigh the same.
        root = np.sqrt(space.bit_weights)
        liked, not_liked = (
            _of_length_one(root * unpack(np.atleast_2d(space.codes_of(codes))))
            for codes in (self.these, self.not_like)
        )
        prior = np.zeros(len(root))
        if self.prior is not None:
            prior = root * space.unit(self.prior.direction(space))
        signed = np.concatenate([liked, -not_liked])
        shares = np.concatenate([np.full(len(x), 1 / max(1, len(x))) for x in (liked, not_liked)])

        def loss(v):
            margins, apart = signed @ v, v - prior
            value = shares @ np.logaddexp(0, -margins) + apart @ apart / (2 * _FREEDOM)
            slopes = -shares * scipy.special.expit(-margins)
            return value, slopes @ signed + apart / _FREEDOM

        found = scipy.optimize.minimize(loss, prior, jac=True, method="L-BFGS-B")
        return np.divide(found.x, root, out=np.zeros_like(root), where=root > 0)

    def with_more(self, more: Any, more_not: Any) -> "Like":
        """Adds examples and counter-examples to those that there are.

        Raises:
          UserError: see `like`; or they are codes of other foci.
        """
        liked, not_liked = (
            _joined(own, _checked(new, "the examples"))
            for own, new in ((self.these, more), (self.not_like, more_not))
        )
        return like(liked, not_like=not_liked, prior=self.prior)


def _of_length_one(rows: Float[np.ndarray, "m K"]) -> Float[np.ndarray, "m K"]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def from_codes(codes: Any) -> LinearQuery:
    """Asks for what is near a code in Hamming distance.

    Args:
      codes: the packed code of one clip, `[bytes]` or `[1, bytes]`, by focus (`Encoding.codes`) or
        of the last focus.

    Raises:
      UserError: it is not the code of one clip.
    """
    return FromCodes(_checked(codes, "the query", one=True))


def from_clip(relaxed: Mapping[int, ArrayLike]) -> LinearQuery:
    """Asks for what is near the vector that the network made of a clip, before its signs are taken.

    A bit of which the network was sure weighs more than one that might as well have been another.

    Args:
      relaxed: h of one clip, `[K]` or `[1, K]`, by focus (`Encoding.relaxed`).

    Raises:
      UserError: it is something else.
    """
    if not isinstance(relaxed, Mapping) or not relaxed:
        raise UserError("the query: h is given by focus, as Encoding.relaxed has it")
    values = {}
    for focus, h in relaxed.items():
        array = as_numbers(h, "the query's h")
        array = array[0] if array.ndim == 2 and len(array) == 1 else array
        if array.ndim != 1:
            raise UserError(f"the query: h of shape {array.shape}; give one clip's, [K]")
        values[int(focus)] = array
    return FromClip(values)


def toward_class(probabilities: ArrayLike) -> LinearQuery:
    """Asks for what is of the activities that a clip is thought to be of.

    Args:
      probabilities: of each activity, `[G]` or `[1, G]` (`Encoding.activity_probabilities`).

    Raises:
      UserError: they are something else.
    """
    array = as_numbers(probabilities, "the query's probabilities")
    array = array[0] if array.ndim == 2 and len(array) == 1 else array
    if array.ndim != 1 or array.min() < 0:
        raise UserError(f"the query: probabilities of shape {array.shape}; give [G], 0 or more")
    return TowardClass(array)


def toward_class_of(codes: Any) -> LinearQuery:
    """Asks for what is of the activities that are read from a clip's code.

    Args:
      codes: see `from_codes`.

    Raises:
      UserError: it is not the code of one clip.
    """
    return TowardClassOf(_checked(codes, "the query", one=True))


def by_name(activity: Any) -> LinearQuery:
    """Asks for an activity by its name: what codes of it have in common, and others have not.

    Raises:
      UserError: it is not a text.
    """
    if not isinstance(activity, str):
        raise UserError(f"activity {shown(activity)}; give its name")
    return ByName(activity)


def like(these: Any, *, not_like: Any = None, prior: Any = None) -> Like:
    """Asks for what is like some clips and unlike others: a logistic regression on their bits.

    Args:
      these: packed codes of the examples, `[m, bytes]`, by focus or of the last focus.
      not_like: those of the counter-examples, of the same foci; None for none.
      prior: what is asked for besides: with few examples the answer stays near to it.

    Raises:
      UserError: there is no example, there are too many, or one is a counter-example too.
    """
    liked = _checked(these, "the examples")
    if not_like is None:
        not_liked = _map(lambda array: array[:0], liked)
    else:
        not_liked = _checked(not_like, "the counter-examples")
    counts = [_count(codes) for codes in (liked, not_liked)]
    if not sum(counts):
        raise UserError("there are no examples; give the codes of at least one clip")
    if sum(counts) > _MOST_EXAMPLES:
        raise UserError(f"{sum(counts)} examples; give up to {_MOST_EXAMPLES}")
    if prior is not None and not isinstance(prior, LinearQuery):
        raise UserError(f"the query beside the examples is of type {type(prior).__name__}")
    return Like(liked, not_liked, prior)


def as_numbers(values: ArrayLike, what: str) -> Float[np.ndarray, "..."]:
    """Gives values as an array of finite numbers.

    Raises:
      UserError: they are something else.
    """
    try:
        array = np.asarray(values)
        numbers = array.dtype.kind in "fiu" and array.size and np.isfinite(array).all()
    except (ValueError, TypeError):
        numbers = False
    if not numbers:
        raise UserError(f"{what} are not finite numbers")
    return array.astype(np.float64)


def _checked(codes: Any, what: str, *, one: bool = False) -> Codes:
    """Checks packed codes, of one clip or `[m, bytes]`, by focus or not.

    Raises:
      UserError: they are something else.
    """
    if isinstance(codes, Mapping) and not codes:
        raise UserError(f"{what}: there are codes of no focus")
    for array in codes.values() if isinstance(codes, Mapping) else [codes]:
        check_codes(array, what, axes=None)
        if array.ndim > 2 or (one and array.ndim == 2 and len(array) != 1):
            raise UserError(f"{what}: codes of shape {array.shape}; give those of one clip")
    if one:
        return _map(lambda array: array.reshape(-1), codes)
    return _map(np.atleast_2d, codes)


def _map(function: Callable, codes: Codes) -> Codes:
    if isinstance(codes, Mapping):
        return {int(focus): function(array) for focus, array in codes.items()}
    return function(codes)


def _joined(own: Codes, more: Codes) -> Codes:
    """Puts codes behind others of the same foci.

    Raises:
      UserError: they are of other foci, or other bits.
    """
    if isinstance(own, Mapping) and isinstance(more, Mapping) and own.keys() == more.keys():
        return {focus: np.concatenate([own[focus], more[focus]]) for focus in own}
    if isinstance(own, Mapping) or isinstance(more, Mapping) or own.shape[1] != more.shape[1]:
        raise UserError("the examples have codes of other foci or bits than those before")
    return np.concatenate([own, more])


def _count(codes: Codes) -> int:
    return len(next(iter(codes.values())) if isinstance(codes, Mapping) else codes)
