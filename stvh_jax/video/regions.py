"""A region of the frame, as a court or a pitch, and who stands in it."""

import json
import math
import os
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from stvh_jax import files
from stvh_jax.errors import Damaged

_WHAT = "a region"
_HOW = (
    "give a list of [x, y] in 0..1 of the frame, or {width, height, points} with points in pixels"
)
_MOST_POINTS = 1000
_MOST_BYTES = 1 << 20
# A region may reach beyond the frame by its size; pixels are far beyond.
_LEAST, _MOST = -1.0, 2.0
_EDGE = 1e-9


def read_region(path: os.PathLike | str) -> Float[np.ndarray, "P 2"]:
    """Reads the corners of a region, `[x, y]` in 0..1 of the frame.

    Args:
      path: a JSON file with a list of points; or with an object that has such `points`, in pixels
        if it has `width` and `height` of the frame, too.

    Raises:
      NotFound: there is no such file.
      Damaged: it holds something else, or fewer than three corners that enclose an area.
      UserError: it cannot be read.
    """
    content = files.read_bytes(path, _WHAT, most=_MOST_BYTES, cure=_HOW)
    with files.reading(path, _WHAT, _HOW):
        values = json.loads(content.decode("utf-8-sig"))
        scale = [1.0, 1.0]
        if isinstance(values, dict):
            if ("width" in values) != ("height" in values):
                raise ValueError("width and height go together")
            if "width" in values:
                scale = [_number(values["width"]), _number(values["height"])]
            values = values["points"]
        if min(scale) <= 0:
            raise ValueError("a width or height that is not above 0")
        if not isinstance(values, list) or not 3 <= len(values) <= _MOST_POINTS:
            raise ValueError(f"not a list of 3 to {_MOST_POINTS} points")
        points = np.array([_point(each) for each in values], np.float64) / scale
    return _checked(path, points)


def in_region(
    points: Float[np.ndarray, "N 2"], region: Float[np.ndarray, "P 2"]
) -> Bool[np.ndarray, "N"]:
    """Finds which points `[x, y]` lie in a region or on its edge.

    Of a region that crosses itself the parts that it goes round twice are outside.
    """
    x, y = points[:, :1].astype(np.float64), points[:, 1:].astype(np.float64)
    (x1, y1), (x2, y2) = region.T, np.roll(region, -1, axis=0).T
    # How often a line from the point to the right crosses the edge.
    crosses = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    inside = (crosses & right).sum(axis=1) % 2 == 1
    # The nearest place of each side.
    length = np.maximum((x2 - x1) ** 2 + (y2 - y1) ** 2, _EDGE**2)
    share = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length, 0, 1)
    gap = np.hypot(x1 + share * (x2 - x1) - x, y1 + share * (y2 - y1) - y)
    return inside | (gap <= _EDGE).any(axis=1)


def _checked(path: os.PathLike | str, points: np.ndarray) -> np.ndarray:
    if not np.isfinite(points).all() or points.min() < _LEAST or points.max() > _MOST:
        raise Damaged(f"{path} has points far beyond the frame; {_HOW}")
    sides = points - points[0]
    if np.linalg.matrix_rank(sides, tol=_EDGE) < 2:
        raise Damaged(f"{path} has points on one line, which enclose nothing; {_HOW}")
    return points


def _point(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("a point that is not [x, y]")
    return [_number(each) for each in value]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("something other than a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number
