"""What an index asks of the engine behind it: LanceDB or Milvus."""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64, UInt8

from stvh_jax.codes.bit_weights import BitWeights
from stvh_jax.codes.nearest import Neighbours
from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.codes.weighted_bits import WeightedCode
from stvh_jax.errors import Exists, NotFound, UserError
from stvh_jax.names import printable
from stvh_jax.retrieval.index_info import CodePart, IndexInfo, Number
from stvh_jax.retrieval.surroundings import Surroundings

# The match and the clip of one clip.
Name = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits(abc.ABC):
    """How much is searched for, and where.

    Attributes:
      k: how many clips to find; None for all within the radius.
      radius: the largest distance in bits, itself included; None for any.
      where: a condition on the record in SQL; None for all clips.
      without: clips left out.
      foci: what each focus weighs, in hundredths; see `IndexInfo.weights`.
    """

    k: int | None = None
    radius: Number | None = None
    where: str | None = None
    without: Sequence[Surroundings] = ()
    foci: Mapping[int, int]

    @property
    @abc.abstractmethod
    def unit(self) -> int | float:
        """How many units of the distances that an engine returns make one bit."""

    @property
    def limit(self) -> int | None:
        """The radius in these units, rounded down."""
        if self.radius is None:
            return None
        # A distance that was found, given as a radius, may be a little less as a product.
        return math.floor(float(self.radius) * self.unit * (1 + 1e-15) + 1e-9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRequest(Limits):
    """Everything that an engine has to know of a search by codes.

    Attributes:
      stored: packed codes of Q queries, of each stored focus.
      queries: the same of each part that weighs something.
      weights: what a bit of each part weighs, positive whole numbers.
      weights_per_bit: how much of that, from one query, is a distance of one bit.
      together: the queries are one, and their distances are added.
      each: gives the same, query by query, by a weight of each bit; None for several together.
    """

    stored: Mapping[int, UInt8[np.ndarray, "Q bytes"]]
    queries: Mapping[CodePart, UInt8[np.ndarray, "Q part"]]
    weights: Mapping[CodePart, int]
    weights_per_bit: int
    together: bool = False
    each: Callable[[], Sequence["LinearRequest"]] | None = None

    @functools.cached_property
    def groups(self) -> list[range]:
        """The queries of each answer, by their places."""
        count = len(next(iter(self.queries.values())))
        return [range(count)] if self.together else [range(i, i + 1) for i in range(count)]

    @property
    def unit(self) -> int:
        """How many units of the distances that an engine returns make one bit."""
        return self.weights_per_bit * len(self.groups[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearRequest(Limits):
    """Everything that an engine has to know of a search by a weight of each bit.

    Attributes:
      parts: whose codes are compared, side by side.
      query: what each of their bits weighs.
      bits: how many bits the largest distance, the sum of all weights, makes.
    """

    parts: Sequence[CodePart]
    query: WeightedCode
    bits: int

    @property
    def unit(self) -> int | float:
        """How many units of the distances that an engine returns make one bit."""
        return self.query.total / self.bits


@runtime_checkable
class Snapshot(Protocol):
    """What is searched: the clips of an index at one time."""

    def search(self, request: SearchRequest) -> list[Neighbours]:
        """Finds the nearest clips, in the order of (distance, match, clip), names naturally.

        Returns:
          For each of the request's groups the rows, and distances in the request's unit.

        Raises:
          UserError: the condition cannot be read, or what is near is not known.
        """
        ...

    def search_linear(self, request: LinearRequest) -> Neighbours:
        """Finds the clips nearest to a linear query, in the same order.

        Raises:
          UserError: as `search`.
        """
        ...

    def find(self, names: Sequence[Name]) -> list[int | None]:
        """Finds the rows of clips; None for one that is not there."""
        ...

    def records(self, rows: Int64[np.ndarray, "k"]) -> pa.Table:
        """Gives the records of some rows, with the types of `RECORD`, and their stored codes."""
        ...

    def list_clips(self, where: str | None = None, *, codes: bool = False) -> pa.Table:
        """Gives the records of the clips that meet a condition, in the order of (match, clip).

        Args:
          where: a condition on the record in SQL; None for all clips.
          codes: whether the stored codes are wanted, too.

        Raises:
          UserError: the condition cannot be read.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """A store of clips, and the search in it.

    Every method raises a `UserError` where the store cannot be reached, read or written.
    """

    @property
    def uri(self) -> str:
        """Where it is."""
        ...

    @property
    def info(self) -> IndexInfo:
        """What the index is."""
        ...

    @property
    def version(self) -> int | None:
        """The version that is searched; None if the store keeps none."""
        ...

    def adaptation(self) -> Adaptation | None:
        """Reads what made the visual bits of the version that is searched; None if as trained."""
        ...

    def adapt(self, adaptation: Adaptation, names: pa.Table, bits: Bool[np.ndarray, "M V"]) -> None:
        """Replaces the visual bits of all clips, where `check_adaptable` lets it.

        Args:
          adaptation: what has made them.
          names: match and clip of each.
          bits: of each.

        Raises:
          UserError: a clip of the index is missing, given twice, or not in it.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Gives the clips as they are now, to be searched."""
        ...

    def count(self, where: str | None = None) -> int:
        """Counts the clips that meet a condition."""
        ...

    def add(self, clips: pa.Table) -> None:
        """Adds clips, the columns of `IndexInfo.fields` and of the stored codes.

        That of names may be missing, or be there though the store has none yet.

        Raises:
          Exists: one is there already; nothing is added then.
        """
        ...

    def upsert(self, clips: pa.Table) -> None:
        """Adds clips, in place of those of the same name; without names, those keep theirs."""
        ...

    def name(self, names: pa.Table) -> int:
        """Gives clips names, and counts those that had another.

        Args:
          names: match, clip and name of each; null to take its name away.

        Raises:
          NotFound: a clip is not there; nothing is written then.
          UserError: the store cannot hold names.
        """
        ...

    def delete(self, where: str) -> int:
        """Deletes the clips that meet a condition and counts them."""
        ...

    def versions(self) -> list[dict[str, Any]]:
        """Lists the versions there are, oldest first: number, time and clips."""
        ...

    def restore(self, version: int) -> None:
        """Makes an older version the newest again.

        Raises:
          NotFound: there is no such version.
        """
        ...

    def refresh(self) -> None:
        """Goes on to the newest version, which another process may have written."""
        ...

    def compact(self) -> None:
        """Joins the files of many small writes."""
        ...


@runtime_checkable
class EngineKind(Protocol):
    """A kind of engine, a class of them: makes and opens stores.

    Attributes:
      adapts: whether the visual bits of what it stores can be adapted.
    """

    adapts: bool

    def exists(self, uri: str, *, storage_options: Mapping[str, str] | None) -> bool:
        """Says whether there is a store."""
        ...

    def create(
        self, uri: str, info: IndexInfo, *, storage_options: Mapping[str, str] | None
    ) -> Engine:
        """Makes an empty store.

        Raises:
          Exists: there is one already.
        """
        ...

    def open(
        self, uri: str, *, version: int | None, storage_options: Mapping[str, str] | None
    ) -> Engine:
        """Opens a store, as it is now or was at a version.

        Raises:
          NotFound: there is no store, or no such version.
          Damaged: it cannot be read, or is of something else.
        """
        ...


def no_index(uri: str) -> NotFound:
    """Says that there is no index at a place."""
    return NotFound(
        f"{uri} holds no index; make one with: python search.py index --run RUN --out {uri}"
    )


def clip_exists(uri: str, name: Name) -> Exists:
    """Says that a clip cannot be added, since it is there."""
    return Exists(
        f"clip {printable('/'.join(name))} is in {uri} already; upsert replaces clips, delete "
        "removes them"
    )


def check_adaptable(what: str, weights: BitWeights | None, *, adapts: bool) -> None:
    """Checks that there are visual bits that can be adapted.

    Args:
      what: the index or the model, for the message.
      weights: its own.
      adapts: whether the engine can; see `EngineKind`.

    Raises:
      UserError: there are none, or it cannot.
    """
    if weights is None or not len(weights.visual):
        raise UserError(
            f"{what} has a code for each focus; only one code for all foci, of a model with "
            "model.objective=graded, has visual bits that can be adapted"
        )
    if not adapts:
        raise UserError(
            "the visual bits of an index on a Milvus server cannot be adapted; adapt one in a "
            "folder or a bucket"
        )
