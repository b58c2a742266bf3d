"""The search in a Milvus collection, and the proof that an answer is the right one.

Of equally distant rows Milvus returns any, and at most 16384 rows for a query. So more are asked
for than k, until the k nearest are surely among them; their order is settled here.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8

from stvh_jax.codes.nearest import Neighbours
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.errors import NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval.clip_table import as_record, code_columns
from stvh_jax.retrieval.engine import Limits, LinearRequest, Name, SearchRequest
from stvh_jax.retrieval.milvus.collection import FOCUS, PART, PARTS, Collection, Row
from stvh_jax.retrieval.milvus.row_codes import row_codes, row_signs, row_weights
from stvh_jax.retrieval.milvus.where import joined, null_of, quoted, translate
from stvh_jax.retrieval.record import ADAPTATION
from stvh_jax.retrieval.surroundings import Surroundings, unknown_times

# The most rows that Milvus returns for a query.
_LIMIT = 16384

# Rows asked for beyond k: usually all that are as near as the k-th are among them.
_SLACK = 256

# Clips that a linear query ranks, in all and for each that is asked for.
_RANKED, _RANKED_FOR_EACH = 1024, 16

# The most rows in the answer to several queries.
_ANSWERS = 1 << 18

# The condition that clips without times meet.
_TIMELESS = translate("start IS NULL OR stop IS NULL")


@dataclasses.dataclass(frozen=True)
class _Nearest:
    """The clips nearest to one code.

    Attributes:
      distances: by clip, in bits.
      others: the least distance that any other clip may have; infinite if there is no other.
    """

    distances: dict[Name, int]
    others: int | float


@dataclasses.dataclass(frozen=True)
class _Term:
    """A part of a weighted distance: `weight` times the distance from a code at a focus."""

    weight: int
    focus: int
    code: UInt8[np.ndarray, "bytes"]
    nearest: _Nearest


class CollectionSnapshot:
    """A collection that is searched: not a copy, but the collection as it is."""

    def __init__(self, collection: Collection):
        """Wraps a collection."""
        self._collection, self._info = collection, collection.info
        # Rows are numbered in the order in which they are first found.
        self._row_of: dict[Name, int] = {}
        self._names: list[Name] = []

    def search(self, request: SearchRequest) -> list[Neighbours]:
        """Finds the nearest clips; see `Snapshot.search`.

        The nearest of each term of a weighted distance are found, and the whole distance of each.
        A clip not among them is at least as far as the sum of what the others may be in each
        term; until that is beyond the k-th found, more are asked for.

        Raises:
          UserError: as there, or the answer cannot be proven within what Milvus returns.
        """
        conditions = self._conditions(request)
        weights, scale = row_weights(self._info, request)
        asked = {focus: row_codes(self._info, focus, request.stored) for focus in weights}
        answers: list[Neighbours | None] = [None] * len(request.groups)
        size = 0
        for size in _sizes(_SLACK + (request.k or 0)):
            open_groups = [place for place, answer in enumerate(answers) if answer is None]
            queries = [query for place in open_groups for query in request.groups[place]]
            nearest = {
                focus: dict(zip(queries, self._nearest(focus, codes[queries], size, conditions)))
                for focus, codes in asked.items()
            }
            for place in open_groups:
                terms = [
                    _Term(weight, focus, asked[focus][query], nearest[focus][query])
                    for focus, weight in weights.items()
                    for query in request.groups[place]
                ]
                answers[place] = self._answer(terms, request, scale)
            proven = [answer for answer in answers if answer is not None]
            if len(proven) == len(answers):
                return proven
        raise UserError(
            f"{self._collection.uri}: the nearest {size} clips are not enough to be sure of the "
            "answer, and a query reads no more from Milvus; ask for fewer, or narrow the search "
            "by a radius or a condition"
        )

    def search_linear(self, request: LinearRequest) -> Neighbours:
        """Finds the nearest of the clips whose codes have most of the query's signs.

        Milvus knows no weights of a query, so that this is not proven: what is nearest by weights,
        but not among the first by signs in any row that is searched, is missed.
        """
        size = min(_LIMIT, _RANKED + _RANKED_FOR_EACH * (request.k or 0))
        conditions = self._conditions(request)
        names: dict[Name, None] = {}
        for focus, signs in row_signs(self._info, request).items():
            (nearest,) = self._nearest(focus, signs[None], size, conditions)
            names |= dict.fromkeys(nearest.distances)
        present, stored = self._stored_codes(list(names))
        codes = [self._info.codes_of_part(part, stored) for part in request.parts]
        distances = request.query.distances(np.concatenate(codes, axis=1))
        return self._ordered(dict(zip(present, distances.tolist())), request)

    def find(self, names: Sequence[Name]) -> list[int | None]:
        """Finds the rows of clips; None for one that is not in the collection."""
        present = self._collection.present(names)
        return [int(self._numbered([name])[0]) if name in present else None for name in names]

    def list_clips(self, where: str | None = None, *, codes: bool = False) -> pa.Table:
        """Gives the records of the clips that meet a condition; see `Snapshot.list_clips`."""
        conditions = [] if where is None else [translate(where, self._info.record)]
        names = self._collection.names(conditions)
        names.sort(key=lambda name: (natural_key(name[0]), natural_key(name[1])))
        clips = self.records(self._numbered(names))
        if not codes:
            return clips.select(self._info.fields.names)
        if self._info.bit_weights is None:
            return clips
        return clips.append_column(ADAPTATION, pa.array(np.zeros(len(clips), np.int64)))

    def records(self, rows: Int64[np.ndarray, "k"]) -> pa.Table:
        """Gives the records and codes of some rows of a search, in their order.

        Raises:
          NotFound: a clip is there no more.
        """
        info, collection = self._info, self._collection
        names = [self._names[row] for row in rows]
        fields = [*info.record.names, collection.code_field]
        stored = dict(collection.rows(names, info.stored_foci, fields))
        for name in names:
            if any(Row(name, focus) not in stored for focus in info.stored_foci):
                raise NotFound(
                    f"clip {name[0]}/{name[1]} was deleted from {collection.uri} after it was "
                    "found; search again"
                )
        records = [stored[Row(name, info.last_focus)] for name in names]
        columns = {}
        for field in info.record:
            values = [_read(field, record[field.name]) for record in records]
            columns[field.name] = pa.array(values, field.type)
        codes = collection.stored_codes(names, stored)
        return as_record(info, pa.table(columns | code_columns(info, codes)))

    def _answer(
        self, terms: Sequence[_Term], request: SearchRequest, scale: int
    ) -> Neighbours | None:
        """Gives the clips nearest in a weighted distance, if what was found proves it.

        The terms' sums are `scale` times as large as the request's distances.
        """
        k, limit = request.k, request.limit
        others = sum(term.weight * term.nearest.others for term in terms) / scale
        sums = {name: total // scale for name, total in self._sums(terms).items()}
        sums = {name: total for name, total in sums.items() if total < others}
        # Whatever is not in `sums` is at least as far as `others`.
        enough = k is not None and len(sums) >= k
        everything = others == math.inf or (limit is not None and others > limit)
        if not enough and not everything:
            return None
        return self._ordered(sums, request)

    def _ordered(self, sums: dict[Name, int], request: Limits) -> Neighbours:
        """Gives the clips nearest by some distances, within the request's limits."""
        k, limit = request.k, request.limit
        if limit is not None:
            sums = {name: total for name, total in sums.items() if total <= limit}
        names = sorted(
            sums, key=lambda name: (sums[name], natural_key(name[0]), natural_key(name[1]))
        )
        distances = np.array([sums[name] for name in names], np.int64)
        places = Neighbours(np.arange(len(names)), distances, 0).cut(len(names) if k is None else k)
        return dataclasses.replace(
            places, rows=self._numbered([names[place] for place in places.rows])
        )

    def _sums(self, terms: Sequence[_Term]) -> dict[Name, int]:
        """Gives the weighted distances of all clips found for any term."""
        if len(terms) == 1:
            (term,) = terms
            return {name: term.weight * d for name, d in term.nearest.distances.items()}
        names = list({name: None for term in terms for name in term.nearest.distances})
        names, stored = self._stored_codes(names)
        codes = {term.focus: row_codes(self._info, term.focus, stored) for term in terms}
        sums = np.zeros(len(names), np.int64)
        for term in terms:
            sums += term.weight * hamming_distances(term.code[None], codes[term.focus])[0]
        return dict(zip(names, sums.tolist()))

    def _stored_codes(
        self, names: Sequence[Name]
    ) -> tuple[list[Name], dict[int, UInt8[np.ndarray, "m bytes"]]]:
        """Reads the codes of clips, of each stored focus; of those that are still there."""
        collection, foci = self._collection, self._info.stored_foci
        rows = dict(collection.rows(names, foci, [collection.code_field]))
        # A clip may have been deleted since it was found.
        names = [name for name in names if all(Row(name, focus) in rows for focus in foci)]
        return names, collection.stored_codes(names, rows)

    def _nearest(
        self, focus: int, codes: UInt8[np.ndarray, "Q bytes"], size: int, conditions: Sequence[str]
    ) -> list[_Nearest]:
        """Finds at least `size` clips nearest to each code at a focus, or all there are."""
        limit, parts = min(size, _LIMIT), -(-size // _LIMIT)
        condition = joined([f"{FOCUS} == {focus}", *conditions], "and")
        of_parts = [condition]
        if parts > 1:
            of_parts = [f"{condition} and {PART} % {parts} == {part}" for part in range(parts)]
        at_once = _ANSWERS // limit
        nearest = []
        for start in range(0, len(codes), at_once):
            data = [code.tobytes() for code in codes[start : start + at_once]]
            answers = [self._collection.nearest(data, limit, part) for part in of_parts]
            nearest += [_joined_parts(answer, limit) for answer in zip(*answers)]
        return nearest

    def _conditions(self, request: Limits) -> list[str]:
        """Says in Milvus's own language which clips are searched: those that meet every condition.

        Raises:
          UserError: a condition cannot be read, or clips have no times to tell what is near.
        """
        where, without = request.where, request.without
        for match in sorted({each.match for each in without if each.seconds is not None}):
            if self._collection.count([f"match == {quoted(match)}", _TIMELESS]):
                raise unknown_times(match)
        conditions = [] if where is None else [translate(where, self._info.record)]
        return conditions + [self._outside(each) for each in without]

    def _outside(self, surroundings: Surroundings) -> str:
        """Gives the condition that clips outside of surroundings meet."""
        match, clip = quoted(surroundings.match), surroundings.clip
        if clip is not None:
            whole = self._info.format == 1
            return f"(match != {match} or clip != {clip if whole else quoted(clip)})"
        if surroundings.seconds is None:
            return f"match != {match}"
        earliest, latest = map(float, surroundings.seconds)
        return f"(match != {match} or start >= {latest!r} or stop <= {earliest!r})"

    def _numbered(self, names: Sequence[Name]) -> Int64[np.ndarray, "k"]:
        """Gives the rows of clips, new numbers to those never found before."""
        for name in names:
            if name not in self._row_of:
                self._row_of[name] = len(self._names)
                self._names.append(name)
        return np.array([self._row_of[name] for name in names], np.int64)


def _read(field: pa.Field, value):
    """Gives the value of the record that was stored."""
    return None if field.nullable and value == null_of(field) else value


def _sizes(first: int) -> Iterator[int]:
    """Gives how many clips are asked for in turn, as long as they are too few."""
    while first < _LIMIT:
        yield first
        first *= 4
    parts = 1
    while parts <= PARTS:
        yield parts * _LIMIT
        parts *= 4


def _joined_parts(answers: Sequence[Sequence[Any]], limit: int) -> _Nearest:
    """Joins what was found for one code in every part."""
    distances = {Row.of(hit["id"]).name: round(hit["distance"]) for hits in answers for hit in hits}
    # What Milvus left out may be as far as the last that it gave.
    others = [round(hits[-1]["distance"]) for hits in answers if len(hits) == limit]
    return _Nearest(distances, min(others, default=math.inf))
