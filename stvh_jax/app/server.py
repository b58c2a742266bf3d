"""Serves the page: `search.py serve`."""

import contextlib
import pathlib
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from stvh_jax.app.archive import Archive
from stvh_jax.app.loops import Loops
from stvh_jax.app.receiving import Receiver
from stvh_jax.app.research_views import ResearchViews
from stvh_jax.app.security import Door, Guard
from stvh_jax.app.taking_views import TakingViews
from stvh_jax.app.views import Views
from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index

_STATIC = pathlib.Path(__file__).parent / "static"
# So many requests may wait to be accepted.
_BACKLOG = 512
# The usual 9 takes four times as long and saves no tenth; meanwhile nothing else is answered.
_COMPRESSION = 4


def build(
    archive: Archive,
    loops: Loops,
    door: Door,
    folder: pathlib.Path,
    *,
    other: Index | None = None,
) -> ASGIApp:
    """Makes the application.

    Args:
      archive: what is searched.
      loops: the pictures and videos of its clips.
      door: where it is served.
      folder: where uploads and reels lie for a while.
      other: an index of the same clips by another model, to compare; None for none.
    """
    views = Views(archive, loops)
    takes = TakingViews(views, Receiver(folder, archive.uploads.limits), folder)
    researches = ResearchViews(views, other)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        archive.uploads.close()

    # Of video/, what both its own page and this one run.
    static = StaticFiles(directory=_STATIC, packages=[("stvh_jax.video", "static")])
    application = Starlette(
        routes=[*views.routes(), *takes.routes(), *researches.routes(), Mount("/static", static)],
        middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=_COMPRESSION)],
        lifespan=lifespan,
    )
    # Outside of everything, so that errors, too, pass it.
    return Guard(application, door)


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket that is served, so that a port that is taken is known at once.

    Args:
      host: the address to listen on.
      port: the port; 0 for any that is free.

    Raises:
      UserError: it cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}:{port} ({error}); give another --port") from error


def serve(application: ASGIApp, opened: socket.socket, ready: Callable[[], None]) -> None:
    """Serves the page until the process is told to end.

    Args:
      application: what `build` made.
      opened: the socket, see `listen`.
      ready: called once the page can be opened.
    """
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=1 << 16,  # the longest address
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    ready()
    uvicorn.Server(config).run(sockets=[opened])
