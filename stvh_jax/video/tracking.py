"""Follows people from frame to frame: ByteTrack, of the package `trackers`."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from stvh_jax.errors import UserError, shown
from stvh_jax.video import boxes as geometry
from stvh_jax.video.tracks import UNTRACKED, Tracks

# How many seconds a person may be missing; then they come back as someone else.
PATIENCE = 1.0
# From which score a box may begin a person. Surer ones are also matched before all others.
BEGINS = 0.4
# The least IoU of a person's box with where they were expected.
_LEAST_OVERLAP = 0.1
# A person must be seen in so many frames on end at first, for a detector errs now and then.
_FIRST_FRAMES = 2
# The units of `trackers`' patience are frames of a video of this rate.
_PATIENCE_RATE = 30

Detections = tuple[int, Float[np.ndarray, "_ 4"], Float[np.ndarray, " _"]]


def track(
    detections: Iterable[Detections],
    *,
    rate: float | int,
    patience: float | int = PATIENCE,
    begins: float | int = BEGINS,
) -> Tracks:
    """Follows the people that a detector found.

    Frames may be left out: those of every n-th frame are as good as others, for `rate` then says
    how many there are in a second. Where more are missing than usually, time has passed.

    Args:
      detections: for each frame that was searched, in order, its number, the boxes
        `[y_min, x_min, y_max, x_max]` and their scores in 0..1; frames with no box, too.
      rate: how many frames of a second were searched.
      patience: how many seconds a person may be missing and still be the same.
      begins: the least score of a box that a person begins with.

    Returns:
      All the boxes, under the numbers of their frames; of people who were seen too shortly, and
      of weak boxes beside them, `UNTRACKED`. People count from 0 as they appear.

    Raises:
      UserError: frames are out of order, or a value is out of range.
    """
    _check(rate, patience, begins)
    frames = _checked(detections)
    numbers = np.array([number for number, _, _ in frames], np.int64)
    people = _follow(frames, _seconds(numbers, rate), rate, patience, begins)
    counts = [len(boxes) for _, boxes, _ in frames]
    return Tracks(
        np.repeat(numbers, counts),
        np.concatenate([np.empty(0, np.int64), *people]),
        np.concatenate([np.empty((0, 4), np.float32), *(boxes for _, boxes, _ in frames)]),
        np.concatenate([np.empty(0, np.float32), *(scores for _, _, scores in frames)]),
    )


def link(
    tracks: Tracks,
    *,
    rate: float | int,
    patience: float | int = PATIENCE,
    begins: float | int = BEGINS,
) -> Tracks:
    """Follows the boxes that nobody followed: those that a detector alone wrote.

    Boxes of people that are followed already stay as they are.

    Args:
      tracks: boxes, some or all of them `UNTRACKED`, in the order of their frames.
      rate: how many frames of a second a detector searched.
      patience: see `track`.
      begins: see `track`.

    Returns:
      The same boxes in the same order; the new people have numbers above those in use.

    Raises:
      UserError: frames are out of order, or a value is out of range.
    """
    _check(rate, patience, begins)
    if (np.diff(tracks.frames) < 0).any():
        raise UserError("the frames of the tracks are out of order; sort the boxes by frame")
    loose = np.flatnonzero(tracks.people == UNTRACKED)
    if not len(loose):
        return tracks
    # A frame whose boxes are all followed was searched, too.
    numbers = np.unique(tracks.frames)
    parts = np.split(loose, np.searchsorted(tracks.frames[loose], numbers[1:]))
    frames = _checked(
        (int(number), tracks.boxes[rows], tracks.confidences[rows])
        for number, rows in zip(numbers, parts, strict=True)
    )
    new = np.concatenate(_follow(frames, _seconds(numbers, rate), rate, patience, begins))
    people = tracks.people.copy()
    above = people.max() + 1
    people[loose] = np.where(new == UNTRACKED, UNTRACKED, new + above)
    return Tracks(tracks.frames, people, tracks.boxes, tracks.confidences)


def _follow(
    frames: Sequence[Detections],
    seconds: Float[np.ndarray, "F"],
    rate: float | int,
    patience: float | int,
    begins: float | int,
) -> list[Int64[np.ndarray, " _"]]:
    """Gives the person of each box of each frame."""
    from supervision import Detections as Found
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(
        # The tracker takes whole numbers only.
        lost_track_buffer=max(1, round(patience * _PATIENCE_RATE)),
        frame_rate=float(rate),
        track_activation_threshold=begins,
        high_conf_det_threshold=begins,
        minimum_consecutive_frames=_FIRST_FRAMES,
        minimum_iou_threshold=_LEAST_OVERLAP,
    )
    people: list[Int64[np.ndarray, " _"]] = []
    known = 0
    for place, (_, boxes, scores) in enumerate(frames):
        found = Found(
            xyxy=boxes[:, [1, 0, 3, 2]].astype(np.float64),
            confidence=scores,
            data={"place": np.arange(len(boxes))},
        )
        followed: Any = tracker.update(found, timestamp=float(seconds[place]))
        whose = np.full(len(boxes), UNTRACKED, np.int64)
        if len(followed):
            whose[followed.data["place"]] = followed.tracker_id
        people.append(whose)
        if place:
            _give_first_boxes(people, frames, place, known, begins)
        known = max(known, int(whose.max(initial=UNTRACKED)) + 1)
    return people


def _give_first_boxes(
    people: list[Int64[np.ndarray, " _"]],
    frames: Sequence[Detections],
    place: int,
    known: int,
    begins: float | int,
) -> None:
    """Gives new people the box they began with, which the tracker leaves without a person.

    It is one frame earlier: the likest of those that could begin a person and are nobody's.
    """
    _, before, scores = frames[place - 1]
    free = np.flatnonzero((people[place - 1] == UNTRACKED) & (scores >= begins))
    new = np.flatnonzero(people[place] >= known)
    alike = geometry.overlaps(frames[place][1][new], before[free])
    for row in np.argsort(-alike.max(axis=1, initial=0), kind="stable"):
        if alike[row].max(initial=0) >= _LEAST_OVERLAP:
            first = int(alike[row].argmax())
            people[place - 1][free[first]] = people[place][new[row]]
            alike[:, first] = 0


def _seconds(numbers: Int64[np.ndarray, "F"], rate: float | int) -> Float[np.ndarray, "F"]:
    """Gives the time of each frame, where the usual step from one to the next takes 1 / rate."""
    steps = np.diff(numbers)
    usual = float(np.median(steps)) if len(steps) else 1.0
    return (numbers - numbers.min(initial=0)) / (usual * rate)


def _checked(detections: Iterable[Detections]) -> list[Detections]:
    frames: list[Detections] = []
    for number, boxes, scores in detections:
        if frames and number <= frames[-1][0]:
            raise UserError(f"frame {number} comes after frame {frames[-1][0]}; give them in order")
        if len(boxes) != len(scores):
            raise UserError(f"frame {number} has {len(boxes)} boxes and {len(scores)} scores")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise UserError(f"frame {number} has a box or a score that is not finite")
        frames.append((int(number), boxes.astype(np.float32), scores.astype(np.float32)))
    return frames


def _check(rate: float | int, patience: float | int, begins: float | int) -> None:
    if not (math.isfinite(rate) and rate > 0):
        raise UserError(f"rate is {shown(rate)}; give how many frames per second were searched")
    if not 0 < patience <= 3600:
        raise UserError(f"patience is {shown(patience)}; give seconds, 3600 at most")
    if not 0 <= begins <= 1:
        raise UserError(f"begins is {shown(begins)}; give a number in 0..1")
