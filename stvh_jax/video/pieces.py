"""Pieces of videos that a search found, and how they are named in files, lists and pages."""

import dataclasses
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import printable
from stvh_jax.times import clock_seconds

# No video is longer, and its frames can still be counted: a hundred days.
_MOST_SECONDS = 100 * 24 * 3600
# What Windows, the strictest of all systems, does not want in a file's name.
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*]')
# Kinds of characters without a look of their own: controls, formats, surrogates, breaks.
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
# The most bytes of a match's or a label's part of a file's name; a whole name may have 255.
_MOST_BYTES = 80


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of a video.

    Attributes:
      media: the path of the video file.
      start: where it begins, in seconds from the beginning of the video.
      stop: where it ends, likewise.
      label: what it shows; empty if nothing is known.
      match: the name of the video, as in the index.
      distance: from the query, in bits; None if nothing was asked.
    """

    media: os.PathLike | str
    start: float | int
    stop: float | int
    label: str = ""
    match: str = ""
    distance: float | int | None = None

    @property
    def length(self) -> float | int:
        """How long it is, in seconds."""
        return self.stop - self.start


def check_pieces(pieces: Sequence[Piece], *, on_disk: bool = True) -> None:
    """Checks that there are pieces, and that each is a time of a file.

    Args:
      pieces: what to check.
      on_disk: whether the videos have to be there.

    Raises:
      UserError: there is none, or the times of one are impossible.
      NotFound: a video is missing.
    """
    if not pieces:
        raise UserError("there are no pieces; give at least one")
    for rank, piece in enumerate(pieces, start=1):
        times = (piece.start, piece.stop)
        if not (all(map(math.isfinite, times)) and 0 <= piece.start < piece.stop <= _MOST_SECONDS):
            raise UserError(
                f"piece {rank} goes from {shown(piece.start)} to {shown(piece.stop)} seconds; give "
                "a start of 0 or more and a stop after it"
            )
        if on_disk and not pathlib.Path(piece.media).is_file():
            raise NotFound(f"piece {rank}: there is no video file {piece.media}")


def one_line(text: str) -> str:
    """Gives a text as one line: breaks become spaces, and what terminals would obey is escaped."""
    return printable(" ".join(text.split()))


def caption(rank: int, piece: Piece) -> str:
    """Says in one line which piece it is: rank, match, time and label."""
    parts = [str(rank), one_line(piece.match), clock_seconds(piece.start), one_line(piece.label)]
    return "  ".join(part for part in parts if part)


def file_name(rank: int, piece: Piece, count: int, ending: str = ".mp4") -> str:
    """Names the file of a piece, `001 match 0-12-31 r_spike.mp4`, safely for every system.

    Args:
      rank: the piece's place, from 1.
      piece: which one.
      count: how many there are; the ranks have as many digits as the last, 3 at least.
      ending: of the file's name.
    """
    number = f"{rank:0{max(3, len(str(count)))}d}"
    time = clock_seconds(piece.start, separator="-")
    parts = [number, _safe(piece.match), time, _safe(piece.label)]
    return " ".join(part for part in parts if part) + ending


def _safe(text: str) -> str:
    """Gives the part of a text that may stand in a file's name."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    text = _NOT_IN_NAMES.sub("_", text).encode()[:_MOST_BYTES].decode(errors="ignore")
    return text.strip(" .")
