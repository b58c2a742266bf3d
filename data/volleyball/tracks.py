"""Reads the person tracks of the Volleyball Dataset, in both formats they come in."""

import pathlib
import pickle
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from data.annotations import parse_numbers, read_lines
from data.tracks import Tracks, tracks_from_boxes
from stvh_jax.errors import Damaged, NotFound


def parse_volleyball_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads a text track file of one Volleyball clip.

    A row is `player xmin ymin xmax ymax frame lost grouping generated action`, native pixels. The
    boxes of rows marked `lost` are not reliable; these people count as not visible.

    Raises:
      NotFound: there is no such file.
      Damaged: at a malformed row, with file and line, or where no person is ever visible.
    """
    boxes = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) != 10:
                raise ValueError(f"expected 10 fields, found {len(fields)}")
            player, x_min, y_min, x_max, y_max, frame, lost = parse_numbers(fields[:7])
            if x_max < x_min or y_max < y_min:
                raise ValueError("the box ends before it starts")
            if (frame, player) in boxes:
                raise ValueError(f"player {player:g} already has a box in frame {frame:g}")
        except ValueError as error:
            raise Damaged(f"{path}:{number}: {error}") from None
        boxes[frame, player] = None if lost else (y_min, x_min, y_max, x_max)
    boxes = {place: box for place, box in boxes.items() if box is not None}
    if not boxes:
        raise Damaged(f"{path}: no person is visible in any row; remove or replace the file")
    return tracks_from_boxes(boxes)


def load_normalized_tracks(path: str | pathlib.Path) -> dict[tuple[str, str], Tracks]:
    """Reads `tracks_normalized.pkl`: (video, clip) -> tracks with boxes in 0..1 of the frame.

    The pickle holds `{(video, clip): {frame: float (n, 4)}}`, its names as texts or numbers; row i
    is the same person in every frame. No code that the file names is run: only NumPy arrays and
    plain Python containers and numbers are rebuilt.

    Raises:
      NotFound: there is no such file.
      Damaged: it cannot be read, names anything else, or has another layout.
    """
    try:
        with open(path, "rb") as file:
            # Pickles made by Python 2 hold NumPy's bytes as str, which latin1 leaves as they are.
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise Damaged(f"{path}: not a pickle of plain arrays ({error})") from None
    try:
        return {
            (str(video), str(clip)): _tracks_from_arrays(frames)
            for (video, clip), frames in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise Damaged(
            f"{path}: expected {{(video, clip): {{frame: float (n, 4) boxes}}}} ({error})"
        ) from None


def _tracks_from_arrays(frames: Mapping[int, Float[np.ndarray, "n 4"]]) -> Tracks:
    boxes = {}
    for frame, rows in frames.items():
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != 4 or not np.isfinite(rows).all():
            raise ValueError(f"frame {frame} holds an array of shape {rows.shape}")
        boxes |= {(int(frame), person): row for person, row in enumerate(rows)}
    if not boxes:
        raise ValueError("a clip has no box")
    return tracks_from_boxes(boxes)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can rebuild NumPy arrays and nothing else."""

    _NUMPY = {
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    }

    def find_class(self, module, name):
        """Returns the global that a pickle names, if it belongs to an array."""
        # numpy.core became numpy._core in NumPy 2; there are pickles of both.
        package, _, submodule = module.rpartition(".")
        if package in ("numpy.core", "numpy._core") and (submodule, name) in self._NUMPY:
            return super().find_class(f"numpy._core.{submodule}", name)
        # Protocol 2 writes bytes as a string to encode.
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
