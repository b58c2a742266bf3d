"""Renders matches as video files with tracks and labels, as one's own footage is.

OUT/match-1.mp4       an activity for two seconds, then the next
OUT/match-1.txt       the tracks of its people, in MOT's format
OUT/labels.csv        video,start,stop,activity of all matches
"""

import csv
import io
import pathlib
from collections.abc import Callable

import numpy as np

from data.synthetic.folders import check_matches, check_pictures, fill
from data.synthetic.scene import generator
from data.synthetic.volleyball import Match, motion_clip, sample_match
from data.synthetic.volleyball_rendering import build_scene, render_frame
from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.fields import check_number
from stvh_jax.video.containers import load_av

# Frames per second, and seconds of each activity.
RATE, SECONDS_EACH = 25, 2
VERSION = 1  # a change of the pictures or the files is a new version
# A key frame every two seconds, so that any time is found fast; and without x264's macroblock tree,
# with which the bytes differ from run to run.
_ENCODING = {
    "crf": "18",
    "preset": "veryfast",
    "g": str(RATE * SECONDS_EACH),
    "x264-params": "mbtree=0",
}
_MOST_MINUTES = 600


def synthesize_footage(
    out: str | pathlib.Path,
    *,
    matches: int = 3,
    minutes: float | int = 2.0,
    seed: int = 1,
    image_size: tuple[int, int] = (192, 320),
    progress: Callable[[str], None] = print,
) -> None:
    """Renders matches as videos with tracks and labels; the same call gives the same files.

    A folder that the same call has filled is left as it is; one that it began, it finishes.

    Args:
      out: the folder, new or empty.
      matches: how many.
      minutes: of each.
      seed: 0 or more; a match depends on the seed and its number alone.
      image_size: even height and width of a frame (pixels).
      progress: called with each line of progress.

    Raises:
      UserError: a number is out of its range, or PyAV is not installed.
      Exists: the folder holds something else.
    """
    check_matches(matches, 1, "one at least")
    check_number("minutes", minutes, high=_MOST_MINUTES, positive=True)
    check_pictures(seed, image_size)
    if any(side % 2 for side in image_size):
        height, width = image_size
        raise UserError(f"image_size is {height} x {width}: give even numbers, as videos need them")
    load_av()
    out = pathlib.Path(out)
    options = {"matches": matches, "minutes": minutes, "seed": seed, "image_size": [*image_size]}
    content = {"made_by": {"name": "synthesize_footage", "version": VERSION, **options}}
    drawn = [sample_footage(seed, number, minutes) for number in range(matches)]

    def write(number: int) -> None:
        if number == 0:
            files.write(out / "labels.csv", _labels(drawn))
        if not (out / f"{_name(number)}.txt").exists():
            write_match(out, _name(number), drawn[number], seed, number, image_size)

    fill(
        out, content, write, progress, marker="footage.json", matches=matches,
        what=f"{minutes:g} minutes",
    )  # fmt: skip


def sample_footage(seed: int, number: int, minutes: float | int) -> Match:
    """Draws a match of a length, one clip for each activity that follows the last."""
    return sample_match(seed, number, clips=max(1, round(60 * minutes / SECONDS_EACH)))


def write_match(
    folder: pathlib.Path,
    name: str,
    match: Match,
    seed: int,
    number: int,
    image_size: tuple[int, int],
) -> None:
    """Renders a match to `NAME.mp4`, and writes its tracks, `NAME.txt`, last.

    Args:
      folder: where to.
      name: of the files.
      match: as `sample_footage` draws it.
      seed: of its motion.
      number: of the match, likewise.
      image_size: height and width of a frame (pixels).
    """
    av, frames = load_av(), RATE * SECONDS_EACH
    scene, lines = build_scene(match.look, image_size), []
    with (
        files.replacing(folder / f"{name}.mp4") as path,
        av.open(str(path), "w", format="mp4") as container,
    ):
        stream = container.add_stream("libx264", rate=RATE, options=_ENCODING)
        stream.height, stream.width = image_size
        stream.pix_fmt = "yuv420p"
        for clip, activity in enumerate(match.activities):
            rng = generator(seed, number, clip)
            motion = motion_clip(
                rng, activity, difficulty=0.0, image_size=image_size, num_frames=frames
            )
            for frame in range(frames):
                pixels = render_frame(rng, scene, motion, frame)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                boxes = motion.boxes[frame] * np.tile(image_size, 2)
                for person, (top, left, bottom, right) in enumerate(boxes):
                    box = f"{left:.0f},{top:.0f},{right - left:.0f},{bottom - top:.0f}"
                    lines.append(f"{frames * clip + frame + 1},{12 * clip + person + 1},{box},1\n")
        container.mux(stream.encode())
    files.write(folder / f"{name}.txt", "".join(lines))


def _name(number: int) -> str:
    return f"match-{number + 1}"


def _labels(matches: list[Match]) -> str:
    """Writes the table of what is done when."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("video", "start", "stop", "activity"))
    for number, match in enumerate(matches):
        for clip, activity in enumerate(match.activities):
            start = SECONDS_EACH * clip
            table.writerow((f"{_name(number)}.mp4", start, start + SECONDS_EACH, activity))
    return text.getvalue()
