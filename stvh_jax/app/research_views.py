"""The researcher's tab: two searches side by side, distances of activities, failures."""

import urllib.parse

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stvh_jax.app.beside import Beside, Side, beside
from stvh_jax.app.cards import asking_for
from stvh_jax.app.state import PageState, read_state
from stvh_jax.app.views import Views
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index


class ResearchViews:
    """Answers requests for the researcher's tab."""

    def __init__(self, views: Views, other: Index | None):
        """Takes what the other pages have.

        Args:
          views: they.
          other: an index of the same clips by another model, to compare; None for none.
        """
        self._views, self._archive, self._other = views, views.archive, other

    def routes(self) -> list[Route]:
        """Says which address is answered by what."""
        return [Route("/research", self.page)]

    def page(self, request: Request) -> Response:
        """The tab."""
        archive = self._archive
        archive.refresh()
        error, status = "", 200
        try:
            state = read_state(request.query_params.multi_items())
            values = self._shown(state, request)
        except UserError as problem:
            error, state = str(problem), PageState()
            status = 404 if isinstance(problem, NotFound) else 400
            values = self._shown(state, request, compare=False)
        common = self._views.common(state)
        return self._views.html("research.html", common | values | {"error": error}, status=status)

    def _shown(self, state: PageState, request: Request, *, compare: bool = True) -> dict:
        pair = request.query_params.getlist("pair")[:2]
        other = read_state([("scale", request.query_params.get("other", "0"))]) if compare else None
        focus = self._archive.index.info.focus_at(state.scale)

        def clip_url(name: Name) -> str:
            return asking_for(state, clips=(name,))

        def pair_url(first: str, second: str) -> str:
            pairs = [*state.parameters(), ("pair", first), ("pair", second)]
            return f"/research?{urllib.parse.urlencode(pairs)}#pair"

        research = self._archive.research
        return {
            "focus": f"{focus:g}",
            "other": 0.0 if other is None else other.scale,
            "models": self._other is not None,
            "distances": research.distances(state.scale),
            "failures": research.failures(state.scale),
            "pair": tuple(pair) if len(pair) == 2 else None,
            "beside": None if other is None else self._beside(state, other.scale),
            "clip_url": clip_url,
            "pair_url": pair_url,
        }

    def _beside(self, state: PageState, other: float) -> Beside | None:
        index = self._archive.index
        if not state.clips or (self._other is None and len(index.foci) == 1):
            return None
        if self._other is None:
            first = Side(_scale(state.scale), index, state.scale)
            second = Side(_scale(other), index, other)
        else:
            first = Side(index.uri, index, state.scale)
            second = Side(self._other.uri, self._other, state.scale)
        return beside(first, second, state.clips, self._archive.turn)


def _scale(scale: float) -> str:
    ends = {0.0: "who and where", 1.0: "what they do"}
    return ends.get(scale, f"scale {scale:g}")
