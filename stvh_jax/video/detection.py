"""Finds the people of one frame with a YOLOX model in an ONNX file."""

import dataclasses
import itertools
import os
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from stvh_jax import files
from stvh_jax.errors import UserError, shown
from stvh_jax.video import boxes as geometry
from stvh_jax.video import yolox

# The least score of a box, and the IoU above which two boxes are the same person. With weaker boxes
# people are lost less often; with more overlap one person is two, who are then confused.
THRESHOLD = 0.1
MOST_OVERLAP = 0.45
# The best boxes that are compared with each other: of more the comparison would be slow.
_MOST_BOXES = 2000
# A box ends at the edge of a tile if it is no further from it, in sides of the tile.
_NEAR_EDGE = 0.005
_MOST_TILES = 16  # a side


@dataclasses.dataclass(frozen=True)
class Detector:
    """A YOLOX model that finds people; `Detector.load` reads one.

    Attributes:
      session: what runs it, an `onnxruntime.InferenceSession`.
      input_name: the name of its one input.
      height: of the input, in pixels.
      width: of the input, in pixels.
      strides: how many pixels a cell of each of its grids has.
      decoded: whether it gives pixels itself, rather than what to add to the cells.
      legacy: whether it takes RGB less a mean, over a deviation, rather than BGR in 0..255.
    """

    session: Any
    input_name: str
    height: int
    width: int
    strides: tuple[int, ...]
    decoded: bool
    legacy: bool

    @classmethod
    def load(cls, path: os.PathLike | str, *, threads: int = 1, legacy: bool = False) -> "Detector":
        """Reads a model of the YOLOX family, with its boxes decoded in the file or not.

        It is run once, on a grey frame, for its file does not say which of the two it is.

        Args:
          path: an ONNX file. It is a program: take it from whom you trust.
          threads: how many threads compute one frame.
          legacy: whether it was trained as YOLOX's first models, or ByteTrack's: these take RGB in
            0..1, less a mean, over a deviation. Nothing in a file says so; with the wrong choice
            it finds few people or nobody.

        Raises:
          NotFound: there is no such file.
          Damaged: it is no ONNX file that can be read.
          UserError: it is another kind of model.
        """
        if threads < 1:
            raise UserError(f"threads is {threads}; give 1 or more")
        return cls.of_session(yolox.open_session(path, threads), name=str(path), legacy=legacy)

    @classmethod
    def of_session(cls, session: Any, *, name: str, legacy: bool = False) -> "Detector":
        """Takes a model that is loaded already; `name` is for messages. See `load`."""
        input_name, height, width = yolox.input_of(session, name)
        grey = np.full((height, width, 3), yolox.GREY, np.uint8)
        try:
            outputs = session.run(None, {input_name: yolox.as_input(grey, height, width, legacy)})
        except Exception as error:  # onnxruntime's classes are in a private module
            raise UserError(
                f"{name} cannot be run on one frame ({files.reason(error)}); {yolox.CURE}"
            ) from error
        output = yolox.output_of(outputs, name)
        strides = yolox.strides_of(output.shape[1], height, width, name)
        return cls(
            session, input_name, height, width, strides, yolox.is_decoded(output[0], name), legacy
        )

    def detect(
        self,
        frame: np.ndarray,
        *,
        threshold: float | int = THRESHOLD,
        most_overlap: float | int = MOST_OVERLAP,
        least_height: float | int = 0,
        tiles: tuple[int, int] | None = None,
        tile_overlap: float | int = 0.2,
    ) -> tuple[Float32[np.ndarray, "N 4"], Float32[np.ndarray, "N"]]:
        """Finds the people of a frame, the surest first.

        Args:
          frame: `[H, W, 3]`, RGB, `uint8`.
          threshold: the least score of a box that is given. The default leaves weak boxes for
            who follows people over time; for a single frame, 0.3 is better.
          most_overlap: of two boxes with a larger IoU the surer one is given.
          least_height: of a box that is given, in 0..1 of the frame: leaves out most spectators.
          tiles: rows and columns of parts in which the frame is searched too, each at the full
            size of the model's input: finds people who are small in the frame, and takes
            1 + rows * columns times as long. None for the whole frame alone.
          tile_overlap: how much of a tile its neighbour covers too, in 0..0.9. A person who is
            larger than that is found by the whole frame.

        Returns:
          The boxes, `[y_min, x_min, y_max, x_max]` in 0..1 of the frame, cut at its edges; and how
          sure each is, in 0..1.

        Raises:
          UserError: the frame is of another type or shape, or a setting is out of range.
        """
        _check_frame(frame)
        _check_settings(threshold, most_overlap, least_height, tiles, tile_overlap)
        height, width = frame.shape[:2]
        found = [self._search(frame, threshold)]
        windows = _tile_windows(height, width, tiles, tile_overlap) if tiles else []
        for top, left, bottom, right in windows:
            boxes, scores = self._search(frame[top:bottom, left:right], threshold)
            boxes = boxes + np.array([top, left, top, left], np.float32)
            whole = _is_whole(boxes, (top, left, bottom, right), height, width)
            found.append((boxes[whole], scores[whole]))
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        size = np.array([height, width, height, width], np.float32)
        boxes = np.clip(boxes / size, 0, 1)
        seen = (geometry.areas(boxes) > 0) & (boxes[:, 2] - boxes[:, 0] >= least_height)
        boxes, scores = boxes[seen], scores[seen]
        best = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
        boxes, scores = boxes[best], scores[best]
        kept = geometry.without_repeats(boxes, scores, most_overlap)
        return boxes[kept], scores[kept]

    def _search(
        self, frame: UInt8[np.ndarray, "H W 3"], threshold: float | int
    ) -> tuple[Float32[np.ndarray, "N 4"], Float32[np.ndarray, "N"]]:
        """Gives all boxes above the threshold, in pixels of the frame, repeats included."""
        pixels = yolox.as_input(frame, self.height, self.width, self.legacy)
        (output,) = self.session.run(None, {self.input_name: pixels})
        predictions = np.asarray(output[0], np.float32)
        scores = predictions[:, yolox.OBJECTNESS] * predictions[:, yolox.PERSON]
        sure = scores >= threshold  # false for NaN, too
        boxes = predictions[:, :4][sure]
        scale = yolox.scale_of(frame.shape[0], frame.shape[1], self.height, self.width)
        with np.errstate(over="ignore", invalid="ignore"):
            if not self.decoded:
                cells, strides = yolox.grid(self.height, self.width, self.strides)
                boxes = yolox.decode(boxes, cells[sure], strides[sure])
            centres, halves = boxes[:, :2] / scale, boxes[:, 2:] / (2 * scale)
            corners = np.concatenate([centres - halves, centres + halves], axis=1)
        finite = np.isfinite(corners).all(axis=1)
        # The product of two scores of just above 1 is no score.
        return corners[finite][:, [1, 0, 3, 2]], np.minimum(scores[sure][finite], 1)


def _tile_windows(
    height: int, width: int, tiles: tuple[int, int], overlap: float | int
) -> list[tuple[int, int, int, int]]:
    """Lists the tiles, top, left, bottom, right in pixels; none where one tile is the frame."""
    if tiles == (1, 1):
        return []
    rows, columns = (
        _spans(side, count, overlap) for side, count in zip((height, width), tiles, strict=True)
    )
    return [
        (top, left, bottom, right)
        for (top, bottom), (left, right) in itertools.product(rows, columns)
    ]


def _spans(side: int, count: int, overlap: float | int) -> list[tuple[int, int]]:
    length = side / (count - (count - 1) * overlap)
    starts = np.linspace(0, side - length, count)
    return [(int(start), min(side, int(np.ceil(start + length)))) for start in starts]


def _is_whole(
    boxes: Float32[np.ndarray, "N 4"], tile: tuple[int, int, int, int], height: int, width: int
) -> Bool[np.ndarray, "N"]:
    """Tells the boxes that end within a tile from those cut by an edge which is not the frame's.

    The neighbour that overlaps the tile there has the whole box of these.
    """
    top, left, bottom, right = tile
    near = _NEAR_EDGE * np.array([bottom - top, right - left], np.float32)
    whole = np.ones(len(boxes), bool)
    if top > 0:
        whole &= boxes[:, 0] > top + near[0]
    if left > 0:
        whole &= boxes[:, 1] > left + near[1]
    if bottom < height:
        whole &= boxes[:, 2] < bottom - near[0]
    if right < width:
        whole &= boxes[:, 3] < right - near[1]
    return whole


def _check_frame(frame: np.ndarray) -> None:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        kind = getattr(frame, "dtype", type(frame).__name__)
        raise UserError(f"a frame has the type {kind}; give uint8, [height, width, 3]")
    if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise UserError(f"a frame has the shape {list(frame.shape)}; give [height, width, 3]")


def _check_settings(
    threshold: float | int,
    most_overlap: float | int,
    least_height: float | int,
    tiles: tuple[int, int] | None,
    tile_overlap: float | int,
) -> None:
    shares = {
        "threshold": threshold,
        "most_overlap": most_overlap,
        "least_height": least_height,
    }
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} is {shown(value)}; give a number in 0..1")
    if not 0 <= tile_overlap <= 0.9:
        raise UserError(f"tile_overlap is {shown(tile_overlap)}; give a number in 0..0.9")
    if tiles is not None and not all(1 <= count <= _MOST_TILES for count in tiles):
        raise UserError(f"tiles is {shown(tiles)}; give rows and columns, 1 to {_MOST_TILES} each")
