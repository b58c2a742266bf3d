"""The index behind the page: what it holds, and the answer to a state of the page.

Searches of several users take turns, as the index keeps what it has read in memory for all of them;
one takes milliseconds.
"""

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stvh_jax.app.kept import Once
from stvh_jax.app.maps import CodeMap
from stvh_jax.app.narrowing import Field, Narrowing
from stvh_jax.app.research import Research
from stvh_jax.app.saved import SavedQueries
from stvh_jax.app.state import PageState
from stvh_jax.app.uploads import Uploads
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import printable
from stvh_jax.retrieval import asking, moments, queries
from stvh_jax.retrieval.asking import Asked
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import Moment
from stvh_jax.retrieval.where import quoted

# Queries that are kept, as a slider asks the same one again and again.
_KEPT = 128
# Whether the index has new clips is looked up so often, in seconds.
_LOOK = 2.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found for a state of the page.

    Attributes:
      asked: what was asked for.
      moments: what was found, the nearest first.
      focus: the focus that was searched.
      milliseconds: how long the search took.
      clips: how many clips there are.
      all_shown: whether there are no more moments.
    """

    asked: Asked
    moments: Sequence[Moment]
    focus: float
    milliseconds: float
    clips: int
    all_shown: bool


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What is known of the clips at one version of the index."""

    version: int | None
    table: pa.Table
    narrowing: Narrowing
    research: Research
    map: Once[CodeMap]


class Archive:
    """An open index with what the page needs to know of it.

    Attributes:
      index: the index.
      uploads: clips that were uploaded.
      saved: queries that were saved.
      turn: held while the index is used, by one at a time.
    """

    def __init__(self, index: Index, *, uploads: Uploads, saved: SavedQueries):
        """Reads the records of all clips once."""
        self.index, self.uploads, self.saved = index, uploads, saved
        self.turn = threading.RLock()
        self._asked: collections.OrderedDict[tuple, Asked] = collections.OrderedDict()
        self._looked = time.monotonic()
        self._contents = self._read()

    def _read(self) -> _Contents:
        table = self.index.clips()
        return _Contents(
            version=self.index.version,
            table=table,
            narrowing=Narrowing(self.index, table),
            research=Research(self.index, table, self.turn),
            map=Once(lambda: CodeMap.of(self.index, table, turn=self.turn)),
        )

    def refresh(self) -> None:
        """Goes on to the newest version of the index, at most every other second."""
        with self.turn:
            if time.monotonic() - self._looked < _LOOK:
                return
            self.index.refresh()
            self._looked = time.monotonic()
            if self.index.version != self._contents.version:
                self._contents = self._read()
                self._asked.clear()

    @property
    def table(self) -> pa.Table:
        """The records of all clips."""
        return self._contents.table

    @property
    def version(self) -> int | None:
        """The version of the index that they are of."""
        return self._contents.version

    @property
    def research(self) -> Research:
        """What the researcher's tab shows of these clips."""
        return self._contents.research

    @property
    def map(self) -> Once[CodeMap]:
        """The map of these clips."""
        return self._contents.map

    def places(self, clips: Mapping[int, Any] | Sequence[Name]) -> list[list[list[float]]] | None:
        """Says where clips stand on the map, at every focus; None before the map is made.

        Args:
          clips: their codes, by focus, or the names of clips of the index.
        """
        code_map = self.map.ready
        if code_map is None or not len(clips):
            return None
        with self.turn:
            codes = clips if isinstance(clips, Mapping) else self.index.get(clips)[0]
        return code_map.positions(codes)

    @property
    def activities(self) -> tuple[str, ...]:
        """The activities that can be asked for by their names."""
        readout = self.index.info.readout
        return () if readout is None else tuple(readout.names)

    @property
    def matches(self) -> list[str]:
        """The matches that have clips, in their natural order."""
        return self._contents.narrowing.values("match")

    def fields(self, state: PageState) -> list[Field]:
        """Gives the fields by which hits are narrowed, with their values and counts."""
        return self._contents.narrowing.listed(state)

    def where(self, state: PageState) -> str | None:
        """Gives the condition that hits have to meet; None where there is none."""
        return self._contents.narrowing.where(state)

    def some(self, state: PageState) -> tuple[list[dict[str, Any]], int]:
        """Gives records of clips that meet the conditions, spread evenly, and counts all such."""
        rows = self._contents.narrowing.rows(state)
        if len(rows) > state.count:
            places = np.linspace(0, len(rows) - 1, state.count).round().astype(int)
            return self.table.take(rows[places]).to_pylist(), len(rows)
        return self.table.take(rows).to_pylist(), len(rows)

    def record(self, name: Name) -> dict[str, Any]:
        """Gives the record of a clip.

        Raises:
          NotFound: it is not in the index.
        """
        with self.turn:
            return self.index.get([name])[1][0]

    def clip_at(self, match: str, seconds: float) -> Name | None:
        """Finds the clip of a match that shows a time, or the nearest one; None if none is near.

        Raises:
          NotFound: there is no such match.
        """
        if match not in self.matches:
            raise NotFound(f"no match is called {shown(match)}; write one of the list under Narrow")
        with self.turn:
            near = f"start <= {seconds + 2:g} AND stop >= {seconds - 2:g}"
            table = self.index.clips(f"match = {quoted(match)} AND {near}")
        if not len(table):
            return None
        starts, stops = table["start"].to_numpy(), table["stop"].to_numpy()
        apart = np.maximum(0, np.maximum(starts - seconds, seconds - stops))
        place = int(np.lexsort((np.abs(starts - seconds), apart))[0])
        return match, table["clip"][place].as_py()

    def asked(self, state: PageState) -> Asked:
        """Puts together what is asked for.

        Raises:
          UserError: it makes no sense; see `asking.ask`.
        """
        key = (
            *(state.clips, state.activity, state.saved, state.upload),
            *(state.liked, state.not_liked, self.version),
        )
        with self.turn:
            if key not in self._asked:
                self._asked[key] = self._ask(state)
                if len(self._asked) > _KEPT:
                    self._asked.popitem(last=False)
            self._asked.move_to_end(key)
            return self._asked[key]

    def _ask(self, state: PageState) -> Asked:
        if state.upload is not None and state.clips:
            raise UserError("an uploaded clip and clips of the index; ask for one of the two")
        clips = None
        if state.upload is not None:
            clips = self.uploads.get(state.upload).query
        elif state.clips:
            self._check_held(state.clips)
            clips = queries.Query(*self.index.get(state.clips))
        return asking.ask(
            self.index,
            clips,
            activity=state.activity,
            liked=state.liked,
            not_liked=state.not_liked,
            saved=None if state.saved is None else self.saved.load(state.saved),
        )

    def _check_held(self, names: Sequence[Name]) -> None:
        """Checks that clips are in the index: the page encodes none itself.

        Raises:
          NotFound: one is not.
        """
        for name, held in zip(names, self.index.holds(names)):
            if not held:
                raise NotFound(
                    f"clip {printable('/'.join(name))} is not in the index; choose one of its "
                    "clips, or upload yours"
                )

    def answer(self, state: PageState) -> Answer:
        """Searches for what is asked for.

        Raises:
          UserError: it makes no sense.
        """
        asked, where = self.asked(state), self.where(state)
        focus = self.index.info.focus_at(state.scale)
        with self.turn:
            begun = time.perf_counter()
            search = functools.partial(self._search, asked, focus, where, state.elsewhere)
            found = moments.find_moments(
                search,
                state.count + 1,
                beside=[] if asked.clips is None else asked.clips.records,
                step=moments.step_of(self.index),
            )
            milliseconds = 1000 * (time.perf_counter() - begun)
        return Answer(
            asked,
            found[: state.count],
            focus,
            milliseconds,
            self.table.num_rows,
            len(found) <= state.count,
        )

    def _search(self, asked: Asked, focus: float, where: str | None, elsewhere: bool, k: int):
        return asking.search(
            self.index,
            asked,
            focus=focus,
            k=k,
            where=where,
            exclude_match=elsewhere and _has_match(asked),
        )


def _has_match(asked: Asked) -> bool:
    """Says whether there is a match to leave out: activities, and uploads, are of none."""
    records = [] if asked.clips is None else asked.clips.records
    return bool(records) and all(record["match"] is not None for record in records)
