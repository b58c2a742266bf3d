"""What is searched for: clips of the index, or others, which `encoded_queries` encodes.

What is in the index needs no model, and no JAX, which takes most of a second to import.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from stvh_jax.errors import UserError
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index

if TYPE_CHECKING:
    from stvh_jax.inference.encoder import Encoder


@dataclasses.dataclass(frozen=True)
class Query:
    """Clips that are searched for together.

    Attributes:
      codes: packed codes of each clip, by focus.
      records: what is known of each: match, clip, start, stop, activity, split; None where it is
        not.
      relaxed: h of each clip by focus; None where they were not all encoded.
      image: a frame of the first clip, where it came from files.
    """

    codes: dict[int, UInt8[np.ndarray, "Q bytes"]]
    records: list[dict[str, Any]]
    relaxed: dict[int, Float[np.ndarray, "Q K"]] | None = None
    image: UInt8[np.ndarray, "H W 3"] | None = None

    @property
    def name(self) -> str:
        """Names the clips."""
        return ", ".join(
            "the given clip" if record["match"] is None else f"{record['match']}/{record['clip']}"
            for record in self.records
        )


def parse_clip(text: str) -> Name:
    """Reads MATCH/CLIP, of which the match may have slashes in its name.

    Raises:
      UserError: it is something else.
    """
    match, _, clip = text.rpartition("/")
    if not match or not clip:
        raise UserError(f"{text!r} is not the name of a clip; give MATCH/CLIP, for example 13/9825")
    return match, clip


def clips_query(
    index: Index,
    clips: Sequence[Name],
    open_model: Callable[[], tuple["Encoder", Any]],
    *,
    encode: bool = False,
) -> Query:
    """Takes clips of the index, or, where they are not in it, of the prepared set of its run.

    Args:
      index: where the codes are looked up.
      clips: (match, clip) of each.
      open_model: gives the index's model and its prepared set, opened, if they are needed.
      encode: encode those of the index too, so that h is known of all.

    Raises:
      NotFound: a clip is in neither.
      UserError: the model is another than the index's.
    """
    # A clip named twice weighs no more than once.
    clips = list(dict.fromkeys(clips))
    open_once = functools.cache(open_model)
    queries = [
        _indexed_query(index, name)
        if held and not encode
        else _prepared_query(index, name, open_once)
        for name, held in zip(clips, index.holds(clips))
    ]
    relaxed = [query.relaxed for query in queries]
    known = [each for each in relaxed if each is not None]
    return Query(
        _joined([query.codes for query in queries]),
        [record for query in queries for record in query.records],
        relaxed=_joined(known) if len(known) == len(queries) else None,
    )


def _joined(parts: Sequence[dict[int, Any]]) -> dict[int, Any]:
    """Puts the rows of several arrays behind one another, focus by focus, as far as all have it."""
    foci = set.intersection(*map(set, parts))
    return {focus: np.concatenate([part[focus] for part in parts]) for focus in sorted(foci)}


def _indexed_query(index: Index, name: Name) -> Query:
    """Takes a clip of the index."""
    return Query(*index.get([name]))


def _prepared_query(
    index: Index, name: Name, open_model: Callable[[], tuple["Encoder", Any]]
) -> Query:
    """Encodes a clip of the prepared set."""
    from stvh_jax.retrieval import encoded_queries  # it loads JAX

    return encoded_queries.prepared_query(index, name, *open_model())
