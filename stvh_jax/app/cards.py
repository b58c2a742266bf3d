"""Clips and moments as the page shows them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from stvh_jax.app.archive import Answer, Archive
from stvh_jax.app.loops import is_of_video
from stvh_jax.app.state import PageState
from stvh_jax.retrieval.moments import Moment
from stvh_jax.retrieval.record import GIVEN_NAME
from stvh_jax.times import clock_tenths

# A bar of agreement has so many steps; codes that have nothing to do with one another agree in half
# of their bits, which is none.
STEPS = 5
_NOTHING = 0.5


@dataclasses.dataclass(frozen=True)
class Card:
    """A clip, or the moment around it, as it is shown.

    Attributes:
      name: MATCH/CLIP.
      match: its video.
      time: h:mm:ss from its beginning; empty where it is not known.
      activity: what is done; empty where nothing is known.
      given: whether somebody has labelled it so; else a model says so.
      named: the name that somebody gave the clip, as `search.py name` does; empty without one.
      confidence: how sure the model is, in percent; None where it is not known.
      problem: why there is nothing to see of it; empty if there is.
      moves: whether it has a loop, not a picture alone.
      address: of the page that asks for it.
      rank: its place among the hits, from 1; None for what was not found.
      distance: from the query, "6.4 of 128 bits"; empty for what was not found.
      agreeing: steps of the bar of agreement, 0 to `STEPS`.
      clips: how many clips of the index the moment is made of.
      mark: "liked", "not" or empty.
    """

    name: str
    match: str
    time: str
    activity: str
    given: bool
    confidence: int | None
    problem: str
    moves: bool
    address: str
    rank: int | None = None
    distance: str = ""
    agreeing: int = 0
    clips: int = 1
    mark: str = ""
    named: str = ""

    @property
    def title(self) -> str:
        """Names it for who does not see it."""
        place = "" if self.rank is None else f"{self.rank}: "
        says = "" if not self.activity else f", {self.activity}"
        sure = "" if self.given or not self.activity else " (predicted)"
        named = f", named {self.named}" if self.named else ""
        return f"{place}{self.match} {self.time}".rstrip() + says + sure + named


def hit_cards(archive: Archive, state: PageState, answer: Answer) -> list[Card]:
    """Gives what was found."""
    marks = dict.fromkeys(state.liked, "liked") | dict.fromkeys(state.not_liked, "not")
    bits = archive.index.info.bits
    return [
        _hit_card(moment, rank, state, bits, marks)
        for rank, moment in enumerate(answer.moments, start=1)
    ]


def _hit_card(
    moment: Moment, rank: int, state: PageState, bits: int, marks: Mapping[tuple, str]
) -> Card:
    best = moment.best
    name = (best.match, best.clip)
    card = clip_card({"match": best.match, "clip": best.clip, **best.record}, state)
    share = max(0.0, 1 - best.distance / bits - _NOTHING) / (1 - _NOTHING)
    return dataclasses.replace(
        card,
        rank=rank,
        distance=f"{best.distance:.3g} of {bits} bits",
        agreeing=round(STEPS * share),
        clips=len(moment.hits),
        mark=marks.get(name, ""),
    )


def clip_card(record: Mapping[str, Any], state: PageState) -> Card:
    """Gives a clip by its record."""
    name = (record["match"], record["clip"])
    start, confidence = record["start"], record.get("confidence")
    named = record.get(GIVEN_NAME)
    return Card(
        name="/".join(name),
        match=record["match"],
        time="" if start is None else clock_tenths(start),
        activity=record["activity"] or record.get("predicted") or "",
        given=record["activity"] is not None,
        confidence=None if confidence is None else round(100 * confidence),
        problem=_problem(record),
        moves=is_of_video(record) and record["stop"] is not None,
        address=asking_for(state, clips=(name,)),
        named=named if isinstance(named, str) else "",  # else it is a column of the user's own
    )


def asking_for(state: PageState, **asked: Any) -> str:
    """Gives the address of a page that asks for something else under the same conditions."""
    nothing = {"clips": (), "activity": None, "saved": None, "upload": None}
    taught = {"liked": (), "not_liked": (), "rounds": (), "count": PageState().count}
    return state.address(**{**nothing, **taught, **asked})


def query_cards(state: PageState, records: Sequence[Mapping[str, Any]]) -> list[Card]:
    """Gives the clips that are asked for, as far as they are of the index."""
    return [clip_card(record, state) for record in records if record["match"] is not None]


def _problem(record: Mapping[str, Any]) -> str:
    media = record.get("media")
    if not media or not is_of_video(record):
        return "" if record.get("split") else "the index names no video for this clip"
    if os.path.isfile(media):
        return ""
    return f"{media} is gone; put it back, or index it again from its new place"
