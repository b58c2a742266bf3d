"""What is taken away from the page, and what is brought to it: files, saved queries, uploads."""

import pathlib
import shutil
import urllib.parse
from collections.abc import Callable, Sequence

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from stvh_jax import times
from stvh_jax.app import taking
from stvh_jax.app.archive import Answer
from stvh_jax.app.cards import asking_for
from stvh_jax.app.receiving import Receiver
from stvh_jax.app.state import PageState, read_state
from stvh_jax.app.views import Views, guarded, said
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import video_pieces
from stvh_jax.retrieval.moments import Moment
from stvh_jax.retrieval.queries import parse_clip
from stvh_jax.video.pieces import Piece

# What is shown of a video before and after each moment, in seconds.
_AROUND = 1.0
# The most bytes of a form without files.
_MOST_BYTES = 1 << 16


class TakingViews:
    """Answers requests that take something away, or bring something."""

    def __init__(self, views: Views, receiver: Receiver, folder: pathlib.Path):
        """Takes what the other pages have.

        Args:
          views: they.
          receiver: takes uploads.
          folder: where reels are made.
        """
        self._archive, self._receiver, self._folder = views.archive, receiver, folder

    def routes(self) -> list[Route]:
        """Says which address is answered by what."""
        takes: dict[str, Callable[[Request], Response]] = {
            "hits.csv": self.hits,
            "cuts.edl": self.cuts,
            "chapters.txt": self.chapters,
            "reel.mp4": self.reel,
            "query.json": self.query,
        }
        return [
            *(Route(f"/take/{name}", guarded(take)) for name, take in takes.items()),
            Route("/save", guarded(self.save), methods=["POST"]),
            Route("/upload", guarded(self.upload), methods=["POST"]),
            Route("/upload/poster", guarded(self.poster)),
        ]

    def hits(self, request: Request) -> Response:
        """What was found as a table."""
        _, _, chosen = self._chosen(request)
        with self._archive.turn:
            content = taking.hits_csv(chosen, self._archive.index.info)
        return _file(content, "text/csv; charset=utf-8", "hits.csv")

    def cuts(self, request: Request) -> Response:
        """What was found as a cut list."""
        _, answer, chosen = self._chosen(request)
        content = taking.cut_list(_pieces(chosen), answer.asked.title)
        return _file(content, "text/plain; charset=utf-8", "cuts.edl")

    def chapters(self, request: Request) -> Response:
        """Where each moment begins in the reel."""
        content = taking.chapters(_pieces(self._chosen(request)[2]))
        return _file(content, "text/plain; charset=utf-8", "chapters.txt")

    def reel(self, request: Request) -> Response:
        """What was found as one video."""
        path = taking.reel_file(_pieces(self._chosen(request)[2]), self._folder)
        deleted = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
        return FileResponse(path, media_type="video/mp4", filename="reel.mp4", background=deleted)

    def query(self, request: Request) -> Response:
        """What is asked for, as a file that can be asked again."""
        state, answer, _ = self._chosen(request)
        with self._archive.turn:
            content = taking.query_file(answer.asked, self._archive.index, answer.focus)
        return _file(content, "application/json", "query.json")

    def _chosen(self, request: Request) -> tuple[PageState, Answer, Sequence[Moment]]:
        """Gives what was found, as far as it was selected; all of it if nothing was.

        Raises:
          UserError: nothing is asked for, or nothing was found.
        """
        state = read_state(request.query_params.multi_items())
        if not state.asks:
            raise UserError("nothing is asked for, so there is nothing to take away")
        answer = self._archive.answer(state)
        selected = set(map(parse_clip, request.query_params.getlist("select")))
        chosen = [
            moment
            for moment in answer.moments
            if not selected or (moment.match, moment.best.clip) in selected
        ]
        if not chosen:
            raise NotFound("nothing was found, so there is nothing to take away")
        return state, answer, chosen

    async def save(self, request: Request) -> Response:
        """Keeps what is asked for under a name."""
        pairs = urllib.parse.parse_qsl(await _text(request))
        return await run_in_threadpool(self._save, pairs, request)

    def _save(self, pairs: Sequence[tuple[str, str]], request: Request) -> Response:
        state, name = read_state(pairs), dict(pairs).get("name", "")
        if not state.asks:
            raise UserError("nothing is asked for, so there is nothing to save")
        archive = self._archive
        asked, focus = archive.asked(state), archive.index.info.focus_at(state.scale)
        with archive.turn:
            saved = asked.saved(archive.index, focus)
        archive.saved.save(name, saved)
        return said(
            request,
            f"Saved as {name}: write this name into the box above to ask for it again.",
            asking_for(state, saved=name),
        )

    async def upload(self, request: Request) -> Response:
        """Encodes a clip that was sent, and asks for the like of it."""
        async with self._receiver.receive(request) as received:
            at = received.fields.get("at", "").strip()
            upload = await run_in_threadpool(
                self._archive.uploads.take,
                received.video,
                received.tracks,
                title=received.fields.get("title", "") or "your clip",
                at=times.seconds(at) if at else None,
            )
        address = asking_for(PageState(), upload=upload.name)
        return said(request, address, address)

    def poster(self, request: Request) -> Response:
        """The picture of an uploaded clip."""
        upload = self._archive.uploads.get(request.query_params.get("upload", ""))
        if upload.poster is None:
            raise NotFound("this clip has no picture")
        return Response(upload.poster, media_type="image/jpeg")


async def _text(request: Request) -> str:
    """Reads a form without files.

    Raises:
      UserError: it is too long, or no text.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MOST_BYTES:
            raise UserError("this is too much to save; start from a shorter address")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError("the form is not UTF-8; use that of the page") from None


def _pieces(moments: Sequence[Moment]) -> list[Piece]:
    return video_pieces.pieces_of(moments, around=_AROUND)


def _file(content: bytes, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=kind)
