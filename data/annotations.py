"""Parsers of the datasets' own annotation formats, NumPy only.

Boxes are `[y_min, x_min, y_max, x_max]`; the parsers leave them in the units of the file (native
pixels in the text formats, 0..1 of the frame in `tracks_normalized.pkl`).
"""

import dataclasses
import pathlib
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from stvh_jax.errors import UserError

ACTIVITIES = (
    "r_set",
    "r_spike",
    "r_pass",
    "r_winpoint",
    "l_set",
    "l_spike",
    "l_pass",
    "l_winpoint",
)
ACTIONS = (
    "blocking",
    "digging",
    "falling",
    "jumping",
    "moving",
    "setting",
    "spiking",
    "standing",
    "waiting",
)

# The official split, by video.
SPLITS = {
    "train": (1, 3, 6, 7, 10, 13, 15, 16, 18, 22, 23, 31)
    + (32, 36, 38, 39, 40, 41, 42, 48, 50, 52, 53, 54),
    "validation": (0, 2, 8, 12, 17, 19, 24, 26, 27, 28, 30, 33, 46, 49, 51),
    "test": (4, 5, 9, 11, 14, 20, 21, 25, 29, 34, 35, 37, 43, 44, 45, 47),
}
# The videos in 1080x1920; the others are 720x1280.
FULL_HD_VIDEOS = frozenset({2, 37, 38, 39, 40, 41, 44, 45})

# Clips of the complete dataset, by activity in the order of `ACTIVITIES`.
CLIP_COUNTS = {
    "train+validation": dict(zip(ACTIVITIES, (452, 450, 591, 208, 464, 463, 600, 265))),
    "test": dict(zip(ACTIVITIES, (192, 173, 210, 87, 168, 179, 226, 102))),
}
# Boxes of the complete dataset, by action in the order of `ACTIONS`.
ACTION_COUNTS = dict(zip(ACTIONS, (2458, 2333, 1241, 341, 5120, 1332, 1216, 38686, 3600)))

# A clip is the frames key-5 .. key+4.
FRAMES_BEFORE_KEY = 5
FRAMES_AFTER_KEY = 4
NUM_FRAMES = FRAMES_BEFORE_KEY + 1 + FRAMES_AFTER_KEY
MAX_ACTORS = 12

# Text tracks overlap the annotated boxes by about 0.6 on average; neighbours overlap by less.
MIN_MATCH_IOU = 0.3


@dataclasses.dataclass(frozen=True)
class ClipAnnotation:
    """One line of a Volleyball `annotations.txt`: the people of a clip's key frame.

    Attributes:
      clip: number of the key frame, which names the clip within its video.
      activity: one of `ACTIVITIES`.
      boxes: native pixels.
      actions: one of `ACTIONS` for each box.
      line: line number in the file, from 1.
    """

    clip: int
    activity: str
    boxes: Float[np.ndarray, "n 4"]
    actions: tuple[str, ...]
    line: int


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The boxes of P people in F frames around a clip's key frame.

    Attributes:
      frames: frame numbers, ascending.
      boxes: one box for each frame and person.
      visible: false where the person has no box in a frame; each person has one somewhere.
    """

    frames: Int[np.ndarray, "F"]
    boxes: Float[np.ndarray, "F P 4"]
    visible: Bool[np.ndarray, "F P"]


class Scan(NamedTuple):
    """What an annotation file holds: its good clips, and one error for each bad line."""

    clips: list[ClipAnnotation]
    problems: list[UserError]


def clip_frames(clip: int) -> range:
    """Returns the T frame numbers of a clip, key-5 .. key+4."""
    return range(clip - FRAMES_BEFORE_KEY, clip + FRAMES_AFTER_KEY + 1)


def parse_volleyball_annotations(path: str | pathlib.Path) -> list[ClipAnnotation]:
    """Reads a Volleyball `annotations.txt`, in the order of its lines.

    A line is `<key>.jpg <activity> (X Y W H <action>)*` in native pixels; activities are spelled
    with `-` or `_`, blank lines are passed over.

    Raises:
      UserError: at the first malformed line, unknown class or repeated clip, with file and line.
    """
    clips, problems = scan_volleyball_annotations(path)
    if problems:
        raise problems[0]
    return clips


def scan_volleyball_annotations(path: str | pathlib.Path) -> Scan:
    """Reads what is readable of a Volleyball `annotations.txt` and collects what is not.

    Raises:
      UserError: if there is no such file.
    """
    clips, problems, seen = [], [], {}
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            annotation = _parse_annotation_line(line, number)
            if annotation.clip in seen:
                raise ValueError(
                    f"clip {annotation.clip} is already on line {seen[annotation.clip]}; "
                    "remove one of the two lines"
                )
        except ValueError as error:
            problems.append(UserError(f"{path}:{number}: {error}"))
            continue
        seen[annotation.clip] = number
        clips.append(annotation)
    return Scan(clips, problems)


def _parse_annotation_line(line: str, number: int) -> ClipAnnotation:
    key, *fields = line.split()
    name = re.fullmatch(r"(\d+)\.jpg", key)
    if not name:
        raise ValueError(f"expected <key frame>.jpg first, found {key!r}")
    if not fields:
        raise ValueError(f"no activity after {key}")
    activity, *people = fields
    activity = activity.replace("-", "_")
    _check_class("activity", activity, ACTIVITIES)
    if not people or len(people) % 5:
        raise ValueError(
            f"expected 'X Y W H action' for each person, found {len(people)} fields after the "
            "activity"
        )
    actions = tuple(people[4::5])
    for action in actions:
        _check_class("action", action, ACTIONS)
    corner_size = np.array([_numbers(people[i : i + 4]) for i in range(0, len(people), 5)])
    x, y, width, height = corner_size.T
    if (corner_size[:, 2:] <= 0).any():
        raise ValueError("a box has no positive width and height")
    boxes = np.stack([y, x, y + height, x + width], axis=-1)
    return ClipAnnotation(int(name[1]), activity, boxes, actions, number)


def parse_volleyball_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads a text track file of one Volleyball clip.

    A row is `player xmin ymin xmax ymax frame lost grouping generated action`, native pixels. Rows
    marked `lost` hold no trustworthy box and count as not visible.

    Raises:
      UserError: at a malformed row, with file and line, or if no person is ever visible.
    """
    boxes = {}
    for number, line in enumerate(_read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) != 10:
                raise ValueError(f"expected 10 fields, found {len(fields)}")
            player, x_min, y_min, x_max, y_max, frame, lost = _numbers(fields[:7])
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


def _tracks_from_boxes(boxes: Mapping[tuple[float, float], Sequence[float]]) -> Tracks:
    """Lays out boxes by (frame, person) as arrays."""
    frames = sorted({int(frame) for frame, _ in boxes})
    people = sorted({person for _, person in boxes})
    table = np.zeros((len(frames), len(people), 4))
    visible = np.zeros((len(frames), len(people)), bool)
    for (frame, person), box in boxes.items():
        place = frames.index(int(frame)), people.index(person)
        table[place] = box
        visible[place] = True
    return Tracks(np.array(frames), table, visible)


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
    *,
    clip: int,
    min_iou: float = MIN_MATCH_IOU,
) -> tuple[Float[np.ndarray, "T n 4"], Bool[np.ndarray, "n"]]:
    """Gives the annotated people of a key frame their boxes over the clip's T frames.

    People and tracks are paired one to one so that the sum of IoUs at the key frame is greatest,
    among pairs of at least `min_iou`; the order of either list means nothing. A paired person has
    the track's own box in every frame, the key frame included, and the track's nearest box in
    frames where the track has none; an unpaired person keeps the still key box.

    Args:
      key_boxes: annotated boxes, in the units of the tracks.
      tracks: the clip's tracks.
      clip: number of the key frame.
      min_iou: the least overlap at the key frame that makes a pair.

    Returns:
      The boxes, and which people have a track.
    """
    window = _nearest_boxes(tracks, np.array(clip_frames(clip)))
    overlap = box_iou(key_boxes, window[FRAMES_BEFORE_KEY])
    overlap = np.where(overlap >= min_iou, overlap, 0.0)
    people, matches = linear_sum_assignment(overlap, maximize=True)
    paired = overlap[people, matches] > 0
    people, matches = people[paired], matches[paired]
    boxes = np.repeat(key_boxes[None], NUM_FRAMES, axis=0)
    boxes[:, people] = window[:, matches]
    tracked = np.zeros(len(key_boxes), bool)
    tracked[people] = True
    return boxes, tracked


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


def _check_class(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def _numbers(fields: Sequence[str]) -> list[float]:
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"expected numbers, found: {' '.join(fields)}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"not finite: {' '.join(fields)}")
    return numbers


def _read_lines(path: str | pathlib.Path) -> list[str]:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
