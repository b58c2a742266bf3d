"""What is taken away from a search: tables, cut lists and a reel of the hits that are selected."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from stvh_jax.app.apart import Apart, Bounds
from stvh_jax.errors import UserError
from stvh_jax.retrieval.asking import Asked
from stvh_jax.retrieval.hits import Hit, exported
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import IndexInfo, Number
from stvh_jax.retrieval.moments import Moment
from stvh_jax.times import clock_tenths
from stvh_jax.video import cut_lists
from stvh_jax.video.pieces import Piece, check_pieces

_WORKER = "stvh_jax.app.reel_worker"
# The most pieces of a reel, and the most seconds of all together.
MOST_PIECES, MOST_SECONDS = 50, 600.0
# Seconds and bytes that making a reel may take.
PATIENCE, _MEMORY, _MOST_FILE = 600.0, 4 << 30, 4 << 30
_reels = Apart(1, "another reel is being made; try again when it is done")


def hits_csv(selected: Sequence[Hit | Moment], info: IndexInfo) -> bytes:
    """Gives hits as the table that `Hits.export` writes, ranked in this order.

    Args:
      selected: the hits; of a moment, its nearest hit with the times of the moment.
      info: what their index is.
    """
    return exported(map(_row, selected), info, ".csv")


def _row(each: Hit | Moment) -> dict[str, Any]:
    if isinstance(each, Moment):
        return each.best.to_dict() | {"start": each.start, "stop": each.stop}
    return each.to_dict()


def cut_list(pieces: Sequence[Piece], title: str) -> bytes:
    """Gives pieces as an edit decision list, see `cut_lists.write_edl`.

    Raises:
      UserError: there is no piece or there are too many, or their videos have several rates.
      NotFound: a video is missing.
    """
    return _content(lambda path: cut_lists.write_edl(path, pieces, title=title))


def chapters(pieces: Sequence[Piece]) -> bytes:
    """Gives the chapters of a reel of these pieces, see `cut_lists.write_chapters`.

    Raises:
      UserError: there is no piece.
    """
    return _content(lambda path: cut_lists.write_chapters(path, pieces))


def query_file(asked: Asked, index: Index, focus: str | Number) -> bytes:
    """Gives what is asked for as the file that `retrieval.saved_query.load` reads."""
    return _content(asked.saved(index, focus).save)


def _content(write: Callable[[pathlib.Path], None]) -> bytes:
    """Gives what is written to a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "taken"
        write(path)
        return path.read_bytes()


def reel_file(
    pieces: Sequence[Piece], folder: os.PathLike | str, *, patience: float | int = PATIENCE
) -> pathlib.Path:
    """Joins pieces to one MP4 file, in a process of its own; blocks until it is done.

    Args:
      pieces: what is shown, 50 at most and ten minutes in all.
      folder: where a folder is made for the file; whoever has taken the file deletes it.
      patience: seconds that it may take.

    Raises:
      UserError: there are too many, one cannot be shown, it took too long, or another reel is
        being made.
      NotFound: a video is missing.
    """
    check_reel(pieces)
    own = pathlib.Path(tempfile.mkdtemp(prefix="reel-", dir=folder)).absolute()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        plain = [_plain(piece) for piece in pieces]
        bounds = Bounds(patience, _MEMORY, _MOST_FILE)
        _reels.run(_WORKER, own, {"pieces": plain, "path": "reel.mp4"}, bounds)
        stack.pop_all()
    return own / "reel.mp4"


def check_reel(pieces: Sequence[Piece]) -> None:
    """Checks that pieces can be joined to a reel.

    Raises:
      UserError: there is none, or there are too many, or they are too long.
      NotFound: a video is missing.
    """
    check_pieces(pieces)
    seconds = sum(piece.length for piece in pieces)
    if len(pieces) > MOST_PIECES or seconds > MOST_SECONDS:
        raise UserError(
            f"a reel has at most {MOST_PIECES} pieces and {clock_tenths(MOST_SECONDS)}, and these "
            f"are {len(pieces)} of {clock_tenths(seconds)}; select fewer"
        )


def _plain(piece: Piece) -> dict[str, Any]:
    """Gives a piece as plain values."""
    values = dataclasses.asdict(piece) | {"media": os.path.abspath(piece.media)}
    numbers = {name: float(values[name]) for name in ("start", "stop")}
    distance = piece.distance
    return values | numbers | {"distance": None if distance is None else float(distance)}
