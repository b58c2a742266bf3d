"""search.py serve: the page on which an index is searched by looking."""

import argparse
import functools
import ipaddress
import os
import pathlib
import secrets
import tempfile

from stvh_jax.cli import asked, parsing
from stvh_jax.errors import UserError, shown

_LOOPBACK, _PORT = "127.0.0.1", 8765
# The fewest characters of a token that somebody chose.
_LEAST = 16


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options."""
    parser.set_defaults(run=_serve)
    parser.add_argument("--index", required=True, help="a folder, s3://..., http://...")
    parser.add_argument("--run", dest="folder", help="the model, if it was moved since")
    parser.add_argument("--dataset", metavar="MODULE:FUNCTION", help=parsing.DATASET_HELP)
    parser.add_argument(
        "--beside", metavar="INDEX", help="an index of the same clips by another model, to compare"
    )
    parser.add_argument("--port", type=int, default=_PORT, help=f"{_PORT}; 0 for any that is free")
    parser.add_argument(
        "--host",
        default=_LOOPBACK,
        help=f"the address to listen on, {_LOOPBACK} if left out; on another, everybody needs the "
        "token that is printed",
    )
    parser.add_argument("--token", help=f"that token, {_LEAST} characters or more; random if not")
    parser.add_argument("--open", action="store_true", help="open it in this machine's browser")


def _serve(arguments: argparse.Namespace) -> int:
    token = _token(arguments)
    if not 0 <= arguments.port < 1 << 16:
        raise UserError(f"--port {arguments.port}; give a number from 0 to 65535")
    # Read when SciPy is loaded: each request has a thread, and more in each wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stvh_jax.app import server
    from stvh_jax.app.archive import Archive
    from stvh_jax.app.loops import Loops
    from stvh_jax.app.saved import SavedQueries, folder_of
    from stvh_jax.app.security import Door
    from stvh_jax.app.uploads import Uploads
    from stvh_jax.retrieval.index import Index

    index = Index.open(arguments.index)
    other = None if arguments.beside is None else Index.open(arguments.beside)
    with (
        server.listen(arguments.host, arguments.port) as opened,
        tempfile.TemporaryDirectory(prefix="stvh-") as name,
    ):
        door = Door(arguments.host, opened.getsockname()[1], token)
        folder = pathlib.Path(name)
        uploads = Uploads(index.uri, folder, run=arguments.folder)
        archive = Archive(index, uploads=uploads, saved=SavedQueries(folder_of(index.uri)))
        print(f"{index.uri}: {archive.table.num_rows:,} clips", flush=True)
        loops = Loops(index, archive.turn, key_frames=_key_frames(arguments, index))
        application = server.build(archive, loops, door, folder, other=other)
        server.serve(application, opened, lambda: _ready(door, arguments.open))
    return 0


def _key_frames(arguments: argparse.Namespace, index):
    """Gives pictures of clips of a prepared set, which is opened when the first is asked for."""
    from stvh_jax.retrieval import index_model

    @functools.cache
    def opened():
        run, info = index_model.run_of(index.info, arguments.folder), index.info
        kind, folder = index_model.checkpoint_of(info), info.origin.get("data_dir")
        return asked.open_run(arguments, run, kind, folder, bits=info.bits)[1]

    return lambda split, names: opened().key_frame_images(split, names)


def _ready(door, opens: bool) -> None:
    print(f"open {door.address}   (Ctrl-C ends it)", flush=True)
    if opens:
        import webbrowser

        webbrowser.open(door.address)


def _token(arguments: argparse.Namespace) -> str | None:
    """Gives the token that is needed: none where only this machine can ask.

    Raises:
      UserError: the token is too short to keep anybody out, or cannot stand in an address.
    """
    given = arguments.token
    if given is not None and not (len(given) >= _LEAST and given.isascii() and given.isprintable()):
        raise UserError(f"--token {shown(given)}; give {_LEAST} letters and digits or more")
    if given is None and not _is_loopback(arguments.host):
        return secrets.token_urlsafe(24)
    return given


def _is_loopback(host: str) -> bool:
    """Says whether an address is reached from this machine alone.

    Raises:
      UserError: it is no address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f"--host {shown(host)}; give an address, for example 0.0.0.0") from None
