"""What people write into the query box: an activity, a clip, a time in a video, a saved query."""

import re

from stvh_jax import times
from stvh_jax.app.archive import Archive
from stvh_jax.app.cards import asking_for
from stvh_jax.app.state import PageState
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.retrieval.queries import parse_clip

# A time at the end, after the name of a video or alone.
_AT = re.compile(r"(?:(?P<match>.*\S)\s+)?(?P<time>[0-9]+(?::[0-9]{1,2}){1,2}(?:\.[0-9]*)?)")


def address_of(archive: Archive, state: PageState, text: str) -> str:
    """Gives the address of the page that asks for what a text says.

    Args:
      archive: what is searched.
      state: of the page; its conditions stay.
      text: the name of an activity, or its beginning; MATCH/CLIP; `0:12:31` or MATCH 0:12:31; or
        the name of a saved query.

    Raises:
      NotFound: it says nothing that is known.
      UserError: it may mean several things.
    """
    text = " ".join(text.split())
    if text in archive.saved.names():
        return asking_for(state, saved=text)
    activity = _activity(archive, text)
    if activity is not None:
        return asking_for(state, activity=activity)
    at = _AT.fullmatch(text)
    if at is not None:
        match = at["match"] or _only_match(archive, state)
        seconds = times.seconds(at["time"])
        name = archive.clip_at(match, seconds)
        if name is not None:
            return asking_for(state, clips=(name,))
        return asking_for(state, upload=archive.uploads.moment(match, seconds).name)
    if "/" in text:
        name = parse_clip(text)
        archive.record(name)
        return asking_for(state, clips=(name,))
    known = ", ".join(archive.activities[:8])
    activity = f"an activity ({known}), " if known else ""
    raise NotFound(
        f"nothing here is called {shown(text)}; write {activity}a clip as MATCH/CLIP, a time as "
        "MATCH 0:12:31, or the name of a saved query"
    )


def _activity(archive: Archive, text: str) -> str | None:
    """Finds an activity by its name or the beginning of it."""
    wanted = text.lower().replace(" ", "_")
    names = [name for name in archive.activities if name.lower().replace(" ", "_") == wanted]
    names = names or [
        name for name in archive.activities if name.lower().replace(" ", "_").startswith(wanted)
    ]
    if not wanted or not names:
        return None
    if len(names) > 1:
        raise UserError(f"{shown(text)} may be {', '.join(names)}; write one of them")
    return names[0]


def _only_match(archive: Archive, state: PageState) -> str:
    """Chooses the match of a time that was written without one: the query's, or the only one."""
    own = {match for match, _ in state.clips} | set(state.values_of("match"))
    matches = own or set(archive.matches)
    if len(matches) != 1:
        raise UserError("this time is of which match? write MATCH 0:12:31")
    return matches.pop()
