"""Reads a clip from the user's own files: a folder of frames, and boxes of people over time."""

import math
import os
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax import files, images
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.inference.boxes import LEAST, MOST, first_fault
from stvh_jax.names import natural_key
from stvh_jax.sightings import nearest_seen

_LINE = "frame, person, left, top, width, height, separated by commas"
# A float holds all whole numbers up to here; of larger ones, two people could become one.
_MOST_PERSON = 2**53

Pixels = UInt8[np.ndarray, "T H W 3"]


def read_clip(
    boxes_file: os.PathLike | str,
    frames_folder: os.PathLike | str | None,
    *,
    num_frames: int,
    start: int | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[UInt8[np.ndarray, "T H W 3"] | None, Float[np.ndarray, "T N 4"], Bool[np.ndarray, "N"]]:
    """Reads one clip: T frames of all there are.

    Args:
      boxes_file: `.npy`, `[frames, N, 4]` in 0..1 of the frame, y_min, x_min, y_max, x_max, NaN
        where a person is not seen; or the output of a tracker, a line per box: frame (the first
        image is 1), person, left, top, width, height in pixels, separated by commas, with any
        further columns ignored.
      frames_folder: the images, in the order of the numbers in their names, without hidden files;
        None for a `.npy` of boxes alone.
      num_frames: T.
      start: the first frame that is read, from 1; None for the middle T.
      report: called with one line that says which frames are read, where there are more than T.

    Returns:
      The pixels, or None; the boxes, where a person who is not seen in a frame has the box of the
      nearest frame in which they are seen; and the mask of the people, all true.

    Raises:
      NotFound: a file or folder is missing.
      Damaged: a file is malformed.
      UserError: the files do not fit each other, or there are fewer frames than T.
    """
    boxes_file = pathlib.Path(boxes_file)
    paths = None if frames_folder is None else _images(pathlib.Path(frames_folder))
    count, boxes_in = _open_boxes(boxes_file, frames_folder, paths)
    window = _window(count, num_frames, start, str(frames_folder or boxes_file))
    first, last = window.start + 1, window.stop
    pixels = None if paths is None else images.read_images(paths[window])
    boxes = boxes_in(window, pixels)
    seen = _seen(boxes)
    present = seen.any(axis=0)
    if not present.any():
        raise UserError(f"{boxes_file} has nobody in frames {first} to {last}")
    if report and count > num_frames:
        which = f"frame {first}" if first == last else f"frames {first} to {last}"
        report(f"{which} of {count}")
    boxes = nearest_seen(boxes[:, present], seen[:, present])
    return pixels, boxes.astype(np.float32), np.ones(int(present.sum()), bool)


def read_appearance(path: os.PathLike | str) -> Float[np.ndarray, "S C"]:
    """Reads features of whole frames of one clip: `.npy`, `[S, C]`, or `[C]` for one frame.

    Raises:
      NotFound: the file is missing.
      Damaged: it is malformed.
      UserError: it holds something else.
    """
    features = _mapped(pathlib.Path(path))
    if features.ndim not in (1, 2) or not features.size or features.dtype.kind != "f":
        raise UserError(
            f"{path} holds {features.dtype} {features.shape}; give features of the clip's whole "
            "frames, floats [frames, channels]"
        )
    return np.atleast_2d(np.array(features, np.float32))


def _open_boxes(
    path: pathlib.Path, frames_folder: os.PathLike | str | None, paths: list[pathlib.Path] | None
) -> tuple[int, Callable]:
    """Reads the boxes of all frames.

    Returns:
      How many frames there are, and a function that gives the boxes in a window of them, in 0..1
      of the frame and NaN where a person is not seen; it takes the window and its pixels.
    """
    if path.suffix.lower() == ".npy":
        boxes = _read_array(path)
        if paths is not None and len(paths) != len(boxes):
            raise UserError(
                f"{path} has boxes of {len(boxes)} frames, but {frames_folder} has "
                f"{len(paths)} images"
            )
        return len(boxes), lambda window, pixels: boxes[window]
    if paths is None:
        raise UserError(
            f"{path} has boxes in pixels; give the frames too, or a .npy file of boxes in "
            "0..1 of the frame"
        )
    tracks = _read_tracks(path, len(paths))
    return len(paths), lambda window, pixels: _boxes_of(tracks, path, window, pixels)


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder of frames")
    with files.reading(folder, "a folder of frames"):
        names = [path for path in folder.iterdir() if not files.is_hidden(path.name)]
    found = [path for path in names if path.suffix.lower() in images.SUFFIXES]
    if not found:
        raise NotFound(f"{folder} has no images ({', '.join(images.SUFFIXES)})")
    return sorted(found, key=lambda path: natural_key(path.stem))


def _window(count: int, num_frames: int, start: int | None, where: str) -> slice:
    """Chooses the frames that are read, numbered from 0."""
    if count < num_frames:
        raise UserError(f"{where} has {count} frames; this model takes {num_frames}")
    last = count - num_frames
    if start is not None and not 1 <= start <= last + 1:
        raise UserError(
            f"there are no {num_frames} frames from {start} on in {where}, which has {count}; "
            f"give a start of 1 to {last + 1}"
        )
    first = last // 2 if start is None else start - 1
    return slice(first, first + num_frames)


def _mapped(path: pathlib.Path) -> np.ndarray:
    """Opens a `.npy`, mapped, so that it cannot announce more than it has."""
    with files.reading(path, "a readable array"), np.errstate(over="raise"):
        return np.lib.format.open_memmap(path, mode="r")


def _read_array(path: pathlib.Path) -> Float[np.ndarray, "frames N 4"]:
    boxes = _mapped(path)
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not np.issubdtype(boxes.dtype, np.floating):
        raise UserError(f"{path} holds {boxes.dtype} {boxes.shape}; give floats [frames, N, 4]")
    with np.errstate(over="ignore"):
        boxes = np.array(boxes, np.float64)
    # Where any is NaN nobody is seen.
    fault = first_fault(boxes, np.all(~np.isnan(boxes), axis=-1))
    if fault is not None:
        (frame, person), reason = fault
        message = "has boxes beyond the frame" if "beyond" in reason else "has an impossible box"
        raise UserError(f"{path} {message}: frame {frame + 1}, person {person + 1}: {reason}")
    return boxes


def _read_tracks(path: pathlib.Path, frames: int) -> Float[np.ndarray, "lines 7"]:
    """Reads a tracker's lines: frame and person, box in pixels with y first, number of the line."""
    content = files.read_bytes(path, "a readable file of tracks")
    with files.reading(path, "a readable file of tracks"):
        lines = content.decode("utf-8-sig").splitlines()
    tracks, places = [], {}
    for number, line in enumerate(lines, start=1):
        cells = line.replace(",", " ").split(maxsplit=6)
        if not cells or (number == 1 and cells[0].lower().startswith("frame")):
            continue
        frame, person, left, top, width, height = _numbers(cells, f"{path}, line {number}", frames)
        before = places.setdefault((frame, person), number)
        if before != number:
            raise UserError(
                f"{path}, lines {before} and {number}: person {person:.0f} is twice in frame "
                f"{frame:.0f}; give each person one number, and one box per frame"
            )
        tracks.append((frame, person, top, left, top + height, left + width, number))
    if not tracks:
        raise Damaged(f"{path} has no box")
    return np.array(tracks, np.float64)


def _numbers(cells: list[str], where: str, frames: int) -> list[float]:
    """Reads the numbers of a line.

    Raises:
      Damaged: there are too few, or they are not numbers of a box.
      UserError: there is no such frame, or nobody has followed this person.
    """
    try:
        numbers = [float(cell) for cell in cells[:6]]
    except ValueError as error:
        raise Damaged(f"{where}: expected {_LINE}") from error
    if len(numbers) < 6 or not all(map(math.isfinite, numbers[1:])):
        raise Damaged(f"{where}: expected {_LINE}")
    frame, person, _, _, width, height = numbers
    if not person.is_integer() or person > _MOST_PERSON or width <= 0 or height <= 0:
        raise Damaged(f"{where}: expected {_LINE}")
    if not (frame.is_integer() and 1 <= frame <= frames):
        raise UserError(
            f"{where}: frame {cells[0][:20]} is not one of the {frames} images, which are "
            "numbered from 1"
        )
    if person < 0:
        raise UserError(
            f"{where}: person {person:.0f} is nobody whom a tracker followed; run a tracker, or "
            "leave such lines out"
        )
    return numbers


def _boxes_of(
    tracks: Float[np.ndarray, "lines 7"], path: pathlib.Path, window: slice, pixels: Pixels
) -> Float[np.ndarray, "T N 4"]:
    """Gives the boxes in a window, people in the order in which they appear in it."""
    height, width = pixels.shape[1:3]
    boxes = tracks[:, 2:6] / [height, width, height, width]
    beyond = np.flatnonzero(((boxes < LEAST) | (boxes > MOST)).any(axis=-1))
    if len(beyond):
        raise UserError(
            f"{path} has boxes beyond the frame of {width} x {height} pixels, the first in line "
            f"{tracks[beyond[0], 6]:.0f}"
        )
    frames = tracks[:, 0].astype(int) - 1
    inside = np.flatnonzero((frames >= window.start) & (frames < window.stop))
    people: dict[float, int] = {}
    columns = [people.setdefault(tracks[line, 1], len(people)) for line in inside]
    placed = np.full((window.stop - window.start, len(people), 4), np.nan)
    placed[frames[inside] - window.start, columns] = boxes[inside]
    return placed


def _seen(boxes: Float[np.ndarray, "T N 4"]) -> Bool[np.ndarray, "T N"]:
    """Finds who is seen in which frame."""
    return np.all(np.isfinite(boxes), axis=-1)
