"""Models of the YOLOX family in ONNX files: what goes in, and what their numbers mean."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from stvh_jax import files
from stvh_jax.errors import Damaged, NotFound, UserError

# The size that YOLOX trains with, for models that take any.
_SIDE = 640
# The longest side of a model's input: more than any YOLOX has, and 200 MB of floats.
_MOST_SIDE = 4096
# One prediction a cell of each grid: three grids, or four in models called P6.
_STRIDES = (8, 16, 32)
_STRIDES_P6 = (8, 16, 32, 64)
# What YOLOX fills the rest of its input with.
GREY = 114
# x, y, width, height, objectness; then a score for each class, of which person is the first.
OBJECTNESS, PERSON = 4, 5
# The mean and the deviation of RGB in 0..1, for models that take it so.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
CURE = "give an ONNX file from YOLOX's releases or its tools/export_onnx.py"


def open_session(path: os.PathLike | str, threads: int) -> Any:
    """Opens an ONNX file in `onnxruntime`, on the CPU.

    Raises:
      NotFound: there is no such file.
      Damaged: it is no ONNX file that can be read.
      UserError: the system does not let it be read.
    """
    import onnxruntime

    if not os.path.exists(path):
        raise NotFound(f"{path} does not exist; {CURE}")
    if not os.path.isfile(path):
        raise UserError(f"{path} is not a file; {CURE}")
    with files.reading(path, "a readable ONNX file"), open(path, "rb"):
        pass  # the plain words of the system, where it cannot be opened
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        return onnxruntime.InferenceSession(
            os.fspath(path),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print that it tries again
        )
    except Exception as error:  # onnxruntime's classes are in a private module
        raise Damaged(
            f"{path} is not a readable ONNX file ({files.reason(error)}); {CURE}"
        ) from error


def input_of(session: Any, name: str) -> tuple[str, int, int]:
    """Finds the one input that YOLOX has: its name, height and width.

    Raises:
      UserError: there is another input.
    """
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
        given = ", ".join(f"{each.name} {each.type} {list(each.shape)}" for each in inputs[:4])
        raise UserError(
            f"{name} is not a YOLOX model: its input is {given}, not floats "
            f"[1, 3, height, width]; {CURE}"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise UserError(f"{name} takes {shape[0]} frames at a time; export it for one")
    height, width = (side if isinstance(side, int) and side > 0 else _SIDE for side in shape[2:])
    if height % 32 or width % 32 or max(height, width) > _MOST_SIDE:
        raise UserError(
            f"{name} takes frames of {width} x {height} pixels; both numbers must be multiples of "
            f"32, and {_MOST_SIDE} at most"
        )
    return inputs[0].name, height, width


def output_of(outputs: Sequence[Any], name: str) -> Float[np.ndarray, "1 A P"]:
    """Finds the one output that YOLOX has: a row of predictions for each cell.

    Raises:
      UserError: there is another output.
    """
    output = outputs[0] if len(outputs) == 1 else None
    if (
        not isinstance(output, np.ndarray)
        or output.ndim != 3
        or output.shape[0] != 1
        or output.shape[2] <= PERSON
        or output.dtype.kind != "f"
    ):
        given = ", ".join(str(list(np.shape(each))) for each in outputs[:4])
        raise UserError(
            f"{name} gives {given}, not YOLOX's predictions [1, cells, 5 + classes]; models of "
            f"other families, or with built-in non-maximum suppression, cannot be used; {CURE}"
        )
    return output


def strides_of(cells: int, height: int, width: int, name: str) -> tuple[int, ...]:
    """Tells from the number of cells which grids a model has: the pixels of a cell of each.

    Raises:
      UserError: it has others than YOLOX.
    """
    for strides in (_STRIDES, _STRIDES_P6):
        if height % strides[-1] == width % strides[-1] == 0 and cells == sum(
            (height // stride) * (width // stride) for stride in strides
        ):
            return strides
    raise UserError(
        f"{name} is not a YOLOX model: it gives {cells} predictions for {width} x {height} pixels, "
        f"where YOLOX has one for each cell of {_STRIDES} pixels; {CURE}"
    )


def is_decoded(predictions: Float[np.ndarray, "A P"], name: str) -> bool:
    """Tells pixels of the input from what is to be added to cells, which is a few cells at most.

    Args:
      predictions: of a grey frame; any would do.
      name: the model's, for messages.

    Raises:
      UserError: they are neither.
    """
    places, scores = predictions[:, :4], predictions[:, OBJECTNESS:]
    # Others put a 1 where YOLOX has an objectness; or give scores before the sigmoid, or places in
    # 0..1, where YOLOX's logarithms of sizes are on both sides of 0.
    alike = (scores[:, 0] == 1).all() or ((places >= 0).all() and places.max() <= 1)
    far = np.median(np.abs(places[:, :2]), axis=0).max() > _STRIDES[0]
    if (
        not np.isfinite(predictions).all()
        or alike
        or (far and places[:, 2:].min() < 0)
        or scores.min() < 0
        or scores.max() > 1.0001
    ):
        raise UserError(
            f"the predictions of {name} are not those of a YOLOX model: is it of another family, "
            f"or damaged? {CURE}"
        )
    return bool(far)


def grid(
    height: int, width: int, strides: tuple[int, ...]
) -> tuple[Float32[np.ndarray, "A 2"], Float32[np.ndarray, "A 1"]]:
    """Lists each prediction's cell, x before y, and how many pixels the cell has."""
    cells, sizes = [], []
    for stride in strides:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def decode(
    predictions: Float32[np.ndarray, "N 4"],
    cells: Float32[np.ndarray, "N 2"],
    strides: Float32[np.ndarray, "N 1"],
) -> Float32[np.ndarray, "N 4"]:
    """Makes pixels of the model's input: x and y of the centre, width and height."""
    centres = (predictions[:, :2] + cells) * strides
    # No size is anywhere near exp(20) cells; more would overflow.
    sizes = np.exp(np.minimum(predictions[:, 2:], 20)) * strides
    return np.concatenate([centres, sizes], axis=1)


def scale_of(height: int, width: int, to_height: int, to_width: int) -> float:
    """Gives the factor by which a frame just fits into the input."""
    return min(to_height / height, to_width / width)


def as_input(
    frame: UInt8[np.ndarray, "H W 3"], height: int, width: int, legacy: bool
) -> Float32[np.ndarray, "1 3 h w"]:
    """Fits a frame into the model's input, its upper left corner in that of the input.

    Args:
      frame: RGB.
      height: of the input.
      width: of the input.
      legacy: see `Detector`.
    """
    scale = scale_of(frame.shape[0], frame.shape[1], height, width)
    fitted = _resize(
        frame, max(1, int(frame.shape[0] * scale)), max(1, int(frame.shape[1] * scale))
    )
    pixels = np.full((height, width, 3), GREY, np.float32)
    pixels[: fitted.shape[0], : fitted.shape[1]] = fitted
    pixels = (pixels / 255 - _MEAN) / _DEVIATION if legacy else pixels[..., ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def _resize(
    frame: UInt8[np.ndarray, "H W 3"], height: int, width: int
) -> Float32[np.ndarray, "h w 3"]:
    """Resizes between the four nearest pixels, as YOLOX does: its models have learned to see so.

    Pixels between these are left out where a frame shrinks.
    """
    if frame.shape[:2] == (height, width):
        return frame.astype(np.float32)
    upper, lower, down = _neighbours(frame.shape[0], height)
    left, right, across = _neighbours(frame.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    rows = []
    for row in (frame[upper], frame[lower]):
        rows.append(row[:, left] * (1 - across) + row[:, right] * across)
    return np.rint(rows[0] * (1 - down) + rows[1] * down)


def _neighbours(size: int, to: int) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, "n"]]:
    """Finds the two pixels beside the centre of each new one, and how far it is to the second."""
    centre = np.clip((np.arange(to) + 0.5) * (size / to) - 0.5, 0, size - 1)
    first = np.floor(centre).astype(np.int64)
    return first, np.minimum(first + 1, size - 1), (centre - first).astype(np.float32)
