"""A snapshot with clips that were added to its store: what a fresh reading would give, sooner."""

import dataclasses

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8

from stvh_jax.names import natural_numbers
from stvh_jax.retrieval.clip_table import codes_of_table
from stvh_jax.retrieval.index_info import CodePart, IndexInfo
from stvh_jax.retrieval.lance.clip_numbers import dictionary
from stvh_jax.retrieval.lance.columns import Insertion
from stvh_jax.retrieval.lance.ordering import side_by_side
from stvh_jax.retrieval.lance.row_ids import OpenTable, RowIds
from stvh_jax.retrieval.lance.snapshot import ClipSnapshot
from stvh_jax.retrieval.record import ADAPTATION

# Clips that go to more places than this between others are read with them instead.
_MOST_PLACES = 1 << 10

# So many clips of one write Lance surely keeps in the order in which they are given.
_MOST_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Added:
    """The clips that this engine added last, to which version of the store."""

    before: int
    clips: pa.Table

    def follows(self, before: int, after: int) -> bool:
        """Says whether they are all that was written between two versions."""
        return before == self.before and after == before + 1


@dataclasses.dataclass(frozen=True)
class _Matches:
    """The matches of a snapshot and of new clips, as `ClipSnapshot` has them.

    Attributes:
      places: of each match.
      counts: how many of the old clips each has.
    """

    places: dict[str, int]
    counts: Int64[np.ndarray, "matches"]


def with_added(
    snapshot: ClipSnapshot, clips: pa.Table, version: int, open_table: OpenTable
) -> ClipSnapshot | None:
    """Gives the snapshot of the version in which some clips were added behind all others.

    Args:
      snapshot: of the version before; it stays as it is.
      clips: those added, none of them there before, with all columns of the store, in its order.
      version: the new one.
      open_table: gives the store at the new version.

    Returns:
      None if a fresh reading is as good: if there were no clips before, if the new ones are many or
      go to many places, or if their names or codes are of another kind.
    """
    info = snapshot.info
    if not 0 < len(clips) <= _MOST_ROWS or not len(snapshot):
        return None
    numbered = snapshot.numbers.with_names(clips["clip"])
    if numbered is None or not _same_adaptation(snapshot, clips):
        return None
    names_of_clips, numbers = numbered
    names, own = dictionary(clips["match"])
    matches = _joined_matches(snapshot, names)
    places = np.array([matches.places[name] for name in names], np.int64)[own]
    insertion = _insertion(snapshot.clips, matches.counts, places, numbers)
    if insertion.runs > _MOST_PLACES:
        return None
    counts = matches.counts + np.bincount(places, minlength=len(matches.counts))
    ids = -1 - (len(snapshot) + insertion.order)
    codes = _codes(info, snapshot.codes, clips, insertion)
    row_ids = RowIds(snapshot.uri, open_table, insertion.into(snapshot.row_ids.found, ids))
    return dataclasses.replace(
        snapshot,
        version=version,
        row_ids=row_ids,
        store=snapshot.store.with_rows(row_ids, insertion, clips),
        matches=matches.places,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        numbers=names_of_clips,
        clips=insertion.into(snapshot.clips, numbers[insertion.order]),
        codes=codes,
        scanned={
            parts: scanned.with_rows(side_by_side(codes, parts), insertion.at)
            for parts, scanned in snapshot.scanned.items()
        },
        subsets=type(snapshot.subsets)(),
    )


def _same_adaptation(snapshot: ClipSnapshot, clips: pa.Table) -> bool:
    if snapshot.info.bit_weights is None:
        return True
    return bool((clips[ADAPTATION.name].to_numpy() == snapshot.adaptation).all())


def _joined_matches(snapshot: ClipSnapshot, names: list[str]) -> _Matches:
    """Puts the matches of new clips among the others, in their natural order."""
    counts = np.diff(snapshot.starts)
    new = [name for name in names if name not in snapshot.matches]
    if not new:
        return _Matches(snapshot.matches, counts)
    old = list(snapshot.matches)
    order = np.argsort(natural_numbers(old + new))
    in_order = np.zeros(len(order), np.int64)
    in_order[: len(old)] = counts[list(snapshot.matches.values())]
    joined = old + new
    places = {joined[match]: place for place, match in enumerate(order.tolist())}
    return _Matches(places, in_order[order])


def _insertion(
    clips: Int64[np.ndarray, "M"],
    counts: Int64[np.ndarray, "matches"],
    places: Int64[np.ndarray, "m"],
    numbers: Int64[np.ndarray, "m"],
) -> Insertion:
    """Finds where new clips go, in the order of (match, clip).

    Args:
      clips: the numbers of the old ones, in this order.
      counts: how many of them each match has.
      places: the matches of the new ones.
      numbers: theirs.
    """
    order = np.lexsort((numbers, places))
    places, numbers = places[order], numbers[order]
    at = np.empty(len(order), np.int64)
    stops = np.cumsum(counts)
    for match in np.unique(places):
        start, stop = stops[match] - counts[match], stops[match]
        own = slice(*np.searchsorted(places, [match, match + 1]))
        at[own] = start + np.searchsorted(clips[start:stop], numbers[own])
    return Insertion(at, order)


def _codes(
    info: IndexInfo,
    codes: dict[CodePart, UInt8[np.ndarray, "M part"]],
    clips: pa.Table,
    insertion: Insertion,
) -> dict[CodePart, UInt8[np.ndarray, "rows part"]]:
    """Gives the codes of the parts in memory, with those of new clips."""
    stored = codes_of_table(info, clips)
    stored = {focus: values[insertion.order] for focus, values in stored.items()}
    return {
        part: insertion.into(values, info.codes_of_part(part, stored))
        for part, values in codes.items()
    }
