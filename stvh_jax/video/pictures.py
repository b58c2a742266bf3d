"""From decoded frames to RGB pictures: deinterlaced, converted, resized and turned."""

import collections
import dataclasses
import fractions
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from stvh_jax.video.containers import load_av


@dataclasses.dataclass(frozen=True)
class Turn:
    """How a stored picture is turned to be displayed: transposed first, then mirrored.

    Attributes:
      transposed: whether its rows become its columns.
      mirrored: whether left and right are exchanged.
      flipped: whether top and bottom are exchanged.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @classmethod
    def of_matrix(cls, matrix: bytes) -> "Turn":
        """Reads a display matrix, nine integers of 32 bits; a turn that is not square is ignored.

        A point (x, y) is displayed at (a x + c y, b x + d y).
        """
        if len(matrix) < 36:
            return cls()
        a, b, _, c, d = (float(value) for value in np.frombuffer(matrix, "=i4", 5))
        if abs(a) >= abs(b) and abs(d) >= abs(c):
            return cls(False, mirrored=a < 0, flipped=d < 0)
        return cls(True, mirrored=c < 0, flipped=b < 0)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Gives the size that a picture has after the turn, or before it: these are inverse."""
        return (width, height) if self.transposed else (height, width)

    def __call__(self, picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
        """Turns a picture."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        if self.mirrored:
            picture = picture[:, ::-1]
        if self.flipped:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def turn_of(frame: Any) -> Turn:
    """Finds how a decoded frame is turned to be displayed."""
    for side_data in frame.side_data:
        if side_data.type.name == "DISPLAYMATRIX":
            return Turn.of_matrix(bytes(side_data))
    return Turn()


class Converter:
    """Converts decoded frames to RGB of one size.

    The colours are those that the file says, BT.601 where it says nothing, as FFmpeg does it;
    smaller pictures are averaged, so that nothing flickers.
    """

    def __init__(self, size: tuple[int, int], turn: Turn):
        from av.video.reformatter import Interpolation, VideoReformatter

        self._height, self._width = turn.size(*size)
        self._turn = turn
        self._reformatter = VideoReformatter()  # keeps its tables between frames
        # Swscale widens its triangle to what a pixel covers, as antialiasing does.
        # Without the other flag it takes short cuts that make smaller pictures darker; a third,
        # for exact rounding, costs ten times the time and gains one of 255 levels.
        flags = Interpolation.BILINEAR, Interpolation.FULL_CHR_H_INT
        self._interpolation = sum(int(flag) for flag in flags)

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "H W 3"]:
        """Converts a frame."""
        converted = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="rgb24",
            interpolation=self._interpolation,
        )
        return self._turn(converted.to_ndarray())


def deinterlaced(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Replaces interlaced frames by whole ones, each made of itself, the one before and the next.

    From the first interlaced frame on, frames come one later than they go in.

    Args:
      frames: decoded frames with their numbers, in their order.

    Yields:
      As many frames with the same numbers.
    """
    graph, kind, numbers = None, None, collections.deque()
    for number, frame in frames:
        now = (frame.width, frame.height, frame.format.name)
        if graph is not None and now != kind:
            yield from _pulled(graph, numbers, last=True)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, kind = _graph(frame), now
        if graph is None:
            yield number, frame
            continue
        # The filter wants times that rise; the frames' own may be missing.
        frame.pts, frame.time_base = number, fractions.Fraction(1, 25)
        numbers.append(number)
        graph.push(frame)
        yield from _pulled(graph, numbers)
    if graph is not None:
        yield from _pulled(graph, numbers, last=True)


def _graph(frame: Any) -> Any:
    """Builds a filter that makes whole frames of interlaced ones and lets the others pass."""
    graph = load_av().filter.Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=fractions.Fraction(1, 25),
    )
    nodes = source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    graph.link_nodes(*nodes).configure()
    return graph


def _pulled(
    graph: Any, numbers: collections.deque[int], *, last: bool = False
) -> Iterator[tuple[int, Any]]:
    """Takes what a filter has ready; everything, if these were the last frames."""
    av = load_av()
    if last:
        graph.push(None)
    while numbers:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield numbers.popleft(), frame
