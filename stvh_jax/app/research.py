"""The researcher's tab: how far activities are apart, and where searches go wrong.

Both are of a sample of the labelled clips, read once for each version of an index, and are kept for
the last foci that were asked for.
"""

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stvh_jax.app.failures import Failures, find_failures
from stvh_jax.app.samples import LabelledClips, Turn
from stvh_jax.evaluation import metrics
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo, Number
from stvh_jax.unknown import UNKNOWN

# Results that are kept.
_KEPT = 32
# The colours of a table of distances.
_SHADES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class ClassDistances:
    """How far the clips of every two activities are apart in the mean (Fig. 12).

    Attributes:
      names: the activities, those of the most clips first.
      counts: the clips of each.
      predicted: those of them whose activity is predicted.
      left_out: how many further activities there are.
      matrix: `[classes, classes]`, mean distances in bits between different clips; NaN where there
        are none.
    """

    names: tuple[str, ...]
    counts: list[int]
    predicted: list[int]
    left_out: int
    matrix: Float[np.ndarray, "classes classes"]

    @functools.cached_property
    def shades(self) -> list[list[int | None]]:
        """The colour of each distance, 0, the farthest, to 9, the nearest; None where it is NaN."""
        known = self.matrix[np.isfinite(self.matrix)]
        if not len(known):
            return [[None] * len(self.names) for _ in self.names]
        span = float(np.ptp(known)) or 1.0
        nearness = (known.max() - self.matrix) / span
        return [
            [None if np.isnan(each) else min(int(each * _SHADES), _SHADES - 1) for each in row]
            for row in nearness.tolist()
        ]


def class_distances(info: IndexInfo, clips: LabelledClips, scale: Number) -> ClassDistances:
    """Averages the distances between the clips of every two activities.

    Args:
      info: of the index that they are from.
      clips: a sample.
      scale: from 0, focus 0, to 1, the last focus.

    Raises:
      UserError: the scale is something else, or there is no such focus.
    """
    number = len(clips.classes)
    spaces = spaces_of(info, info.weights(info.focus_at(scale))).values()
    differing = sum(
        share * metrics.class_distances(own, clips.labels, number, space.bit_weights)
        for space, share in spaces
        for own in [space.codes_of(clips.codes)]
    )
    total = sum(share * space.bit_weights.sum() for space, share in spaces)
    shown = clips.labels != UNKNOWN
    return ClassDistances(
        names=clips.classes,
        counts=np.bincount(clips.labels[shown], minlength=number).tolist(),
        predicted=np.bincount(clips.labels[shown & clips.predicted], minlength=number).tolist(),
        left_out=clips.left_out,
        matrix=np.asarray(differing * (info.bits / total)),
    )


class Research:
    """What the tab shows of one version of an index."""

    def __init__(self, index: Index, table: pa.Table, turn: Turn):
        """Takes what is needed; nothing is read yet.

        Args:
          index: the index.
          table: the records of all its clips, from `Index.clips`.
          turn: is held while the index is used, for some milliseconds at a time.
        """
        self._index, self._table, self._turn = index, table, turn
        self._kept: collections.OrderedDict[tuple[str, float], Any] = collections.OrderedDict()
        # Who asks for what another waits for waits, too: it is not worked out twice.
        self._working = threading.RLock()

    @functools.cached_property
    def clips(self) -> LabelledClips:
        """The labelled clips that are looked at."""
        with self._working:
            return LabelledClips.of(self._index, self._table, self._turn)

    def distances(self, scale: Number) -> ClassDistances:
        """Averages the distances between the clips of every two activities; see there.

        Raises:
          UserError: there is no such focus.
        """
        return self._once(
            "distances", scale, lambda: class_distances(self._index.info, self.clips, scale)
        )

    def failures(self, scale: Number) -> Failures:
        """Finds where searches go wrong; see there.

        Raises:
          UserError: there is no such focus.
        """
        return self._once(
            "failures",
            scale,
            lambda: find_failures(self._index, self._table, self.clips, scale, self._turn),
        )

    def _once(self, what: str, scale: Number, work: Callable[[], Any]) -> Any:
        """Works something out, or gives what was kept of it, at a focus to hundredths."""
        key = what, self._index.info.focus_at(scale)
        with self._working:
            if key not in self._kept:
                self._kept[key] = work()
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
