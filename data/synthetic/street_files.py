"""Writes synthetic streets in the layout of Collective Activity and its Extended set.

annotations.txt    frame  x  y  width  height  class  pose      (key frames, tabs)
trackN.dat         the same people in every frame, and where they stand
"""

import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from data.annotations import NUM_FRAMES
from data.collective_activity.constants import CLASSES
from data.synthetic import street
from data.synthetic.folders import (
    JPEG_QUALITY,
    VERSION,
    check_matches,
    check_options,
    deal,
    fill,
    write_lines,
)
from data.synthetic.scene import generator, hue_of_match
from data.synthetic.street_rendering import (
    StreetScene,
    build_street,
    person_boxes,
    render_street,
    sample_street_look,
)

# The share of people without a track.
UNTRACKED = 0.13


def synthesize_collective(
    out: str | pathlib.Path,
    *,
    extended: bool = False,
    matches: int | None = None,
    clips_per_match: int = 8,
    seed: int = 0,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 144),
    progress: Callable[[str], None] = print,
) -> None:
    """Renders street scenes into a folder; the same call gives the same bytes.

        OUT/ActivityDataset/seq<NN>/frame<NNNN>.jpg
        OUT/ActivityDataset/seq<NN>/annotations.txt
        OUT/ActivityDataset2/seq<NN>/...                 dancing and jogging, numbered on
        OUT/ActivityTracks/track<N>.dat
        OUT/splits.json

    A folder that the same call has filled is left as it is; one that it began, it finishes.

    Args:
      out: the folder, new or empty.
      extended: with dancing and jogging.
      matches: how many sequences, three of each activity at least: 15, or 21 if extended; twelve
        of each if None.
      clips_per_match: how many key frames each has, ten frames apart.
      seed: 0 or more; with another number of sequences, one of the same number and activity is
        the same.
      difficulty: 0..1, see `street.sample_sequence`; also the noise of boxes and pictures.
      image_size: height and width of a frame (pixels).
      progress: called with each line of progress.

    Raises:
      UserError: a number is out of its range.
      Exists: the folder holds something else.
    """
    activities = deal_activities(matches, extended=extended)
    matches = len(activities)
    options = check_options(matches, clips_per_match, seed, difficulty, image_size)
    options["extended"] = extended
    out = pathlib.Path(out)
    content = split_sequences(activities, seed=seed) | {
        "key_frames": matches * clips_per_match,
        "made_by": {"name": "synthesize_collective", "version": VERSION, **options},
    }

    def write(match):
        frames = clips_per_match * NUM_FRAMES
        _write_sequence(out, seed, match, activities[match], frames, difficulty, image_size)

    what = f"{clips_per_match} clips"
    fill(out, content, write, progress, matches=matches, what=what)


def _write_sequence(out, seed, match, activity, frames, difficulty, image_size):
    """Writes a sequence, its annotations last: a sequence that has them is complete."""
    number = match + 1
    archive = "ActivityDataset2" if activity in street.EXTENDED else "ActivityDataset"
    folder = out / archive / f"seq{number:02d}"
    annotations = folder / "annotations.txt"
    if annotations.exists():
        return
    rng = generator(seed, match)
    look = sample_street_look(rng, hue_of_match(seed, match))
    scene = build_street(look, image_size)
    sequence = street.sample_sequence(
        rng, activity, frames=frames, difficulty=difficulty, image_size=image_size
    )
    boxes = {"difficulty": difficulty, "image_size": image_size}
    lines = annotation_lines(rng, sequence, **boxes)
    rows = track_lines(rng, sequence, **boxes)
    write_lines(out / "ActivityTracks" / f"track{number}.dat", rows)
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        pixels = render_street(rng, scene, sequence, frame, noise=6 * difficulty)
        path = folder / f"frame{frame + 1:04d}.jpg"
        Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
    write_lines(annotations, lines)


def deal_activities(matches: int | None, *, extended: bool) -> tuple[str, ...]:
    """Gives each sequence its activity, in turn, those of the Extended set's own last.

    Args:
      matches: how many sequences; None for 12 of each activity.
      extended: with dancing and jogging.

    Raises:
      UserError: there are too few for every split to have every activity.
    """
    kinds = street.ACTIVITIES if extended else street.ACTIVITIES[: -len(street.EXTENDED)]
    least = 3 * len(kinds)
    if matches is None:
        matches = 4 * least
    check_matches(matches, least, f"3 of each of {len(kinds)} activities")
    dealt = [kinds[n % len(kinds)] for n in range(matches)]
    return tuple(sorted(dealt, key=lambda activity: activity in street.EXTENDED))


def split_sequences(activities: tuple[str, ...], *, seed: int) -> dict[str, list[int]]:
    """Deals the sequences, numbered from 1, out to train, validation and test, 9 : 2 : 3.

    Each activity's own sequences are dealt out so, at least one to each split.
    """
    order = 1 + generator(seed).permutation(len(activities))
    parts = [
        deal([n for n in order.tolist() if activities[n - 1] == activity])
        for activity in dict.fromkeys(activities)
    ]
    return {name: sorted(n for part in parts for n in part[name]) for name in parts[0]}


def annotation_lines(
    rng: np.random.Generator,
    sequence: StreetScene,
    *,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 144),
) -> list[str]:
    """Writes `annotations.txt`: everybody in sight at each key frame, in no order.

    Boxes are as unsteady as those drawn by hand, the more the difficulty (0..1).
    """
    boxes = [person_boxes(person, sequence.camera, image_size) for person in sequence.people]
    lines = []
    for frame in range(0, len(sequence.camera), NUM_FRAMES):
        for n in rng.permutation(len(boxes)):
            person = sequence.people[n]
            if frame not in person.frames:
                continue
            box = _unsteady(rng, boxes[n][frame - person.start], 0.015 + 0.03 * difficulty)
            numbers = *_corner_and_size(box), CLASSES.index(person.action) + 1, -1
            lines.append("\t".join([f"{frame + 1:03d}", *map(str, numbers)]))
    return lines


def track_lines(
    rng: np.random.Generator,
    sequence: StreetScene,
    *,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 144),
) -> list[str]:
    """Writes `trackN.dat`: the people in another order, some of them not tracked at all."""
    order = rng.permutation(len(sequence.people))
    tracked = [n for n in order if rng.random() > UNTRACKED] or order[:1]
    lines = [f"Total frames {len(sequence.camera)}", f"Number of Targets {len(tracked)}"]
    for target, n in enumerate(tracked, start=1):
        person = sequence.people[n]
        boxes = person_boxes(person, sequence.camera, image_size)
        boxes = _unsteady(rng, boxes, 0.02 * difficulty)
        frames = [frame + 1 for frame in person.frames]
        lines.append(f"Target {target} (frames from {frames[0]} to {frames[-1]})")
        lines.append("Bounding Boxes (frame, x, y, width, height)")
        for frame, box in zip(frames, boxes):
            lines.append("\t".join(map(str, (frame, *_corner_and_size(box)))))
        # Misspelled in the real files.
        lines.append("3D Trajetory (frame, x, z, height, pose)")
        height = 1.75 * person.stature
        # Eight poses: 1 to the right, 3 to the camera.
        poses = 1 + np.rint(-person.heading / (street.TURN / 8)).astype(int) % 8
        for frame, (x, y), pose in zip(frames, person.ground, poses):
            lines.append(f"{frame}\t{x:.2f}\t{y:.2f}\t{height:.2f}\t{pose:.2f}")
    return lines


def _unsteady(rng, boxes, deviation):
    """Moves the sides of boxes at random, by a share of their height."""
    heights = boxes[..., 2:3] - boxes[..., 0:1]
    return boxes + deviation * heights * rng.standard_normal(boxes.shape)


def _corner_and_size(box):
    """Gives x, y, width and height in whole pixels."""
    y_min, x_min, y_max, x_max = map(int, np.rint(box))
    return x_min, y_min, max(1, x_max - x_min), max(1, y_max - y_min)
