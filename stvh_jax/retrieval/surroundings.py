"""What a search leaves out around its query: the clip itself, what is near it, or its match."""

import dataclasses
from typing import SupportsIndex

from stvh_jax.errors import UserError
from stvh_jax.names import as_name
from stvh_jax.retrieval.index_info import Number


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """Clips that a search leaves out.

    Attributes:
      match: whose clips they are.
      clip: this one alone; None for any.
      seconds: those that overlap this time, from and to, both excluded; None for all.
    """

    match: str
    clip: str | None = None
    seconds: tuple[Number, Number] | None = None


def around(
    match: str | SupportsIndex,
    clip: str | SupportsIndex | None,
    start: Number | None,
    stop: Number | None,
    *,
    exclude_near: Number | None = None,
    exclude_match: bool = False,
) -> list[Surroundings]:
    """Names what a search leaves out around a query: itself, its time, or its match.

    Args:
      match: the query's match.
      clip: its name, None if it is not in the index.
      start: where it begins, in seconds.
      stop: where it ends.
      exclude_near: leave out what is less than these seconds from it.
      exclude_match: leave out the whole match.

    Raises:
      UserError: what is near is not known, as the query has no time.
    """
    match = as_name(match)
    if exclude_match:
        return [Surroundings(match)]
    itself = [] if clip is None else [Surroundings(match, clip=as_name(clip))]
    if exclude_near is None:
        return itself
    if not exclude_near >= 0:
        raise UserError(f"exclude_near is {exclude_near} seconds; give 0 or more")
    if start is None or stop is None:
        raise UserError(
            f"clip {match}/{clip} has no time in the index, so it is not known which clips are "
            "near; index the clips with their start and stop"
        )
    return [*itself, Surroundings(match, seconds=(start - exclude_near, stop + exclude_near))]


def unknown_times(match: str) -> UserError:
    """Says that what is near cannot be left out of a match whose clips have no times."""
    return UserError(
        f"clips of match {match} have no times in the index, so it is not known which are near; "
        "index them with their start and stop"
    )
