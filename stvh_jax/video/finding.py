"""Finds the people of a video and follows them: a detector, then a tracker."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Int64

from stvh_jax.video.detection import MOST_OVERLAP, THRESHOLD, Detector
from stvh_jax.video.tracking import BEGINS, PATIENCE, Detections, track
from stvh_jax.video.tracks import UNTRACKED, Tracks


def find_people(
    frames: Iterable[tuple[int, np.ndarray]],
    detector: Detector,
    *,
    rate: float | int,
    tiles: tuple[int, int] | None = None,
    tile_overlap: float | int = 0.2,
    threshold: float | int = THRESHOLD,
    most_overlap: float | int = MOST_OVERLAP,
    least_height: float | int = 0,
    patience: float | int = PATIENCE,
    begins: float | int = BEGINS,
    progress: Callable[[int], None] | None = None,
) -> Tracks:
    """Finds the people of a video and follows them.

    One frame is held at a time; of all frames, their boxes.

    Args:
      frames: the number of each frame that is searched, in order, and its pixels, `[H, W, 3]`,
        RGB, `uint8`. Every n-th frame of a video is enough: see `rate`.
      detector: finds people in a frame.
      rate: how many frames of a second are searched.
      tiles: see `Detector.detect`; as are the four arguments that follow.
      tile_overlap: how much tiles overlap.
      threshold: the least score of a box.
      most_overlap: two boxes that overlap more are the same person.
      least_height: of a box, in 0..1 of the frame.
      patience: see `track`.
      begins: see `track`.
      progress: called after each frame with how many were searched.

    Returns:
      The boxes of the people who were followed; those that nobody has are left out.

    Raises:
      UserError: frames are of another kind or out of order, or a value is out of range.
    """

    def detections() -> Iterator[Detections]:
        for done, (number, frame) in enumerate(frames, start=1):
            yield (
                number,
                *detector.detect(
                    frame,
                    threshold=threshold,
                    most_overlap=most_overlap,
                    least_height=least_height,
                    tiles=tiles,
                    tile_overlap=tile_overlap,
                ),
            )
            if progress:
                progress(done)

    return _followed(track(detections(), rate=rate, patience=patience, begins=begins))


def filled_in(tracks: Tracks, *, most: int) -> Tracks:
    """Puts boxes between those of a person who is seen only in some frames.

    Args:
      tracks: where every n-th frame was searched, say.
      most: frames between two sightings that are filled in, linearly; a longer gap stays.
    """
    order = np.lexsort((tracks.frames, tracks.people))
    frames, people = tracks.frames[order], tracks.people[order]
    gaps = np.diff(frames)
    before = (people[1:] == people[:-1]) & (people[1:] != UNTRACKED) & (gaps > 1) & (gaps <= most)
    rows = np.flatnonzero(before)
    counts = gaps[rows] - 1
    rows = np.repeat(rows, counts)
    steps = 1 + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (steps / gaps[rows])[:, None]
    boxes = tracks.boxes[order]
    new = (1 - share) * boxes[rows] + share * boxes[rows + 1]
    whole = Tracks(
        np.concatenate([frames, frames[rows] + steps]),
        np.concatenate([people, people[rows]]),
        np.concatenate([boxes, new.astype(np.float32)]),
        np.concatenate([tracks.confidences[order], tracks.confidences[order][rows]]),
    )
    return _taken(whole, np.lexsort((whole.people, whole.frames)))


def _followed(tracks: Tracks) -> Tracks:
    return _taken(tracks, np.flatnonzero(tracks.people != UNTRACKED))


def _taken(tracks: Tracks, rows: Int64[np.ndarray, "m"]) -> Tracks:
    return Tracks(
        tracks.frames[rows], tracks.people[rows], tracks.boxes[rows], tracks.confidences[rows]
    )
