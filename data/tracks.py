"""Person tracks, and their match with annotated people; NumPy and SciPy only.

Boxes are `[y_min, x_min, y_max, x_max]`, tracks and annotated boxes in the same unit. The parsers
of the track files are those of each data set.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

# Text tracks overlap the annotated boxes by about 0.6 on average; neighbours overlap by less.
MIN_MATCH_IOU = 0.3

# Frames times people that a file of tracks may ask memory for: eight times as many as all clips of
# the Volleyball Dataset have.
MOST_PLACES = 10_000_000


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


def tracks_from_boxes(boxes: Mapping[tuple[int, float], Sequence[float]]) -> Tracks:
    """Lays out boxes by (frame, person) as arrays.

    Raises:
      ValueError: there are too many.
    """
    frames, people = (sorted(set(names)) for names in zip(*boxes))
    if len(frames) * len(people) > MOST_PLACES:
        raise ValueError(f"{len(people)} people in {len(frames)} frames are too many")
    row = {int(frame): place for place, frame in enumerate(frames)}
    column = {person: place for place, person in enumerate(people)}
    table = np.zeros((len(frames), len(people), 4))
    visible = np.zeros((len(frames), len(people)), bool)
    for (frame, person), box in boxes.items():
        place = row[int(frame)], column[person]
        table[place] = box
        visible[place] = True
    return Tracks(np.array(list(row)), table, visible)


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
    among pairs of more than `min_iou`; the order of either list does not matter. A paired person
    has the track's own box in every frame, the key frame included, and the track's nearest box in
    frames where the track has none; an unpaired person keeps the key frame's box. Only boxes within
    the clip count: people seen only before or after it are left out.

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
