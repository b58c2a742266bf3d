"""One version of a store of clips in memory: what is searched, and where records are read.

The clips stand in the order of (match, clip), so that a match is one range of rows.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int64, UInt8

from stvh_jax.codes import nearest
from stvh_jax.codes.nearest import Neighbours, Range, Term
from stvh_jax.codes.weighted_bits import ScannedCodes
from stvh_jax.retrieval.clip_table import code_columns, codes_of_table
from stvh_jax.retrieval.engine import LinearRequest, Name, SearchRequest
from stvh_jax.retrieval.index_info import CodePart, IndexInfo
from stvh_jax.retrieval.lance import copies
from stvh_jax.retrieval.lance.clip_numbers import ClipNumbers, dictionary
from stvh_jax.retrieval.lance.columns import Column, OnDisk, repeated
from stvh_jax.retrieval.lance.conditions import Elsewhere, rows_that_meet
from stvh_jax.retrieval.lance.copies import Copy
from stvh_jax.retrieval.lance.derived_codes import derived_codes
from stvh_jax.retrieval.lance.ordering import gather, in_order, ordered_matches, side_by_side
from stvh_jax.retrieval.lance.records import Records
from stvh_jax.retrieval.lance.row_ids import OpenTable, RowIds
from stvh_jax.retrieval.lance.storage import (
    ROW_ID,
    one_adaptation,
    read_columns,
    storage_errors,
)
from stvh_jax.retrieval.lance.subsets import Subset
from stvh_jax.retrieval.record import ADAPTATION, NAMES
from stvh_jax.retrieval.surroundings import Surroundings, unknown_times
from stvh_jax.retrieval.where import read

# So many clips are searched by several parts in one scan, whatever the bits weigh: of fewer, what
# prepares it takes longer than to add up the distances of each.
_MANY = 1 << 18
# Conditions whose clips are kept in memory, with their codes side by side.
_CONDITIONS = 4


@dataclasses.dataclass
class ClipSnapshot:
    """One version of a store in memory, its clips in the order of (match, clip).

    Attributes:
      uri: where the store is.
      version: its number.
      info: what the index is.
      row_ids: Lance's own numbers of the rows.
      store: where their records are.
      matches: the place of each match in their order.
      starts: where the rows of each match start, and where the last one's end.
      numbers: of the clips' names.
      clips: the number of each row's clip.
      codes: packed codes of the parts used so far; the stored ones from the beginning.
      scanned: the codes of the parts that were searched by linear queries, side by side.
      adaptation: the number of the adaptation that made the visual bits; 0 for none.
      subsets: by condition, the last ones used at the end.
    """

    uri: str
    version: int
    info: IndexInfo
    row_ids: RowIds
    store: Records
    matches: dict[str, int]
    starts: Int64[np.ndarray, "matches_and_one"]
    numbers: ClipNumbers
    clips: Int64[np.ndarray, "M"]
    codes: dict[CodePart, UInt8[np.ndarray, "M part"]]
    adaptation: int
    scanned: dict[Sequence[CodePart], ScannedCodes] = dataclasses.field(default_factory=dict)
    subsets: collections.OrderedDict[str, Subset] = dataclasses.field(
        default_factory=collections.OrderedDict
    )

    @classmethod
    def read(
        cls, uri: str, open_table: OpenTable, info: IndexInfo, copy: Copy | None
    ) -> "ClipSnapshot":
        """Reads what a search needs of every clip, from a copy of the store where there is one."""
        read = copy or copies.read_searched(uri, open_table, info)
        stored, version = read.clips, read.version
        matches, places = ordered_matches(stored["match"])
        numbers, clips = ClipNumbers.read(stored["clip"])
        row_ids, codes = stored[ROW_ID].to_numpy(), codes_of_table(info, stored)
        if not in_order(places, clips):
            order = np.lexsort((clips, places))
            places, clips, row_ids = places[order], clips[order], row_ids[order]
            codes = {focus: gather(values, order) for focus, values in codes.items()}
        ids = RowIds(uri, open_table, row_ids.astype(np.int64))
        return cls(
            uri=uri,
            version=version,
            info=info,
            row_ids=ids,
            store=Records(ids, info.record, None if copy is None else copy.clips),
            matches=matches,
            starts=np.searchsorted(places, np.arange(len(matches) + 1)),
            numbers=numbers,
            clips=clips,
            codes={CodePart(focus): values for focus, values in codes.items()},
            adaptation=0 if info.bit_weights is None else one_adaptation(uri, stored),
        )

    @property
    def fields(self) -> pa.Schema:
        """What is told of the clips, as it is stored."""
        return self.info.record

    def __len__(self) -> int:
        """Counts the clips."""
        return len(self.clips)

    def search(self, request: SearchRequest) -> list[Neighbours]:
        """Finds the nearest clips; see `Snapshot.search`."""
        if len(request.weights) > 1 and request.each is not None and len(self) >= _MANY:
            return [self.search_linear(each) for each in request.each()]
        subset = None if request.where is None else self._subset(request.where)
        if subset is not None and not subset.pays_to_gather(len(request.groups)):
            return [self._nearest_among(subset.met, request)]
        without = self._ranges(request.without, None if subset is None else subset.rows)
        codes = {part: self._codes(subset, part) for part in request.weights}
        if len(request.weights) == len(request.groups[0]) == 1:
            (part,) = request.weights
            neighbours = _one_part(codes[part], part, request, without)
        else:
            neighbours = [
                nearest.weighted_nearest(
                    _terms(codes, request, group), request.k, radius=request.limit, without=without
                )
                for group in request.groups
            ]
        if subset is None:
            return neighbours
        return [dataclasses.replace(each, rows=subset.rows[each.rows]) for each in neighbours]

    def search_linear(self, request: LinearRequest) -> Neighbours:
        """Finds the clips nearest to a linear query; see `Snapshot.search_linear`."""
        subset = None if request.where is None else self._subset(request.where)
        met = None
        if subset is not None and not subset.is_small:
            subset, met = None, subset.met
        found = self._scanned(subset, tuple(request.parts)).nearest(
            request.query,
            request.k,
            limit=request.limit,
            without=self._ranges(request.without, None if subset is None else subset.rows),
            among=met,
        )
        return found if subset is None else dataclasses.replace(found, rows=subset.rows[found.rows])

    def _scanned(self, subset: Subset | None, parts: tuple[CodePart, ...]) -> ScannedCodes:
        """Gives the codes of parts side by side, of the clips searched, as they are scanned."""
        scanned = self.scanned if subset is None else subset.scanned
        if parts not in scanned:
            codes = {part: self._codes(subset, part) for part in parts}
            scanned[parts] = ScannedCodes(side_by_side(codes, parts))
        return scanned[parts]

    def _nearest_among(self, met: Bool[np.ndarray, "M"], request: SearchRequest) -> Neighbours:
        """Finds the nearest of the clips that meet a condition, in one pass over all codes."""
        codes = {part: self._codes(None, part) for part in request.weights}
        return nearest.weighted_nearest(
            _terms(codes, request, request.groups[0]),
            request.k,
            radius=request.limit,
            without=self._ranges(request.without, None),
            among=met,
        )

    def records(self, rows: Int64[np.ndarray, "k"]) -> pa.Table:
        """Gives the records and codes of some rows, in their order."""
        matches = np.searchsorted(self.starts, rows, "right") - 1
        fields = self.info.fields
        columns = {
            "match": pa.array(self._match_names, pa.string()).take(pa.array(matches)),
            "clip": self.numbers.names(self.clips[rows]),
            **self.store.taken(rows, [name for name in fields.names if name not in NAMES]),
        }
        record = pa.table([columns[name] for name in fields.names], fields)
        codes = {focus: self.codes[CodePart(focus)][rows] for focus in self.info.stored_foci}
        return pa.table(
            dict(zip(record.column_names, record.columns)) | code_columns(self.info, codes)
        )

    @functools.cached_property
    def _match_names(self) -> list[str]:
        """The matches in their order."""
        return sorted(self.matches, key=self.matches.__getitem__)

    def column(self, name: str) -> Column:
        """Gives a column of the record, by which conditions are evaluated.

        Raises:
          Elsewhere: it is not kept in memory.
        """
        if name == "match":
            return self._match_column
        try:
            return self.store.column(name)
        except OnDisk:
            raise Elsewhere from None

    @functools.cached_property
    def _match_column(self) -> Column:
        return repeated(self._match_names, np.diff(self.starts))

    def named(self, clips: Sequence[str]) -> Callable[[slice], Bool[np.ndarray, "m"]] | None:
        """Says which rows have one of some names; None where clips are stored as numbers."""
        if not pa.types.is_string(self.info.record.field("clip").type):
            return None
        numbers = [self.numbers.of_name(clip) for clip in clips]
        if len(numbers) == 1:
            return lambda rows: self.clips[rows] == numbers[0]
        return lambda rows: np.isin(self.clips[rows], numbers)

    def list_clips(self, where: str | None = None, *, codes: bool = False) -> pa.Table:
        """Gives the records of the clips that meet a condition; see `Snapshot.list_clips`."""
        rows = np.arange(len(self)) if where is None else self._subset(where).rows
        table = self.records(rows)
        if not codes:
            return table.select(self.info.fields.names)
        if self.info.bit_weights is None:
            return table
        numbers = np.full(len(table), self.adaptation, np.int64)
        return table.append_column(ADAPTATION, pa.array(numbers))

    def find(self, names: Sequence[Name]) -> list[int | None]:
        """Finds the rows of clips by (match, clip); None for one that is not there."""
        return [self._row_of(match, clip) for match, clip in names]

    def first_of(self, clips: pa.Table) -> Name | None:
        """Names the first of some clips that is here already."""
        matches, places = dictionary(clips["match"])
        numbers = self.numbers.of(clips["clip"])
        # The clips of one match are compared at once: one by one takes as long as writing them.
        by_match = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places, minlength=len(matches)))
        here = np.zeros(len(clips), bool)
        for match, of_match in zip(matches, np.split(by_match, ends)):
            own = self.clips[slice(*self._match_range(match))]
            here[of_match] = np.isin(numbers[of_match], own)
        if not here.any():
            return None
        first = int(here.argmax())
        return clips["match"][first].as_py(), clips["clip"][first].as_py()

    def _times(self, start: int, stop: int) -> Float[np.ndarray, "2 m"]:
        """Start and stop of the clips of a range of rows in seconds, NaN where unknown."""
        try:
            columns = [self.store.column(name) for name in ("start", "stop")]
        except OnDisk:
            return self._times_on_disk[:, start:stop]
        return np.stack([column.values[start:stop] for column in columns])

    @functools.cached_property
    def _times_on_disk(self) -> Float[np.ndarray, "2 M"]:
        with storage_errors(self.uri):
            stored = read_columns(self.row_ids.open_table(), ["start", "stop"])
        times = np.empty((2, len(stored)))
        times[:, self.row_ids.rows_of(stored[ROW_ID].to_numpy())] = [
            stored[name].to_numpy() for name in ("start", "stop")
        ]
        return times

    def _codes(self, subset: Subset | None, part: CodePart) -> UInt8[np.ndarray, "M part"]:
        """Gives the codes of a part, of the clips searched."""
        if part not in self.codes:
            self.codes[part] = self._made(part)
        codes = self.codes[part]
        if subset is None:
            return codes
        if part not in subset.codes:
            subset.codes[part] = gather(codes, subset.rows)
        return subset.codes[part]

    def _made(self, part: CodePart) -> UInt8[np.ndarray, "M part"]:
        """Makes codes that are not stored: those of a group of bits, or of a derived focus."""
        info, last = self.info, self.codes[CodePart(self.info.last_focus)]
        if part.group is not None:
            return info.codes_of_part(part, {info.last_focus: last})
        assert info.filter_matrix is not None  # or the focus could not be searched
        return derived_codes(self.uri, info.name, info.filter_matrix, last, part.focus)

    def _subset(self, where: str) -> Subset:
        """Gives the clips that meet a condition; those of the last few are kept."""
        if where not in self.subsets:
            fields = self.info.record.names
            tree, condition = read(where, fields)
            try:
                met = rows_that_meet(tree, self)
            except Elsewhere:
                with storage_errors(self.uri, where, fields=fields):
                    stored = read_columns(self.row_ids.open_table(), [], condition)
                met = np.zeros(len(self), bool)
                met[self.row_ids.rows_of(stored[ROW_ID].to_numpy())] = True
            self.subsets[where] = Subset(met)
            if len(self.subsets) > _CONDITIONS:
                self.subsets.popitem(last=False)
        self.subsets.move_to_end(where)
        return self.subsets[where]

    def _match_range(self, match: str) -> Range:
        """Gives the rows of a match; none if there is no such match."""
        if match not in self.matches:
            return 0, 0
        place = self.matches[match]
        return int(self.starts[place]), int(self.starts[place + 1])

    def _row_of(self, match: str, clip: str) -> int | None:
        """Finds the row of a clip; None if there is no such clip."""
        start, stop = self._match_range(match)
        number = self.numbers.of_name(clip)
        row = start + int(np.searchsorted(self.clips[start:stop], number))
        return row if row < stop and self.clips[row] == number else None

    def _ranges(
        self, without: Sequence[Surroundings], rows: Int64[np.ndarray, "m"] | None
    ) -> list[Range]:
        """Gives what is left out as sorted, disjoint ranges of all rows, or of a subset's."""
        ranges = [pair for each in without for pair in self._ranges_of(each)]
        if rows is not None:
            bounds = [np.searchsorted(rows, pair).tolist() for pair in ranges]
            ranges = [(start, stop) for start, stop in bounds]
        return _disjoint(ranges)

    def _ranges_of(self, surroundings: Surroundings) -> list[Range]:
        """Gives the rows of surroundings.

        Raises:
          UserError: some of the match's clips have no times, and those near a time are asked for.
        """
        match, clip, seconds = surroundings.match, surroundings.clip, surroundings.seconds
        if clip is not None:
            row = self._row_of(match, clip)
            return [] if row is None else [(row, row + 1)]
        start, stop = self._match_range(match)
        if seconds is None:
            return [(start, stop)]
        starts, stops = self._times(start, stop)
        if np.isnan(starts).any() or np.isnan(stops).any():
            raise unknown_times(match)
        earliest, latest = seconds
        near = np.flatnonzero((starts < latest) & (stops > earliest)) + start
        return [(row, row + 1) for row in near.tolist()]


def _terms(
    codes: Mapping[CodePart, UInt8[np.ndarray, "M part"]], request: SearchRequest, group: range
) -> list[Term]:
    """Gives the summands of the distance from the queries of a group."""
    return [
        Term(codes[part], request.queries[part][query], weight)
        for part, weight in request.weights.items()
        for query in group
    ]


def _one_part(
    codes: UInt8[np.ndarray, "M part"],
    part: CodePart,
    request: SearchRequest,
    without: Sequence[Range],
) -> list[Neighbours]:
    """Searches one part alone: the order is that of its own bits, whatever they weigh."""
    queries, weight = request.queries[part], request.weights[part]
    limit, k = request.limit, request.k
    if limit is None:
        assert k is not None  # or everything would be asked for
        neighbours = nearest.nearest(codes, queries, k, without=without)
    else:
        near = (nearest.within(codes, query, limit // weight, without=without) for query in queries)
        neighbours = [each if k is None else each.cut(k) for each in near]
    if weight == 1:
        return neighbours
    return [dataclasses.replace(each, distances=weight * each.distances) for each in neighbours]


def _disjoint(ranges: Sequence[Range]) -> list[Range]:
    """Sorts ranges and joins those that touch."""
    joined: list[list[int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(stop, joined[-1][1])
        elif start < stop:
            joined.append([start, stop])
    return [(start, stop) for start, stop in joined]
