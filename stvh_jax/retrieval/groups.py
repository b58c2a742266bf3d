"""Groups of the clips of an index that are alike at a focus, to begin with an archive by looking.

Each has a representative, the clip nearest to its middle, and a few more clips that differ from it
and from one another, taken from the nearer half of the group and from other moments.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from stvh_jax.codes.bit_weights import HUNDREDTHS
from stvh_jax.codes.grouping import Grouping, WeighedCodes, different, group
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.retrieval.clip_table import codes_of_table
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.engine import Engine, Name
from stvh_jax.retrieval.index_info import IndexInfo, is_whole
from stvh_jax.retrieval.moments import same_moment, step_of
from stvh_jax.retrieval.record import GIVEN_NAME, NAMES

# The most groups: more than anybody looks at.
MOST = 256
# So many clips are shown of a group beside its representative, and chosen among so many.
_OTHERS, _CANDIDATES = 3, 512


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Clips that are alike.

    Attributes:
      number: of the group, from 1, the largest first.
      representative: the record of the clip nearest to its middle.
      others: those of a few more of its clips, from other moments.
      share: of all clips, 0..1.
      distance: how far its clips are from the representative in the mean, in bits.
      name: that of most of its clips; None if there is none.
    """

    number: int
    representative: dict[str, Any]
    others: list[dict[str, Any]]
    share: float
    distance: float
    name: str | None
    _names: pa.Table = dataclasses.field(repr=False)
    _rows: Int64[np.ndarray, "m"] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        """Counts its clips."""
        return len(self._rows)

    @functools.cached_property
    def clips(self) -> list[Name]:
        """Its clips, (match, clip), in their natural order."""
        own = self._names.take(pa.array(self._rows))
        return list(zip(*(own[name].to_pylist() for name in NAMES)))

    def to_dict(self) -> dict[str, Any]:
        """Gives plain values, for JSON, without the names of all clips."""
        return {
            "group": self.number,
            "clips": len(self),
            "share": self.share,
            "distance": self.distance,
            "name": self.name,
            "representative": self.representative,
            "others": self.others,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Groups(Sequence[Group]):
    """Groups of clips, the largest first.

    Attributes:
      groups: the groups.
      clips: how many clips they hold together.
      silhouette: by which their number was chosen, from -1 to 1; None where it was given.
    """

    groups: list[Group]
    clips: int
    silhouette: float | None

    def __len__(self) -> int:
        """Counts the groups."""
        return len(self.groups)

    @overload
    def __getitem__(self, place: int) -> Group: ...
    @overload
    def __getitem__(self, place: slice) -> list[Group]: ...
    def __getitem__(self, place):
        """Gives a group by its place, from 0, or several."""
        return self.groups[place]

    def numbered(self, number: int) -> Group:
        """Gives the group of a number, from 1.

        Raises:
          NotFound: there is none.
        """
        if not 1 <= number <= len(self):
            raise NotFound(f"there is no group {number}; the groups are 1 to {len(self)}")
        return self.groups[number - 1]


def groups_of(
    engine: Engine,
    weights: Mapping[int, int],
    *,
    number: int | None,
    where: str | None,
    seed: int,
) -> Groups:
    """Puts clips into groups; see `Index.groups`.

    Args:
      engine: where they are.
      weights: what each focus weighs, in hundredths.
      number: how many groups; None for a choice.
      where: a condition on the clips; None for all.
      seed: what is drawn at random depends on it.

    Raises:
      UserError: there are no clips, or fewer different ones than groups.
    """
    if number is not None and not (is_whole(number) and 1 <= number <= MOST):
        raise UserError(f"{shown(number)} groups; give a whole number from 1 to {MOST}")
    info = engine.info
    table = engine.snapshot().list_clips(where, codes=True)
    if not len(table):
        which = "" if where is None else " that meets the condition"
        raise UserError(f"{engine.uri} has no clip{which}, so there are no groups")
    codes = _weighed(info, table, weights)
    if number is not None and number > len(table):
        raise UserError(f"{number} groups of {len(table)} clips; give no more groups than clips")
    if number is not None and number > (most := different(codes, seed=seed)):
        raise UserError(
            f"{number} groups of clips with {most} different codes at this focus; give up to {most}"
        )
    grouping = group(codes, None if number is None else int(number), seed=seed)
    record = table.select(info.fields.names)
    return _described(codes, grouping, record, bits=info.bits, step=step_of(engine))


def _weighed(info: IndexInfo, table: pa.Table, weights: Mapping[int, int]) -> WeighedCodes:
    """Gives the codes of clips, and what their bits weigh at a focus."""
    stored = codes_of_table(info, table)
    return WeighedCodes(
        [
            (info.codes_of(part.focus, stored), space.bit_weights * (share / HUNDREDTHS))
            for part, (space, share) in spaces_of(info, weights).items()
        ]
    )


def _described(
    codes: WeighedCodes, grouping: Grouping, record: pa.Table, *, bits: int, step: float
) -> Groups:
    """Says of each group what stands for it."""
    names, groups = record.select(list(NAMES)), []
    for place, rows in enumerate(grouping.members()):
        nearest = rows[np.argsort(-grouping.nearness[rows], kind="stable")]
        shown_rows = _apart(codes, nearest, record, step)
        middle = codes.points(shown_rows[:1])[0].astype(np.float64)
        records = record.take(pa.array(shown_rows)).to_pylist()
        groups.append(
            Group(
                number=place + 1,
                representative=records[0],
                others=records[1:],
                share=len(rows) / len(codes),
                distance=max(0.0, bits * (1 - float((grouping.means[place] * middle).sum())) / 2),
                name=_common_name(record, rows),
                _names=names,
                _rows=rows,
            )
        )
    return Groups(groups, len(codes), grouping.silhouette)


def _apart(
    codes: WeighedCodes, nearest: Int64[np.ndarray, "m"], record: pa.Table, step: float
) -> Int64[np.ndarray, "shown"]:
    """Chooses the clips that are shown of a group: the nearest, then those farthest from these.

    Args:
      codes: of all clips.
      nearest: the rows of the group, nearest to its middle first.
      record: of all clips.
      step: seconds between the beginnings of clips, see `step_of`.
    """
    half = nearest[: 1 + len(nearest) // 2]
    places = np.linspace(0, len(half) - 1, min(len(half), _CANDIDATES)).round().astype(np.int64)
    rows = half[places]
    points = codes.points(rows)
    times = record.select(["match", "start", "stop"]).take(pa.array(rows)).to_pylist()
    away = np.full(len(rows), np.inf)
    free = np.ones(len(rows), bool)
    chosen = [0]
    while True:
        last = chosen[-1]
        away = np.minimum(away, 1 - np.einsum("md,d->m", points, points[last]))
        free[last] = False
        free &= [not same_moment(own, times[last], step=step) for own in times]
        if len(chosen) > _OTHERS or not free.any():
            return rows[chosen]
        chosen.append(int(np.where(free, away, -np.inf).argmax()))


def _common_name(record: pa.Table, rows: Int64[np.ndarray, "m"]) -> str | None:
    """Gives the name that more than half of some clips have."""
    if GIVEN_NAME not in record.column_names:
        return None
    values = record[GIVEN_NAME].take(pa.array(rows)).combine_chunks().drop_null()
    for each in pc.call_function("value_counts", [values]).to_pylist():
        if 2 * each["counts"] > len(rows):
            return str(each["values"])
    return None
