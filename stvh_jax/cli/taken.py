"""The options that say what is taken away from a search: tables, pictures, pieces of videos."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from stvh_jax import files
from stvh_jax.cli import parsing
from stvh_jax.errors import Exists, UserError
from stvh_jax.names import printable


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("what is taken away")
    group.add_argument("--save-query", metavar="FILE", help="save what is asked for, as .json")
    group.add_argument("--grid", metavar="FILE", help="draw the hits, as .png or .svg, 20 a page")
    group.add_argument("--export", metavar="FILE", help="write the hits, as .csv, .json, .parquet")
    group.add_argument("--cut", metavar="DIR", help="each hit as a small .mp4, in a new folder")
    group.add_argument("--reel", metavar="FILE", help="all hits in order, as one .mp4")
    group.add_argument("--play", metavar="FILE", help="a page that plays the hits, as .html")
    group.add_argument("--edl", metavar="FILE", help="a cut list for editors, .edl (CMX 3600)")
    group.add_argument("--list", metavar="FILE", help="what is cut, with times in the videos, .csv")
    group.add_argument("--chapters", metavar="FILE", help="YouTube chapters of the reel, .txt")
    group.add_argument(
        "--around",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="what is shown of a video before and after each hit; 1",
    )


def check(arguments: argparse.Namespace) -> None:
    """Checks the names of all files, before anything is searched.

    Raises:
      UserError: one cannot be written.
    """
    from stvh_jax.retrieval.hits import EXPORTS, GRIDS, check_output

    for path, endings in (
        (arguments.export, EXPORTS),
        (arguments.grid, GRIDS),
        (arguments.save_query, (".json",)),
        (arguments.reel, (".mp4",)),
        (arguments.play, (".html",)),
        (arguments.edl, (".edl",)),
        (arguments.list, (".csv",)),
        (arguments.chapters, (".txt",)),
    ):
        if path:
            check_output(path, endings)
    if arguments.cut:
        _check_new(arguments.cut)
    if not 0 <= arguments.around < math.inf:
        raise UserError(f"--around {arguments.around}; give 0 seconds or more")


def _check_new(folder: str) -> None:
    """Checks that a folder can be made, or is empty.

    Raises:
      Exists: something is there already.
    """
    path = files.output(folder)
    with files.writing(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise Exists(f"{path} is not an empty folder; give a new one for the pieces")


def write(
    arguments: argparse.Namespace,
    index: Any,
    query: Any,
    hits: Any,
    moments: Sequence[Any] | None,
    open_model: Callable[[], tuple],
    *,
    focus: str | float,
) -> None:
    """Writes the files that are asked for, and names them."""
    written = []
    found = hits if moments is None else moments
    if arguments.save_query:
        query.saved(index, focus).save(arguments.save_query)
        written.append(arguments.save_query)
    if arguments.export:
        hits.export(arguments.export)
        written.append(arguments.export)
    if arguments.grid:
        from stvh_jax.retrieval import hit_pictures  # slow to import, as what reads videos is

        key_frames = lambda: open_model()[1].key_frame_images  # noqa: E731
        written += hit_pictures.write_grid(arguments.grid, query, found, key_frames, focus=focus)
    written += _cut(arguments, index, query, found)
    for path in written:
        print(f"wrote {path}", file=sys.stderr if arguments.json else sys.stdout)


def _cut(arguments: argparse.Namespace, index: Any, query: Any, found: Any) -> list[Any]:
    """Writes what is made of the pieces of videos; nothing if none was found."""
    wanted = ("cut", "reel", "play", "edl", "list", "chapters")
    if not any(getattr(arguments, name) for name in wanted):
        return []
    if not len(found):
        raise UserError("nothing was found, so there is nothing to cut out")
    from stvh_jax.retrieval import video_pieces
    from stvh_jax.video import cut_lists, cutting, player, reel

    pieces = video_pieces.pieces_of(found, around=arguments.around)
    written = []
    if arguments.cut:
        cut = cutting.cut(pieces, arguments.cut, report=_note)
        written.append(f"{arguments.cut}, {len(cut)} files")
    if arguments.reel:
        reel.reel(pieces, arguments.reel)
    if arguments.play:
        boxes = video_pieces.boxes_of(index.uri, pieces, report=_note)
        player.write_player(arguments.play, pieces, boxes, title=f"Like {query.title}")
    if arguments.edl:
        cut_lists.write_edl(arguments.edl, pieces, title=query.title)
    if arguments.list:
        cut_lists.write_csv(arguments.list, pieces)
    if arguments.chapters:
        cut_lists.write_chapters(arguments.chapters, pieces)
    return written + [getattr(arguments, name) for name in wanted[1:] if getattr(arguments, name)]


def _note(line: str) -> None:
    print(f"note: {printable(line)}", file=sys.stderr)
