"""Writes synthetic volleyball in the layout of the Volleyball Dataset.

    OUT/videos/<match>/annotations.txt
    OUT/videos/<match>/<key>/<frame>.jpg
    OUT/volleyball_tracking_annotation/<match>/<key>/<key>.txt
    OUT/splits.json

Each clip has ten frames, key-5..key+4, and tracks over these ten.
"""

import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Int
from PIL import Image

from data.annotations import NUM_FRAMES
from data.synthetic.folders import (
    JPEG_QUALITY,
    VERSION,
    check_options,
    deal,
    fill,
    write_lines,
)
from data.synthetic.scene import generator
from data.synthetic.volleyball import motion_clip, sample_match
from data.synthetic.volleyball_rendering import Motion, build_scene, render_frame
from data.volleyball.constants import FRAMES_BEFORE_KEY


def synthesize_volleyball(
    out: str | pathlib.Path,
    *,
    matches: int = 22,
    clips_per_match: int = 32,
    seed: int = 0,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 160),
    progress: Callable[[str], None] = print,
) -> None:
    """Renders matches into a folder; the same call gives the same bytes.

    A folder that the same call has filled is left as it is; one that it began, it finishes.

    Args:
      out: the folder, new or empty.
      matches: how many, 3 at least, so that every split has one.
      clips_per_match: how many clips each has.
      seed: 0 or more; a match depends on the seed and its number alone.
      difficulty: 0..1, see `motion_clip`; also the pictures' noise.
      image_size: height and width of a frame (pixels).
      progress: called with each line of progress.

    Raises:
      UserError: a number is out of its range.
      Exists: the folder holds something else.
    """
    options = check_options(matches, clips_per_match, seed, difficulty, image_size)
    out = pathlib.Path(out)
    content = split_matches(matches, seed=seed) | {
        "clips": matches * clips_per_match,
        "made_by": {"name": "synthesize_volleyball", "version": VERSION, **options},
    }

    def write(match):
        _write_match(out, seed, match, clips_per_match, difficulty, image_size)

    what = f"{clips_per_match} clips"
    fill(out, content, write, progress, matches=matches, what=what)


def _write_match(out, seed, number, clips, difficulty, image_size):
    """Writes a match, its annotations last: a match that has them is complete."""
    folder = out / "videos" / str(number)
    tracks = out / "volleyball_tracking_annotation" / str(number)
    annotations = folder / "annotations.txt"
    if annotations.exists():
        return
    match = sample_match(seed, number, clips=clips)
    scene = build_scene(match.look, image_size)
    lines = []
    for clip, (key, activity) in enumerate(zip(match.keys, match.activities)):
        rng = generator(seed, number, clip)
        motion = motion_clip(rng, activity, difficulty=difficulty, image_size=image_size)
        lines.append(annotation_line(motion, key, image_size))
        rows = track_lines(motion, key, image_size, rng.permutation(len(motion.actions)))
        write_lines(tracks / str(key) / f"{key}.txt", rows)
        (folder / str(key)).mkdir(parents=True, exist_ok=True)
        for t in range(NUM_FRAMES):
            pixels = render_frame(rng, scene, motion, t, noise=6 * difficulty)
            path = folder / str(key) / f"{key - FRAMES_BEFORE_KEY + t}.jpg"
            Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
    write_lines(annotations, lines)


def split_matches(matches: int, *, seed: int) -> dict[str, list[int]]:
    """Deals the matches out to train, validation and test, 9 : 2 : 3, at least one to each."""
    return deal(generator(seed).permutation(matches).tolist())


def annotation_line(motion: Motion, key: int, image_size: tuple[int, int]) -> str:
    """Writes a clip's line of annotations.txt: `<key>.jpg <activity> (X Y W H <action>)*`."""
    people = []
    for box, action in zip(
        _whole_pixels(motion.boxes[FRAMES_BEFORE_KEY], image_size), motion.actions
    ):
        y_min, x_min, y_max, x_max = box
        people.append(f"{x_min} {y_min} {x_max - x_min} {y_max - y_min} {action}")
    return " ".join([f"{key}.jpg", motion.activity, *people])


def track_lines(
    motion: Motion, key: int, image_size: tuple[int, int], order: Int[np.ndarray, "N"]
) -> list[str]:
    """Writes a clip's tracks, `player xmin ymin xmax ymax frame lost grouping generated action `.

    The people are in the given order, which is not that of the annotation.
    """
    boxes = _whole_pixels(motion.boxes, image_size)
    lines = []
    for track, n in enumerate(order):
        for t in range(NUM_FRAMES):
            y_min, x_min, y_max, x_max = boxes[t, n]
            generated = int(t != FRAMES_BEFORE_KEY)
            place = f"{track} {x_min} {y_min} {x_max} {y_max} {key - FRAMES_BEFORE_KEY + t}"
            lines.append(f"{place} 0 0 {generated} {motion.actions[n]} ")
    return lines


def _whole_pixels(boxes, image_size):
    height, width = image_size
    return np.rint(boxes * np.array([height, width, height, width])).astype(int)
