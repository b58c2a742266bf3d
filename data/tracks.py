"""Person tracks: parsers of their file formats and the match with annotated people; NumPy only.

Boxes are `[y_min, x_min, y_max, x_max]`; the parsers leave them in the units of the file (native
pixels in the text formats, 0..1 of the frame in `tracks_normalized.pkl`).
"""

import dataclasses
import pathlib
import pickle
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from data.annotations import parse_numbers, read_lines
from stvh_jax.errors import UserError

# Text tracks overlap the annotated boxes by about 0.6 on average; neighbours overlap by less.
MIN_MATCH_IOU = 0.3


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The boxes of P people in F frames, of a clip or of a whole video.

    Attributes:
      frames: frame numbers, ascending.
      boxes: one box for each frame and person.
      visible: false where the person has no box in a frame; each person has one somewhere.
    """

    frames: Int[np.ndarray, "F"]
    boxes: Float[np.ndarray, "F P 4"]
    visible: Bool[np.ndarray, "F P"]


def parse_volleyball_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads a text track file of one Volleyball clip.

    A row is `player xmin ymin xmax ymax frame lost grouping generated action`, native pixels. Rows
    marked `lost` hold no trustworthy box and count as not visible.

    Raises:
      UserError: at a malformed row, with file and line, or if no person is ever visible.
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
            raise UserError(f"{path}:{number}: {error}") from None
        boxes[frame, player] = None if lost else (y_min, x_min, y_max, x_max)
    boxes = {place: box for place, box in boxes.items() if box is not None}
    if not boxes:
        raise UserError(f"{path}: no person is visible in any row; remove or replace the file")
    return _tracks_from_boxes(boxes)


def parse_collective_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads the track file of one Collective Activity sequence, `track<N>.dat`.

    After `Total frames F` and `Number of Targets P` come, for every target, `Target n (frames from
    a to b)`, the caption `Bounding Boxes ...`, a row `frame x y width height` in native pixels for
    each of its frames, the caption `3D Trajetory ...` and as many rows of its place on the ground,
    which is not used.

    Raises:
      UserError: at a malformed row, or in a cut file, with file and line.
    """
    lines = read_lines(path)
    boxes, spans = {}, []
    announced, block = 0, None
    for number, line in enumerate(lines, start=1):
        if found := re.match(r"Number of Targets (\d+)", line):
            announced = int(found[1])
        elif found := re.match(r"Target \d+ \(frames from (\d+) to (\d+)\)", line):
            spans.append(range(int(found[1]), int(found[2]) + 1))
        elif found := re.match(r"Bounding Boxes|3D Traj|Total frames", line):
            block = found[0]
        elif line.strip():
            try:
                fields = parse_numbers(line.split())
                if len(fields) != 5 or not spans:
                    raise ValueError(f"expected 5 numbers of a target, found: {line.strip()}")
                frame, x, y, width, height = fields
                if block == "Bounding Boxes":
                    place = frame, len(spans)
                    if frame not in spans[-1] or place in boxes:
                        raise ValueError(f"no further box of the target belongs to frame {frame:g}")
                    if width <= 0 or height <= 0:
                        raise ValueError("the box has no positive width and height")
                    boxes[place] = y, x, y + height, x + width
            except ValueError as error:
                raise UserError(f"{path}:{number}: {error}") from None
    if announced != len(spans) or len(boxes) != sum(map(len, spans)) or not boxes:
        raise UserError(
            f"{path}:{len(lines)}: the file ends with {len(spans)} targets and {len(boxes)} boxes; "
            f"{announced} targets and {sum(map(len, spans))} boxes are announced; fetch it again"
        )
    return _tracks_from_boxes(boxes)


def _tracks_from_boxes(boxes: Mapping[tuple[int, float], Sequence[float]]) -> Tracks:
    """Lays out boxes by (frame, person) as arrays."""
    frames, people = (sorted(set(names)) for names in zip(*boxes))
    row = {int(frame): place for place, frame in enumerate(frames)}
    column = {person: place for place, person in enumerate(people)}
    table = np.zeros((len(frames), len(people), 4))
    visible = np.zeros((len(frames), len(people)), bool)
    for (frame, person), box in boxes.items():
        place = row[int(frame)], column[person]
        table[place] = box
        visible[place] = True
    return Tracks(np.array(list(row)), table, visible)


def load_normalized_tracks(path: str | pathlib.Path) -> dict[tuple[int, int], Tracks]:
    """Reads `tracks_normalized.pkl`: (video, clip) -> tracks with boxes in 0..1 of the frame.

    The pickle holds `{(video, clip): {frame: float (n, 4)}}`; row i is the same person in every
    frame. It is read without running any code it names: only NumPy arrays and plain Python
    containers and numbers are rebuilt.

    Raises:
      UserError: if the file is missing, damaged, names anything else, or is laid out otherwise.
    """
    try:
        with open(path, "rb") as file:
            # Pickles made by Python 2 hold NumPy's bytes as str, which latin1 leaves as they are.
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{path}: not a pickle of plain arrays ({error})") from None
    try:
        return {
            (int(video), int(clip)): _tracks_from_arrays(frames)
            for (video, clip), frames in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
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
    return _tracks_from_boxes(boxes)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows how to rebuild NumPy arrays and nothing else."""

    _NUMPY = {
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    }

    def find_class(self, module, name):
        """Returns the global a pickle names, if it belongs to an array."""
        # numpy.core became numpy._core in NumPy 2; pickles of both are around.
        package, _, submodule = module.rpartition(".")
        if package in ("numpy.core", "numpy._core") and (submodule, name) in self._NUMPY:
            return super().find_class(f"numpy._core.{submodule}", name)
        # Protocol 2 writes bytes as a string to encode.
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def match_tracks(
    key_boxes: Float[np.ndarray, "n 4"],
    tracks: Tracks,
    frames: range,
    *,
    key_frame: int,
    min_iou: float = MIN_MATCH_IOU,
) -> tuple[Float[np.ndarray, "T n 4"], Bool[np.ndarray, "n"]]:
    """Gives the annotated people of a key frame their boxes over the clip's T frames.

    People and tracks are paired one to one so that the sum of IoUs at the key frame is greatest,
    among pairs of more than `min_iou`; the order of either list means nothing. A paired person has
    the track's own box in every frame, the key frame included, and the track's nearest box in
    frames where the track has none; an unpaired person keeps the still key box. Only boxes within
    the clip count: who is seen before or after it alone is nobody here.

    Args:
      key_boxes: annotated boxes, in the units of the tracks.
      tracks: the tracks, which may reach beyond the clip.
      frames: numbers of the clip's frames.
      key_frame: number of the key frame, one of `frames`.
      min_iou: the overlap at the key frame that a pair must exceed.

    Returns:
      The boxes, and which people have a track.
    """
    boxes = np.repeat(key_boxes[None], len(frames), axis=0)
    tracked = np.zeros(len(key_boxes), bool)
    tracks = _within(tracks, frames)
    if not tracks.visible.size:
        return boxes, tracked
    window = _nearest_boxes(tracks, np.array(frames))
    overlap = box_iou(key_boxes, window[frames.index(key_frame)])
    overlap = np.where(overlap > min_iou, overlap, 0.0)
    people, matches = linear_sum_assignment(overlap, maximize=True)
    paired = overlap[people, matches] > 0
    people, matches = people[paired], matches[paired]
    boxes[:, people] = window[:, matches]
    tracked[people] = True
    return boxes, tracked


def _within(tracks: Tracks, frames: range) -> Tracks:
    """Keeps the frames of a clip, and the people seen in them."""
    inside = (tracks.frames >= frames.start) & (tracks.frames < frames.stop)
    seen = tracks.visible[inside].any(axis=0)
    boxes, visible = tracks.boxes[inside][:, seen], tracks.visible[inside][:, seen]
    return Tracks(tracks.frames[inside], boxes, visible)


def _nearest_boxes(tracks: Tracks, frames: Int[np.ndarray, "T"]) -> Float[np.ndarray, "T P 4"]:
    """Returns each person's visible box nearest in time to each frame, the earlier on a tie."""
    distance = np.abs(frames[:, None] - tracks.frames[None, :])[:, :, None]
    hidden = np.where(tracks.visible, 0.0, np.inf)[None]
    nearest = np.argmin(distance + hidden, axis=1)
    return tracks.boxes[nearest, np.arange(tracks.boxes.shape[1])[None]]


def box_iou(
    first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "n m"]:
    """Returns the intersection over union of every pair of boxes, 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(high - low, 0.0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
