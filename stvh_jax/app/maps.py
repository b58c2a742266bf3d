"""A map of an index's clips in 2D, by principal components of their codes, at every focus."""

import collections
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.linalg
from jaxtyping import Float, Float32, UInt8

from stvh_jax.app.samples import Turn, drawn, label_of, names_of, read_codes
from stvh_jax.codes.linear_query import CodeSpace
from stvh_jax.codes.packing import unpack
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import HUNDREDTHS

# The most clips on a map: more hide each other.
MOST = 2000
# This share of the clips stands within this distance from the middle, so that a few that are far
# out do not press all others together.
_SHARE, _WITHIN = 0.99, 0.9
# In JSON, positions are whole numbers of which so many are 1.
_UNIT = 1000

# Stored codes of some clips, by focus.
_Codes = Mapping[int, UInt8[np.ndarray, "Q bytes"]]
_CodesOfHits = Mapping[int, UInt8[np.ndarray, "H bytes"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Takes the codes of one focus to the map.

    Attributes:
      space: the codes.
      middle: `[K]`, what stands in the middle of the map.
      axes: `[K, 2]`, the directions of its axes, scaled.
    """

    space: CodeSpace
    middle: Float[np.ndarray, "K"]
    axes: Float[np.ndarray, "K 2"]

    def place(self, codes: _Codes) -> Float32[np.ndarray, "Q 2"]:
        """Gives the positions of clips, -1 to 1; what is beyond stands on the border."""
        points = (_vectors(self.space, codes) - self.middle) @ self.axes
        return np.clip(points, -1, 1).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class CodeMap:
    """A sample of an index's clips on a map, which changes with the focus.

    At every focus the map shows the first two principal components of the codes, in which squared
    distances are distances of codes. It is turned, or mirrored, to be as near as it can be to the
    map of the focus before, so that points move little from one to the next.

    Attributes:
      names: (match, clip) of each.
      foci: those that can be searched.
      layouts: `[F, S, 2]`, where the clips stand at each focus, -1 to 1.
      groups: the activity of each, given or predicted; None where there is neither.
      predicted: whether it is predicted.
      projections: of each focus.
    """

    names: list[Name]
    foci: tuple[int, ...]
    layouts: Float32[np.ndarray, "F S 2"]
    groups: list[str | None]
    predicted: list[bool]
    projections: tuple[Projection, ...]

    @classmethod
    def of(
        cls, index: Index, table: pa.Table, *, turn: Turn | None = None, seed: int = 0
    ) -> "CodeMap":
        """Draws up to `MOST` clips, evenly over the archive, and makes their map.

        Args:
          index: where their codes are.
          table: the records of all its clips, from `Index.clips`.
          turn: is held while the index is read; None where nobody else reads it.
          seed: what is drawn depends on it.

        Raises:
          NotFound: a clip of the table is not in the index.
        """
        sample = table.take(drawn(len(table), MOST, seed=seed))
        names, records = names_of(sample), sample.select(["activity", "predicted"]).to_pylist()
        codes = read_codes(index, names, turn or contextlib.nullcontext())
        projections: list[Projection] = []
        for focus in index.foci:
            ((space, _),) = spaces_of(index.info, {focus: HUNDREDTHS}).values()
            projections.append(_projection(space, codes, projections[-1:]))
        return cls(
            names=names,
            foci=index.foci,
            layouts=np.stack([projection.place(codes) for projection in projections]),
            groups=[label_of(record) for record in records],
            predicted=[not record["activity"] and bool(record["predicted"]) for record in records],
            projections=tuple(projections),
        )

    def place(self, codes: _Codes) -> Float32[np.ndarray, "F Q 2"]:
        """Gives the positions of other clips on the map, at every focus.

        Args:
          codes: their packed codes, of every stored focus.

        Raises:
          UserError: they are not codes of this index.
        """
        return np.stack([projection.place(codes) for projection in self.projections])

    def marks(
        self, query: _Codes | None, hits: _CodesOfHits, names: Sequence[Name]
    ) -> list[dict[str, Any]]:
        """Gives the query and the hits as `map.js` marks them.

        Args:
          query: the codes of the clips that were searched for; None where there are none.
          hits: the codes of what was found, the nearest first.
          names: (match, clip) of the hits.
        """
        of_query = [] if query is None else self.positions(query)
        marks: list[dict] = [{"kind": "query", "places": places} for places in of_query]
        ranked = zip(names, self.positions(hits))
        for rank, ((match, clip), places) in enumerate(ranked, start=1):
            name = {"match": match, "clip": clip}
            marks.append({"kind": "hit", "rank": rank, "places": places, **name})
        return marks

    def positions(self, codes: _Codes) -> list[list[list[float]]]:
        """Gives [x, y] of other clips, by clip and focus, as plain values; see `place`."""
        return np.round(self.place(codes).swapaxes(0, 1).astype(float), 3).tolist()

    def to_json(self) -> dict[str, Any]:
        """Gives plain values for `map.js`: positions in thousandths, names and labels once each.

        Returns:
          `foci`; `unit`; `layouts`, of each focus x and y of the clips in turn; `matches`, and for
          each clip its place there, `match`; `clip`; `labels`, those of most clips first, and for
          each clip its place there, `label`, or -1; `predicted`, 1 or 0.
        """
        matches = list(dict.fromkeys(match for match, _ in self.names))
        counts = collections.Counter(group for group in self.groups if group is not None)
        labels = sorted(counts, key=lambda label: (-counts[label], label))
        of_match, of_label = ({name: i for i, name in enumerate(own)} for own in (matches, labels))
        flat = np.rint(self.layouts * _UNIT).astype(int).reshape(len(self.foci), -1)
        return {
            "foci": list(self.foci),
            "unit": _UNIT,
            "layouts": flat.tolist(),
            "matches": matches,
            "match": [of_match[match] for match, _ in self.names],
            "clip": [clip for _, clip in self.names],
            "labels": labels,
            "label": [-1 if group is None else of_label[group] for group in self.groups],
            "predicted": [int(each) for each in self.predicted],
        }


def _vectors(space: CodeSpace, codes: _Codes) -> Float[np.ndarray, "Q K"]:
    """Gives codes as vectors whose squared distances are four times the distances of the codes."""
    return unpack(space.codes_of(codes)) * np.sqrt(space.bit_weights)


def _projection(space: CodeSpace, codes: _Codes, before: Sequence[Projection]) -> Projection:
    """Finds the projection of a focus.

    Args:
      space: its codes.
      codes: of the clips to be shown.
      before: the projection of the focus before, if there is one.
    """
    vectors = _vectors(space, codes)
    if not len(vectors):
        return Projection(space, np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1], 2)))
    middle = vectors.mean(axis=0)
    axes = _principal_axes(vectors - middle)
    points = (vectors - middle) @ axes
    for projection in before:
        theirs = (_vectors(projection.space, codes) - projection.middle) @ projection.axes
        axes = axes @ _turned(points, theirs)
    return Projection(space, middle, axes * (_WITHIN / _reach(points, vectors)))


def _reach(points: Float[np.ndarray, "S 2"], vectors: Float[np.ndarray, "S K"]) -> float:
    """Gives the distance from the middle within which most points stand; 1 if all are one."""
    distances = np.linalg.norm(points, axis=1)
    rounding = 1e-6 * float(np.linalg.norm(vectors[0]))
    reaches = float(np.quantile(distances, _SHARE)), float(distances.max())
    return next((reach for reach in reaches if reach > rounding), 1.0)


def _principal_axes(centred: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "K 2"]:
    """Gives the two directions of the most variance, each with its largest entry positive."""
    bits = centred.shape[1]
    _, axes = scipy.linalg.eigh(centred.T @ centred, subset_by_index=[bits - 2, bits - 1])
    axes = axes[:, ::-1]
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    return axes * np.where(largest < 0, -1.0, 1.0)


def _turned(
    points: Float[np.ndarray, "S 2"], onto: Float[np.ndarray, "S 2"]
) -> Float[np.ndarray, "2 2"]:
    """Gives the turn, or reflection, that brings points nearest to others (Procrustes)."""
    left, _, right = np.linalg.svd(points.T @ onto)
    return left @ right
