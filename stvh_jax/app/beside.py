"""Two rankings for one query, side by side: of two foci, or of two models."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from stvh_jax.app.samples import Turn, left_out
from stvh_jax.errors import UserError
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.hits import Hit
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import Number
from stvh_jax.retrieval.surroundings import Surroundings
from stvh_jax.retrieval.where import quoted


@dataclasses.dataclass(frozen=True)
class Side:
    """What one of the two rankings is made with.

    Attributes:
      title: names it.
      index: what is searched.
      scale: from 0, focus 0, to 1, the last focus.
    """

    title: str
    index: Index
    scale: Number


@dataclasses.dataclass(frozen=True)
class Ranking:
    """One of the two rankings.

    Attributes:
      title: names it.
      hits: the nearest clips.
      elsewhere: the rank of each in the other ranking, from 1; None where it is not there.
    """

    title: str
    hits: Sequence[Hit]
    elsewhere: Sequence[int | None]


@dataclasses.dataclass(frozen=True)
class Beside:
    """Two rankings, compared.

    Attributes:
      rankings: the two.
      common: how many clips are in both.
      overlap: their share of the longer ranking.
      tau: Kendall's tau of the common clips, from -1, the reverse order, to 1, the same; None of
        fewer than two.
    """

    rankings: tuple[Ranking, Ranking]
    common: int
    overlap: float
    tau: float | None


def beside(first: Side, second: Side, clips: Sequence[Name], turn: Turn, *, k: int = 10) -> Beside:
    """Searches twice for some clips and compares what is found.

    The clips themselves and what overlaps them in time are left out.

    Args:
      first: the one ranking.
      second: the other; of another index, the clips of the same names are searched for.
      clips: (match, clip) of what is searched for, together.
      turn: is held during each search.
      k: how many clips each finds.

    Raises:
      NotFound: a clip is not in one of the indexes.
      UserError: there is no such focus, or nothing to search for.
    """
    if not clips:
        raise UserError("there is no clip to compare two searches for; choose one")
    rankings = []
    for side in (first, second):
        with turn:
            codes, _ = side.index.get(clips)
            without = [each for name in clips for each in _left_out(side.index, name)]
            (hits,) = side.index.search(
                codes, scale=side.scale, k=k, without=without, together=True
            )
            rankings.append((side.title, hits[:]))
    return compared(*rankings)


def _left_out(index: Index, name: Name) -> list[Surroundings]:
    _, (record,) = index.get([name])
    untimed = index.count(f"match = {quoted(name[0])} AND (start IS NULL OR stop IS NULL)")
    return left_out(name, None if untimed else (record["start"], record["stop"]))


def compared(first: tuple[str, Sequence[Hit]], second: tuple[str, Sequence[Hit]]) -> Beside:
    """Compares two rankings, each given as its title and its hits, the nearest first."""
    (_, of_first), (_, of_second) = first, second
    ranks = [
        {(hit.match, hit.clip): rank for rank, hit in enumerate(hits, start=1)}
        for hits in (of_first, of_second)
    ]
    left, right = (
        Ranking(title, hits, [other.get((hit.match, hit.clip)) for hit in hits])
        for (title, hits), other in zip((first, second), reversed(ranks))
    )
    common = [rank for rank in left.elsewhere if rank is not None]
    longer = max(len(of_first), len(of_second))
    return Beside(
        rankings=(left, right),
        common=len(common),
        overlap=len(common) / longer if longer else 0.0,
        tau=_tau(common),
    )


def _tau(ranks: Sequence[int]) -> float | None:
    """Gives Kendall's tau of clips by their ranks in one ranking, in the order of the other."""
    if len(ranks) < 2:
        return None
    # Of each pair, whether the one that comes first in the one ranking does so in the other.
    signs = np.sign(np.subtract.outer(ranks, ranks))
    return float(-signs[np.triu_indices(len(ranks), 1)].mean())
