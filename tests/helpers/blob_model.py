"""A stand-in for a YOLOX model in a session: it sees pure red rectangles, whatever their size."""

import types

import numpy as np
from scipy import ndimage


def cells(height, width, strides=(8, 16, 32)):
    """Lists the column, row and stride of each prediction, one by one."""
    return [
        (column, row, stride)
        for stride in strides
        for row in range(height // stride)
        for column in range(width // stride)
    ]


class BlobModel:
    """Gives YOLOX's numbers for each red rectangle of its input, in the cell of its centre.

    Args:
      height: of the input.
      width: of the input.
      decoded: whether it gives pixels, as exports with `--decode_in_inference` do.
      least: rectangles with a shorter side than so many pixels are not seen.
      strides: of the grids.
      classes: how many there are.
      shape: what the file says of the input's shape.
    """

    def __init__(
        self,
        height=64,
        width=96,
        *,
        decoded=False,
        least=3,
        strides=(8, 16, 32),
        classes=80,
        shape=None,
    ):
        self.decoded, self.least, self.classes = decoded, least, classes
        self.cells = cells(height, width, strides)
        self.size = (height, width)
        self.shape = shape or [1, 3, height, width]
        self.seen = []

    def get_inputs(self):
        return [types.SimpleNamespace(name="images", shape=self.shape, type="tensor(float)")]

    def run(self, names, feeds):
        (pixels,) = feeds.values()
        assert names is None and list(feeds) == ["images"]
        assert pixels.dtype == np.float32 and pixels.shape == (1, 3, *self.size)
        self.seen.append(pixels)
        output = np.zeros((1, len(self.cells), 5 + self.classes), np.float32)
        if self.decoded:
            for place, (column, row, stride) in enumerate(self.cells):
                output[0, place, :4] = column * stride, row * stride, stride, stride
        else:
            output[0, :, 2:4] = -0.5
        blue, green, red = pixels[0]
        labels, _ = ndimage.label((red > 128) & (green < 64) & (blue < 64))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels)):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if min(height, width) >= self.least:
                self._put(output[0], number, rows, columns)
        return [output]

    def _put(self, output, number, rows, columns):
        y, x = (rows.start + rows.stop) / 2, (columns.start + columns.stop) / 2
        height, width = rows.stop - rows.start, columns.stop - columns.start
        stride = (8, 16)[number % 2]
        place = self.cells.index((int(x // stride), int(y // stride), stride))
        column, row, _ = self.cells[place]
        if self.decoded:
            output[place, :4] = x, y, width, height
        else:
            output[place, :4] = (
                x / stride - column,
                y / stride - row,
                np.log(width / stride),
                np.log(height / stride),
            )
        output[place, 4:6] = 0.9, 1 - 0.01 * number


def frame_with(boxes, height, width):
    """Paints boxes, y_min, x_min, y_max, x_max in pixels, red on grey."""
    frame = np.full((height, width, 3), 90, np.uint8)
    for y_min, x_min, y_max, x_max in boxes:
        frame[y_min:y_max, x_min:x_max] = 255, 0, 0
    return frame
