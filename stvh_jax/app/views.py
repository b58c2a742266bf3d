"""The pages and the pieces of them, by their addresses."""

import dataclasses
import functools
import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from stvh_jax.app import asked_words, cards
from stvh_jax.app.archive import Archive
from stvh_jax.app.loops import Loops
from stvh_jax.app.state import MORE, MOST, PageState, read_state
from stvh_jax.app.uploads import Upload
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.queries import parse_clip
from stvh_jax.times import clock_tenths

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# A browser may keep pictures for five minutes: one of a video that has changed is seen after that.
_KEEP = {"Cache-Control": "private, max-age=300"}


@dataclasses.dataclass(frozen=True)
class Chip:
    """A part of what is asked for, and the address of the page without it."""

    text: str
    address: str


class Views:
    """Answers requests for pages, pieces of pages, pictures and loops."""

    def __init__(self, archive: Archive, loops: Loops):
        """Prepares the templates."""
        self.archive, self.loops = archive, loops
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    def routes(self) -> list[Route]:
        """Says which address is answered by what."""
        paths: dict[str, Callable] = {
            "/": self.page,
            "/results": self.results,
            "/ask": self.ask,
            "/poster": guarded(self.poster),
            "/loop": guarded(self.loop),
            "/boxes": guarded(self.boxes),
            "/map": self.map,
        }
        return [Route(path, answer) for path, answer in paths.items()]

    def page(self, request: Request) -> Response:
        """The whole page."""
        self.archive.refresh()
        return self._results(request, "page.html")

    def results(self, request: Request) -> Response:
        """What changes of the page with the state: for its script."""
        return self._results(request, "results.html")

    def _results(self, request: Request, template: str) -> Response:
        try:
            state = read_state(request.query_params.multi_items())
            values = self._found(state)
        except UserError as error:
            state = PageState()
            values = self._found(state) | {"error": str(error)}
            return self.html(template, values, status=404 if isinstance(error, NotFound) else 400)
        return self.html(template, values)

    def html(self, template: str, values: dict[str, Any], *, status: int = 200) -> Response:
        """Renders a template."""
        text = self._templates.get_template(template).render(values)
        return HTMLResponse(text, status_code=status)

    def common(self, state: PageState) -> dict[str, Any]:
        """Gives what every page of a state shows."""
        return {
            "state": state,
            "hidden": state.parameters(),
            "error": "",
            "activities": self.archive.activities,
            "known": [*self.archive.activities, *self.archive.saved.names()],
        }

    def _found(self, state: PageState) -> dict[str, Any]:
        """Gives what a page of a state shows."""
        archive = self.archive
        values = self.common(state) | {
            "where": archive.where(state),
            "fields": archive.fields(state),
            "times": _times(state),
            "clips": archive.table.num_rows,
            "index": archive.index.uri,
            "version": archive.version,
            "steps": cards.STEPS,
            "one_focus": len(archive.index.foci) == 1,
        }
        if not state.asks:
            records, count = archive.some(state)
            shown = [cards.clip_card(record, state) for record in records]
            nothing = dict.fromkeys(("answer", "more", "places", "query_places"))
            return values | nothing | {"cards": shown, "count": count}
        with archive.turn:  # so that what is found is still in the index when its place is read
            answer = archive.answer(state)
            places = archive.places([(each.match, each.best.clip) for each in answer.moments])
        query = answer.asked.clips
        upload = None if state.upload is None else archive.uploads.get(state.upload)
        more = min(MOST, state.count + MORE)
        return values | {
            "answer": answer,
            "cards": cards.hit_cards(archive, state, answer),
            "query": [] if query is None else cards.query_cards(state, query.records),
            "upload": upload,
            "places": places,
            "query_places": None if query is None else archive.places(query.codes),
            "chips": _chips(state, upload),
            "count": len(answer.moments),
            "more": None if answer.all_shown or more == state.count else state.address(count=more),
            "lift": _lift(state),
        }

    def ask(self, request: Request) -> Response:
        """Understands what was written into the query box."""
        try:
            state = read_state(request.query_params.multi_items())
            text = request.query_params.get("text", "")
            if not text.strip():
                return RedirectResponse(cards.asking_for(state), status_code=303)
            address = asked_words.address_of(self.archive, state, text[:500])
        except UserError as error:
            values = self._found(PageState()) | {"error": str(error)}
            return self.html("page.html", values, status=404)
        return RedirectResponse(address, status_code=303)

    def map(self, _: Request) -> Response:
        """The map of the archive, for its script."""
        return JSONResponse(self.archive.map.get().to_json())

    def poster(self, request: Request) -> Response:
        """The picture of a clip."""
        return Response(self.loops.poster(_clip(request)), 200, _KEEP, "image/jpeg")

    def loop(self, request: Request) -> Response:
        """A clip as a small video, of which a browser may ask for a part."""
        return FileResponse(self.loops.loop(_clip(request)), 200, _KEEP, "video/mp4")

    def boxes(self, request: Request) -> Response:
        """Where the people of a clip are."""
        return JSONResponse(self.loops.boxes(_clip(request)), 200, _KEEP)


def _clip(request: Request) -> Name:
    return parse_clip(request.query_params.get("clip", ""))


def guarded(answer: Callable) -> Callable:
    """Makes what answers a request say a user's mistake in its line."""

    def refused(error: UserError) -> Response:
        return PlainTextResponse(str(error), 404 if isinstance(error, NotFound) else 400)

    @functools.wraps(answer)
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except UserError as error:
            return refused(error)

    @functools.wraps(answer)
    def answered_in_thread(request: Request) -> Response:
        try:
            return answer(request)
        except UserError as error:
            return refused(error)

    return answered if inspect.iscoroutinefunction(answer) else answered_in_thread


def said(request: Request, words: str, address: str) -> Response:
    """Says what was done: in words to the page's script, by going on to a page without it."""
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(words)
    return RedirectResponse(address, status_code=303)


def _times(state: PageState) -> list[str]:
    return ["" if each is None else clock_tenths(each) for each in (state.start, state.stop)]


def _chips(state: PageState, upload: Upload | None) -> list[Chip]:
    """Says in parts what was understood, each with the address of the page without it."""
    chips = []
    for name in state.clips:
        rest = tuple(other for other in state.clips if other != name)
        chips.append(Chip(f"like {'/'.join(name)}", state.address(clips=rest)))
    if upload is not None:
        chips.append(Chip(f"like {upload.title}", state.address(upload=None)))
    if state.activity is not None:
        chips.append(Chip(state.activity, state.address(activity=None)))
    if state.saved is not None:
        chips.append(Chip(f"saved: {state.saved}", state.address(saved=None)))
    for name in state.liked:
        rest = tuple(other for other in state.liked if other != name)
        chips.append(Chip(f"+ {'/'.join(name)}", state.address(liked=rest)))
    for name in state.not_liked:
        rest = tuple(other for other in state.not_liked if other != name)
        chips.append(Chip(f"− {'/'.join(name)}", state.address(not_liked=rest)))
    return chips


def _lift(state: PageState) -> list[Chip]:
    """Names the conditions that may be lifted, each with the address of the page without it."""
    chips = [
        Chip(f"{name}: {', '.join(values)}", state.without_field(name).address())
        for name, values in state.only
    ]
    if (state.start, state.stop) != (None, None):
        text = " to ".join(each or "…" for each in _times(state))
        chips.append(Chip(f"time: {text}", state.address(start=None, stop=None)))
    if state.elsewhere:
        chips.append(Chip("other matches only", state.address(elsewhere=False)))
    return chips
