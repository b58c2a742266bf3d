"""Who is in a window of a video, and which of them a clip has room for."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from stvh_jax.sightings import nearest_seen
from stvh_jax.video.regions import in_region
from stvh_jax.video.tracks import UNTRACKED, Tracks


@dataclasses.dataclass(frozen=True)
class TrackedPeople:
    """The tracks of a video, arranged so that those of a few frames are found at once.

    Attributes:
      frames: of each box, rising. They are searched: a table of frames could be as large as the
        numbers in a file.
      people: whose each box is.
      boxes: `[y_min, x_min, y_max, x_max]`.
      tracked: whether people were followed; else every box is somebody who is seen once.
    """

    frames: Int64[np.ndarray, "M"]
    people: Int64[np.ndarray, "M"]
    boxes: Float32[np.ndarray, "M 4"]
    tracked: bool

    @classmethod
    def of(cls, tracks: Tracks) -> "TrackedPeople":
        """Arranges tracks; of people who were followed, boxes of nobody are left out."""
        tracked = bool((tracks.people != UNTRACKED).any())
        kept = (tracks.people != UNTRACKED) | (not tracked)
        kept = np.flatnonzero(kept & (tracks.frames >= 0))
        kept = kept[np.argsort(tracks.frames[kept], kind="stable")]
        return cls(tracks.frames[kept], tracks.people[kept], tracks.boxes[kept], tracked)

    def seen_in(
        self, frames: Int64[np.ndarray, "T"]
    ) -> tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "T n 4"], Bool[np.ndarray, "T n"]]:
        """Finds who is seen in some frames: their numbers in order, their boxes, and where."""
        first = np.searchsorted(self.frames, frames, side="left")
        counts = np.searchsorted(self.frames, frames, side="right") - first
        places = np.repeat(np.arange(len(frames)), counts)
        rows = np.arange(len(places)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        people, columns = np.unique(self.people[rows], return_inverse=True)
        boxes = np.zeros((len(frames), len(people), 4), np.float32)
        seen = np.zeros((len(frames), len(people)), bool)
        boxes[places, columns], seen[places, columns] = self.boxes[rows], True
        return people, boxes, seen


@dataclasses.dataclass(frozen=True)
class WindowPeople:
    """Who counts in a window and has room.

    Attributes:
      numbers: the tracker's, in order; where nobody was followed, the places of the boxes in the
        key frame.
      boxes: `[y_min, x_min, y_max, x_max]`.
      left_out: how many more count.
    """

    numbers: Int64[np.ndarray, "n"]
    boxes: Float32[np.ndarray, "T n 4"]
    left_out: int


def people_of(
    tracks: TrackedPeople,
    frames: Int64[np.ndarray, "T"],
    *,
    most: int,
    region: Float[np.ndarray, "P 2"] | None = None,
) -> tuple[Float32[np.ndarray, "T n 4"], int]:
    """Gives the boxes of the people in a window: `numbered_people_of`, without who they are.

    Returns:
      The boxes of at most `most` people, by their number, and how many more count.
    """
    found = numbered_people_of(tracks, frames, most=most, region=region)
    return found.boxes, found.left_out


def numbered_people_of(
    tracks: TrackedPeople,
    frames: Int64[np.ndarray, "T"],
    *,
    most: int,
    region: Float[np.ndarray, "P 2"] | None = None,
) -> WindowPeople:
    """Finds the people in a window, the most important if there are too many.

    Whoever is seen in a frame counts, and has in the other frames the box of the nearest in which
    they are seen. Where nobody was followed, those in the key frame count and stay where they are.

    Of too many, those are taken who are in the key frame, who are seen in most frames, and whose
    box is largest there, in this order, then the lower number.

    Args:
      tracks: of the video.
      frames: of the window, rising; the key frame is the middle one, `T // 2`.
      most: how many people a clip has room for.
      region: corners in 0..1 of the frame; who does not stand in it in the key frame, with the
        middle of the lower side of the box, does not count.
    """
    key = len(frames) // 2
    if tracks.tracked:
        people, boxes, seen = tracks.seen_in(frames)
        boxes = nearest_seen(boxes, seen)
    else:
        rows = slice(*np.searchsorted(tracks.frames, [frames[key], frames[key] + 1]))
        boxes = np.repeat(tracks.boxes[rows][None], len(frames), axis=0)
        people = np.arange(boxes.shape[1])
        seen = np.ones(boxes.shape[:2], bool)
    inside = np.ones(len(people), bool) if region is None else in_region(_feet(boxes[key]), region)
    counting = np.flatnonzero(inside)
    if len(counting) > most:
        at_key = boxes[key, counting]
        area = np.prod(at_key[:, 2:] - at_key[:, :2], axis=1)
        ranks = -area, -seen[:, counting].sum(axis=0), ~seen[key, counting]
        chosen = np.sort(counting[np.lexsort(ranks)[:most]])
    else:
        chosen = counting
    left_out = len(counting) - len(chosen)
    return WindowPeople(people[chosen].astype(np.int64), boxes[:, chosen], left_out)


def _feet(boxes: Float32[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 2"]:
    """Gives where people stand, `[x, y]`; in the frame, if their feet are beyond it."""
    feet = np.stack([(boxes[:, 1] + boxes[:, 3]) / 2, boxes[:, 2]], axis=1)
    return np.clip(feet.astype(np.float64), 0.0, 1.0)
