"""Reads the person tracks of Collective Activity."""

import pathlib
import re

from data.annotations import parse_numbers, read_lines
from data.tracks import Tracks, tracks_from_boxes
from stvh_jax import files
from stvh_jax.errors import Damaged


def parse_collective_tracks(path: str | pathlib.Path) -> Tracks:
    """Reads the track file of one Collective Activity sequence, `track<N>.dat`.

    The file begins with `Total frames F` and `Number of Targets P`. Then follow, for each target,
    `Target n (frames from a to b)`, the caption `Bounding Boxes ...`, a row
    `frame x y width height` in native pixels for each of its frames, the caption
    `3D Trajetory ...` and as many rows of its place on the ground, which is not used.

    Raises:
      NotFound: there is no such file.
      Damaged: at a malformed row, or where the file is cut off, with file and line.
    """
    lines = read_lines(path)
    boxes, spans = {}, []
    announced, block = 0, None
    for number, line in enumerate(lines, start=1):
        if found := re.match(r"Number of Targets ([0-9]{1,9})\b", line):
            announced = int(found[1])
        elif found := re.match(r"Target \d+ \(frames from ([0-9]{1,9}) to ([0-9]{1,9})\)", line):
            spans.append(range(int(found[1]), int(found[2]) + 1))
        elif found := re.match(r"Bounding Boxes|3D Traj|Total frames", line):
            block = found[0]
        elif line.strip():
            try:
                fields = parse_numbers(line.split())
                if len(fields) != 5 or not spans:
                    raise ValueError(f"expected 5 numbers of a target, found: {line.strip()}")
                frame, x, y, width, height = fields
                if block == "Bounding Boxes":
                    place = frame, len(spans)
                    # Asking a range for a float would go through all of it.
                    inside = frame % 1 == 0 and int(frame) in spans[-1]
                    if not inside or place in boxes:
                        raise ValueError(f"no further box of the target belongs to frame {frame:g}")
                    if width <= 0 or height <= 0:
                        raise ValueError("the box has no positive width and height")
                    boxes[place] = y, x, y + height, x + width
            except ValueError as error:
                raise Damaged(f"{path}:{number}: {files.reason(error)}") from None
    if announced != len(spans) or len(boxes) != sum(map(len, spans)) or not boxes:
        raise Damaged(
            f"{path}:{len(lines)}: the file ends with {len(spans)} targets and {len(boxes)} boxes; "
            f"{announced} targets and {sum(map(len, spans))} boxes are announced; fetch it again"
        )
    if block == "Bounding Boxes":  # whose last number may have lost digits
        raise Damaged(
            f"{path}:{len(lines)}: the file ends among the boxes; '3D Trajetory' and its rows "
            "follow in a whole one; fetch it again"
        )
    with files.reading(path, "a list of tracks"):
        return tracks_from_boxes(boxes)
