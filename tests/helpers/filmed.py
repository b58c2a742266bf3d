"""Small videos of numbered frames, each with the tracks of people who walk, as a tracker writes."""

import numpy as np

from stvh_jax.video.footage import open_video
from stvh_jax.video.track_files import read_tracks
from tests.helpers.videos import SIZE, make_video


def write_tracks(path, count, *, people=4, seed=0, nobody=()):
    """Writes lines of MOT: frame from 1, person, left, top, width, height in pixels."""
    height, width = SIZE
    random = np.random.default_rng(seed)
    start, pace = random.uniform(0.2, 0.6, (people, 2)), random.uniform(-0.002, 0.002, (people, 2))
    size = random.uniform(0.05, 0.2, (people, 2))
    lines = []
    for frame in range(count):
        for person in range(people) if frame not in nobody else ():
            left, top = (start[person] + frame * pace[person]) * (width, height)
            wide, high = size[person] * (width, height)
            box = f"{left:.2f},{top:.2f},{wide:.2f},{high:.2f}"
            lines.append(f"{frame + 1},{person + 1},{box},1,-1,-1,-1")
    path.write_text("\n".join(lines) + "\n")
    return path


def film(folder, name, count=100, **options):
    """Makes NAME.mp4 of 25 frames per second and NAME.txt beside it."""
    write_tracks(folder / f"{name}.txt", count, **options)
    return make_video(folder / f"{name}.mp4", count, g=12)


def opened(path):
    """Gives a video and its tracks."""
    video = open_video(path)
    size = {"width": video.width, "height": video.height, "num_frames": len(video)}
    return video, read_tracks(path.with_suffix(".txt"), **size)
