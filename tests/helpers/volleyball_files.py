"""Raw Volleyball folders made for tests, in the official layout."""

import json
import pathlib

import numpy as np
from PIL import Image

REAL = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "volleyball"

# Height and width of the frames made here.
SIZE = (31, 47)


def annotation_line(key, activity, people):
    """Writes the people, (x, y, width, height, action), as a line of annotations.txt.

    The key is the number of the key frame, or (name of the clip, number of the key frame).
    """
    if isinstance(key, tuple):
        key = "/".join(map(str, key))
    fields = [f"{x} {y} {width} {height} {action}" for x, y, width, height, action in people]
    return f"{key}.jpg {activity} {' '.join(fields)}\n"


def frame_colours(video, key, frame):
    """Returns the colours of a made frame's left and right halves; no two frames agree."""
    tint = video if isinstance(video, int) else len(video)
    left = (60 + 10 * (frame - key), 40 + 30 * (tint % 7), 200)
    right = (60 + 10 * (frame - key), 40 + 30 * (key % 7), 20)
    return left, right


def write_frame(path, left, right, size=SIZE):
    """Writes a JPEG with one colour left of the middle and one right of it."""
    image = np.empty((*size, 3), np.uint8)
    image[:, : size[1] // 2] = left
    image[:, size[1] // 2 :] = right
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95, subsampling=0)


def write_raw(root, annotations, *, splits=None, frames=True):
    """Writes a raw folder.

    Args:
      root: the folder.
      annotations: video -> [(key, activity, people)], see `annotation_line`.
      splits: split -> videos, written to splits.json; None leaves the official ones in force.
      frames: whether to write each clip's ten frames.
    """
    for video, clips in annotations.items():
        folder = root / "videos" / str(video)
        folder.mkdir(parents=True)
        lines = [annotation_line(*clip) for clip in clips]
        (folder / "annotations.txt").write_text("".join(lines))
        for key, _, _ in clips if frames else []:
            name, number = key if isinstance(key, tuple) else (str(key), key)
            for frame in range(number - 5, number + 5):
                colours = frame_colours(video, number, frame)
                write_frame(folder / name / f"{frame}.jpg", *colours)
    if splits is not None:
        content = splits | {"clips": sum(map(len, annotations.values()))}
        (root / "splits.json").write_text(json.dumps(content))
    return root
