"""Reads a clip from the user's own files: a folder of frames, and boxes of people over time."""

import pathlib

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, UnidentifiedImageError

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.names import natural_key

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def read_clip(
    boxes_file: pathlib.Path, frames_folder: pathlib.Path | None, *, num_frames: int
) -> tuple[UInt8[np.ndarray, "T H W 3"] | None, Float[np.ndarray, "T N 4"], Bool[np.ndarray, "N"]]:
    """Reads one clip: the middle T frames of all there are.

    Args:
      boxes_file: `.npy`, `[frames, N, 4]` in 0..1 of the frame, y_min, x_min, y_max, x_max, NaN
        where a person is not seen; or the output of a tracker, a line per box: frame (the first
        image is 1), person, left, top, width, height in pixels, separated by commas, with any
        further columns ignored.
      frames_folder: the images, in the order of the numbers in their names; None for a `.npy` of
        boxes alone.
      num_frames: T.

    Returns:
      The pixels, or None; the boxes, where a person who is not seen in a frame has the box of the
      nearest frame in which they are seen; and the mask of the people, all true.

    Raises:
      NotFound: a file or folder is missing.
      Damaged: a file is malformed.
      UserError: the files do not fit each other, or there are fewer frames than T.
    """
    images = None if frames_folder is None else _images(frames_folder)
    boxes = _read_boxes(boxes_file, frames_folder, images)
    if len(boxes) < num_frames:
        raise UserError(
            f"{frames_folder or boxes_file} has {len(boxes)} frames; this model takes {num_frames}"
        )
    first = (len(boxes) - num_frames) // 2
    window = slice(first, first + num_frames)
    boxes = boxes[window]
    seen = _seen(boxes)
    present = seen.any(axis=0)
    if not present.any():
        raise UserError(f"{boxes_file} has nobody in frames {first + 1} to {window.stop}")
    boxes = _nearest_seen(boxes[:, present], seen[:, present])
    pixels = None if images is None else read_images(images[window])
    return pixels, boxes.astype(np.float32), np.ones(int(present.sum()), bool)


def _read_boxes(
    path: pathlib.Path, frames_folder: pathlib.Path | None, images: list[pathlib.Path] | None
) -> Float[np.ndarray, "frames N 4"]:
    """Reads the boxes of all frames in 0..1 of the frame, NaN where a person is not seen."""
    if path.suffix == ".npy":
        boxes = _read_array(path)
        if images is not None and len(images) != len(boxes):
            raise UserError(
                f"{path} has boxes of {len(boxes)} frames, but {frames_folder} has "
                f"{len(images)} images"
            )
        return boxes
    if images is None:
        raise UserError(
            f"{path} has boxes in pixels; give the frames too, or a .npy file of boxes in "
            "0..1 of the frame"
        )
    with _open(images[0]) as image:
        width, height = image.size
    boxes = _read_tracks(path, len(images)) / [height, width, height, width]
    _check_within(boxes, f"{path} has boxes beyond the frame of {width} x {height} pixels")
    return boxes


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder of frames")
    images = [path for path in folder.iterdir() if path.suffix.lower() in _IMAGES]
    if not images:
        raise NotFound(f"{folder} has no images ({', '.join(sorted(_IMAGES))})")
    return sorted(images, key=lambda path: natural_key(path.stem))


def _open(path: pathlib.Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such image") from error
    except (UnidentifiedImageError, OSError) as error:
        raise Damaged(f"{path} is not a readable image ({error})") from error


def read_images(paths: list[pathlib.Path]) -> UInt8[np.ndarray, "T H W 3"]:
    """Reads images of one size.

    Raises:
      NotFound: one is missing.
      Damaged: one is not a whole image.
      UserError: one has another size.
    """
    frames = []
    for path in paths:
        with _open(path) as image:
            try:
                frames.append(np.asarray(image.convert("RGB")))
            except (OSError, ValueError) as error:
                raise Damaged(f"{path} is not a readable image ({error})") from error
        if frames[-1].shape != frames[0].shape:
            raise UserError(f"{path} does not have the size of {paths[0].name}")
    return np.stack(frames)


def _read_array(path: pathlib.Path) -> Float[np.ndarray, "frames N 4"]:
    try:
        boxes = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"{path} is not a readable array ({error})") from error
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not np.issubdtype(boxes.dtype, np.floating):
        raise UserError(f"{path} holds {boxes.dtype} {boxes.shape}; give floats [frames, N, 4]")
    _check_within(
        boxes, f"{path} has boxes beyond the frame; give them in 0..1 of it, not in pixels"
    )
    return boxes.astype(np.float64)


def _check_within(boxes: Float[np.ndarray, "frames N 4"], message: str) -> None:
    """Raises an error for boxes far outside; people may leave the frame by a part of its size."""
    seen = boxes[np.isfinite(boxes)]
    if seen.size and (seen.min() < -0.5 or seen.max() > 1.5):
        raise UserError(message)


def _read_tracks(path: pathlib.Path, frames: int) -> Float[np.ndarray, "frames N 4"]:
    """Reads a tracker's lines to boxes in pixels, y before x, NaN where a person is not seen."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from error
    boxes: dict[int, np.ndarray] = {}
    for number, line in enumerate(lines, start=1):
        cells = line.replace(",", " ").split()
        if not cells or (number == 1 and cells[0].lower().startswith("frame")):
            continue
        try:
            frame, person, left, top, width, height = map(float, cells[:6])
            if not (person.is_integer() and width > 0 and height > 0):
                raise ValueError
        except ValueError as error:
            raise Damaged(
                f"{path}, line {number}: expected frame, person, left, top, width, height"
            ) from error
        if not (frame.is_integer() and 1 <= frame <= frames):
            raise UserError(
                f"{path}, line {number}: frame {cells[0]} is not one of the {frames} images, which "
                "are numbered from 1"
            )
        track = boxes.setdefault(int(person), np.full((frames, 4), np.nan))
        track[int(frame) - 1] = top, left, top + height, left + width
    if not boxes:
        raise Damaged(f"{path} has no box")
    return np.stack(list(boxes.values()), axis=1)


def _seen(boxes: Float[np.ndarray, "T N 4"]) -> Bool[np.ndarray, "T N"]:
    """Finds who is seen in which frame."""
    return np.all(np.isfinite(boxes), axis=-1)


def _nearest_seen(boxes: Float[np.ndarray, "T N 4"], seen: Bool[np.ndarray, "T N"]):
    """Gives each person's box of the nearest frame where they are seen, the earlier on a tie."""
    places = np.arange(len(boxes))
    distance = np.abs(places[:, None, None] - places[None, :, None]) + 0.0
    nearest = np.where(seen[None], distance, np.inf).argmin(axis=1)
    return boxes[nearest, np.arange(boxes.shape[1])[None]]
