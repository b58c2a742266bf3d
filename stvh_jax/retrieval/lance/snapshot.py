"""One version of a store of clips in memory: what is searched, and where records are read.

The clips stand in the order of (match, clip), so that a match is one range of rows. The codes of
derived foci are kept on disk, named by those that they are derived from and by the filter matrix.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int64, Shaped, UInt8

from stvh_jax import files
from stvh_jax.codes import nearest
from stvh_jax.codes.nearest import Neighbours, Range, Term
from stvh_jax.errors import UserError
from stvh_jax.retrieval.record import (
    RECORD,
    IndexInfo,
    Surroundings,
    code_column,
    codes_of_column,
    match_order,
)

# Filters whose clips are kept in memory, with their codes side by side.
_FILTERS = 4


# Rows read at a time; what Lance does unless told, 1024, takes twenty times as long.
_READ = 1 << 16


_ROW_ID = "_rowid"


@dataclasses.dataclass(frozen=True)
class _Subset:
    """The clips that a filter lets through: their rows, and their codes side by side."""

    rows: Int64[np.ndarray, "M"]
    codes: dict[int, UInt8[np.ndarray, "M bytes"]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ClipSnapshot:
    """One version of a store in memory, its clips in the order of (match, clip).

    Attributes:
      uri: where the store is.
      table: the store at this version; it stays there, whatever is written.
      version: its number.
      info: what the index is.
      row_ids: Lance's own numbers of the rows.
      matches: the matches, in order.
      starts: where the rows of each match start, and where the last one's end.
      clips: the numbers of the clips.
      codes: packed codes of the foci used so far; the stored ones from the beginning.
      subsets: by filter, the last ones used at the end.
    """

    uri: str
    table: object
    version: int
    info: IndexInfo
    row_ids: Int64[np.ndarray, "M"]
    matches: list[str]
    starts: Int64[np.ndarray, "matches_and_one"]
    clips: Int64[np.ndarray, "M"]
    codes: dict[int, UInt8[np.ndarray, "M bytes"]]
    subsets: collections.OrderedDict = dataclasses.field(default_factory=collections.OrderedDict)

    @classmethod
    def read(cls, uri: str, table, info: IndexInfo) -> "ClipSnapshot":
        """Reads what a search needs of every clip."""
        columns = ["match", "clip", *map(code_column, info.stored_foci)]
        read = _read(table, columns)
        matches, numbers = _ordered_matches(read["match"])
        clips, row_ids = (read[name].to_numpy() for name in ("clip", _ROW_ID))
        codes = {
            focus: codes_of_column(read[code_column(focus)], info.bits)
            for focus in info.stored_foci
        }
        if not _in_order(numbers, clips):
            order = np.lexsort((clips, numbers))
            numbers, clips, row_ids = numbers[order], clips[order], row_ids[order]
            codes = {focus: _gather(values, order) for focus, values in codes.items()}
        return cls(
            uri=uri,
            table=table,
            version=table.version,
            info=info,
            row_ids=row_ids.astype(np.int64),
            matches=matches,
            starts=np.searchsorted(numbers, np.arange(len(matches) + 1)),
            clips=clips,
            codes=codes,
        )

    def search(
        self,
        queries: Mapping[int, UInt8[np.ndarray, "Q bytes"]],
        weights: Mapping[int, int],
        *,
        k: int | None,
        radius: int | None,
        where: str | None,
        without: Sequence[Surroundings],
        together: bool,
    ) -> list[Neighbours]:
        """Finds the nearest clips.

        Args:
          queries: packed codes of the foci that weigh something.
          weights: what each focus weighs.
          k: how many clips; None for all within the radius.
          radius: the largest distance, itself included, in bits times the sum of the weights
            (times Q, together); None for any.
          where: a filter; None for all clips.
          without: clips left out.
          together: the queries are one, and their distances are added.

        Returns:
          For each query the rows, and distances in the units of the radius.
        """
        subset = None if where is None else self._subset(where)
        left_out = self._ranges(without, None if subset is None else subset.rows)
        codes = {focus: self._codes(subset, focus) for focus in weights}
        count = len(next(iter(queries.values())))
        if list(weights.values()) == [1] and (count == 1 or not together):
            (focus,) = weights
            found = _one_focus(codes[focus], queries[focus], k, radius, left_out)
        else:
            groups = [range(count)] if together else [[query] for query in range(count)]
            found = [
                nearest.weighted_nearest(
                    [
                        Term(codes[focus], queries[focus][query], weight)
                        for focus, weight in weights.items()
                        for query in group
                    ],
                    k,
                    radius=radius,
                    without=left_out,
                )
                for group in groups
            ]
        if subset is None:
            return found
        return [dataclasses.replace(one, rows=subset.rows[one.rows]) for one in found]

    def records(self, rows: Int64[np.ndarray, "k"]) -> pa.Table:
        """Gives the records and codes of some rows, in their order."""
        ids = self.row_ids[rows].tolist()
        columns = self.info.schema.names
        if not ids:
            return self.info.schema.empty_table()
        with told(self.uri):
            taken = self.table.take_row_ids(ids).select([*columns, _ROW_ID]).to_arrow()
        place = {row_id: row for row, row_id in enumerate(taken[_ROW_ID].to_pylist())}
        return taken.take([place[row_id] for row_id in ids]).select(columns)

    def find(self, names: Sequence[tuple[str, int]]) -> list[int | None]:
        """Finds the rows of clips by (match, clip); None for one that is not there."""
        return [self._row_of(match, clip) for match, clip in names]

    def _codes(self, subset: _Subset | None, focus: int) -> UInt8[np.ndarray, "M bytes"]:
        """The codes of a focus, of the clips searched."""
        if focus not in self.codes:
            self.codes[focus] = self._derived(focus)
        codes = self.codes[focus]
        if subset is None:
            return codes
        if focus not in subset.codes:
            subset.codes[focus] = _gather(codes, subset.rows)
        return subset.codes[focus]

    def _subset(self, where: str) -> _Subset:
        if where not in self.subsets:
            with told(self.uri, where):
                row_ids = _read(self.table, [], where)[_ROW_ID].to_numpy()
            self.subsets[where] = _Subset(np.sort(self._rows_of_ids(row_ids)))
            if len(self.subsets) > _FILTERS:
                self.subsets.popitem(last=False)
        self.subsets.move_to_end(where)
        return self.subsets[where]

    def _derived(self, focus: int) -> UInt8[np.ndarray, "M bytes"]:
        """Reads the codes of a derived focus from the cache, or derives them and fills it."""
        last = self.codes[self.info.stored_foci[-1]]
        digest = hashlib.blake2b(np.ascontiguousarray(last), digest_size=12).hexdigest()
        of_focus = f"{self.info.name}-{focus}-{self.info.filter_matrix.digest[:16]}"
        path = _cache_folder(self.uri) / f"{of_focus}-{digest}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):
            cached = np.load(path, mmap_mode="r")
            if cached.shape == last.shape and cached.dtype == np.uint8:
                return np.asarray(cached)
        derived = self.info.filter_matrix.derive(last, focus)
        # Only a help: an index on a disk that cannot be written is searched all the same.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, derived)
            for other in path.parent.glob(f"{of_focus}-*.npy"):
                if other != path:  # of what the index was before
                    other.unlink(missing_ok=True)
        return derived

    @functools.cached_property
    def times(self) -> Float[np.ndarray, "M 2"]:
        """Start and stop of every clip in seconds, NaN where unknown."""
        read = _read(self.table, ["start", "stop"])
        times = np.empty((len(read), 2))
        rows = self._rows_of_ids(read[_ROW_ID].to_numpy())
        for column, name in enumerate(("start", "stop")):
            times[rows, column] = read[name].to_numpy()
        return times

    @functools.cached_property
    def _by_row_id(self) -> Int64[np.ndarray, "M"]:
        return np.argsort(self.row_ids)

    def _rows_of_ids(self, row_ids: Shaped[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
        """Finds the rows of Lance's numbers."""
        places = np.searchsorted(self.row_ids, row_ids.astype(np.int64), sorter=self._by_row_id)
        return self._by_row_id[places]

    def _match_range(self, match: str) -> Range:
        """Gives the rows of a match; none if there is no such match."""
        if match not in self._places:
            return 0, 0
        place = self._places[match]
        return int(self.starts[place]), int(self.starts[place + 1])

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {match: place for place, match in enumerate(self.matches)}

    def _row_of(self, match: str, clip: int) -> int | None:
        """Finds the row of a clip; None if there is no such clip."""
        start, stop = self._match_range(match)
        row = start + int(np.searchsorted(self.clips[start:stop], clip))
        return row if row < stop and self.clips[row] == clip else None

    def first_of(self, clips: pa.Table) -> str | None:
        """Names the first of some clips that is here already."""
        matches = clips["match"].combine_chunks().dictionary_encode()
        numbers, places = clips["clip"].to_numpy(), matches.indices.to_numpy()
        # The clips of one match are compared at once: one by one takes as long as writing them.
        by_match = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places, minlength=len(matches.dictionary)))
        here = np.zeros(len(clips), bool)
        for match, of_match in zip(matches.dictionary.to_pylist(), np.split(by_match, ends)):
            here[of_match] = np.isin(
                numbers[of_match], self.clips[slice(*self._match_range(match))]
            )
        if not here.any():
            return None
        first = int(here.argmax())
        return f"{clips['match'][first]}/{numbers[first]}"

    def _ranges(self, without: Sequence[Surroundings], rows=None) -> list[Range]:
        """Gives the rows left out as sorted, disjoint ranges of all rows, or of a filter's."""
        left_out = []
        for one in without:
            start, stop = self._match_range(one.match)
            if one.clip is not None:
                row = self._row_of(one.match, one.clip)
                left_out += [] if row is None else [(row, row + 1)]
            elif one.seconds is None:
                left_out.append((start, stop))
            else:
                left_out += self._near(start, stop, one)
        if rows is not None:
            left_out = [tuple(np.searchsorted(rows, pair).tolist()) for pair in left_out]
        return _disjoint(left_out)

    def _near(self, start: int, stop: int, one: Surroundings) -> list[Range]:
        """Gives the rows of a match that overlap a time."""
        times = self.times[start:stop]
        if np.isnan(times).any():
            raise UserError(
                f"clips of match {one.match} have no times in the index, so that none is known to "
                "be near; index them with their start and stop"
            )
        earliest, latest = one.seconds
        near = np.flatnonzero((times[:, 0] < latest) & (times[:, 1] > earliest)) + start
        return [(int(row), int(row) + 1) for row in near]


def _one_focus(codes, queries, k, radius, left_out) -> list[Neighbours]:
    """Searches one focus, in bits."""
    if radius is None:
        return nearest.nearest(codes, queries, k, without=left_out)
    found = [nearest.within(codes, query, radius, without=left_out) for query in queries]
    return found if k is None else [one.cut(k) for one in found]


def _read(table, columns: list[str], where: str | None = None) -> pa.Table:
    """Reads columns of all rows, or those of a filter, with Lance's own numbers of the rows."""
    query = table.search() if where is None else table.search().where(where)
    return query.with_row_id(True).select([*columns, _ROW_ID]).to_batches(_READ).read_all()


def _ordered_matches(column: pa.ChunkedArray) -> tuple[list[str], Int64[np.ndarray, "M"]]:
    """Gives the matches in order, numbers by their value, and the place of each clip's match."""
    encoded = pa.chunked_array(column).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: match_order(names[place]))
    place_of = np.empty(len(names), np.int64)
    place_of[order] = np.arange(len(names))
    return [names[place] for place in order], place_of[encoded.indices.to_numpy()]


def _in_order(numbers, clips) -> bool:
    same = numbers[1:] == numbers[:-1]
    return bool(((numbers[1:] > numbers[:-1]) | (same & (clips[1:] > clips[:-1]))).all())


def _gather(codes: UInt8[np.ndarray, "M bytes"], rows) -> UInt8[np.ndarray, "m bytes"]:
    """Picks rows of codes, in large words where their size allows: a tenth of the time."""
    size = codes.shape[1]
    for word in (np.complex128, np.uint64):
        if size % np.dtype(word).itemsize == 0:
            words = np.take(codes.view(word), rows, axis=0)
            return words.view(np.uint8)
    return np.take(codes, rows, axis=0)


def _disjoint(ranges: Sequence[Range]) -> list[Range]:
    """Sorts ranges and joins those that touch."""
    joined: list[list[int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(stop, joined[-1][1])
        elif start < stop:
            joined.append([start, stop])
    return [(start, stop) for start, stop in joined]


def local_folder(uri: str) -> pathlib.Path | None:
    """Gives the folder of a store on this machine's disk, None of any other."""
    uri = uri.removeprefix("file://")
    return None if "://" in uri else pathlib.Path(uri)


def _cache_folder(uri: str) -> pathlib.Path:
    """Gives where derived codes are kept: in the store's folder, or with other programs' caches."""
    folder = local_folder(uri)
    if folder is not None:
        return folder / "derived"
    return files.cache_folder()


@contextlib.contextmanager
def told(uri: str, where: str | None = None) -> Iterator[None]:
    """Turns what the store raises into a `UserError` of one line.

    Lance reports by whichever exception its language binding has at hand, panics too.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # Lance adds the list of all columns, codes too, and where in its source it was.
        cause = re.split(r" Valid fields are |, \S+\.rs:\d", " ".join(str(error).split()))[0]
        cause = cause.removeprefix("Invalid input, ").rstrip(".")[:300]
        if where is not None and not isinstance(error, OSError):
            fields = ", ".join(RECORD.names)
            raise UserError(f"filter {where!r}: {cause}; the fields are {fields}") from error
        raise UserError(f"{uri} cannot be read or written as an index: {cause}") from error
