"""Lance's own numbers of the rows of a snapshot, by which records are asked for."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from stvh_jax.retrieval.lance.storage import ROW_ID, read_columns, storage_errors

# Gives a store at one version, a `LanceTable` that stays there, whatever is written.
OpenTable = Callable[[], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class RowIds:
    """The numbers of all rows.

    Attributes:
      uri: where the store is, for messages.
      open_table: gives the store at the snapshot's version, and opens it when it is first asked.
      known: of each row its number; -1 - p for the p-th row that Lance reads, whose number is not
        known before it is needed.
    """

    uri: str
    open_table: OpenTable
    known: Int64[np.ndarray, "M"]

    @functools.cached_property
    def all(self) -> Int64[np.ndarray, "M"]:
        """The numbers themselves."""
        unknown = np.flatnonzero(self.known < 0)
        if not len(unknown):
            return self.known
        with storage_errors(self.uri):
            ids = read_columns(self.open_table(), [])[ROW_ID].to_numpy().astype(np.int64)
        numbers = self.known.copy()
        numbers[unknown] = ids[-1 - numbers[unknown]]
        return numbers

    @property
    def found(self) -> Int64[np.ndarray, "M"]:
        """The numbers, as far as they have been needed."""
        return vars(self).get("all", self.known)

    def rows_of(self, ids: Shaped[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
        """Finds the rows that have some numbers."""
        ids = ids.astype(np.int64)
        if np.array_equal(ids, self.all):  # as of most stores, for which this is quicker
            return np.arange(len(ids))
        return self._order[np.searchsorted(self.all, ids, sorter=self._order)]

    @functools.cached_property
    def _order(self) -> Int64[np.ndarray, "M"]:
        return np.argsort(self.all)
