"""The whole state of the page, which its address holds, so that a link restores it."""

import dataclasses
import math
import urllib.parse
from collections.abc import Iterable, Sequence

from stvh_jax import times
from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.queries import parse_clip

# How many moments are shown at first, how many more with each "more", and at most.
FIRST, MORE, MOST = 24, 24, 480
# The most clips of each kind that an address holds, and the most values of one field.
_MOST_CLIPS, _MOST_VALUES = 400, 200
# A condition on a field is a parameter of this name before that of the field.
_IS = "is."


@dataclasses.dataclass(frozen=True)
class PageState:
    """What is asked for and how it is shown.

    Attributes:
      clips: clips of the index to find the like of.
      activity: the name of an activity to find.
      saved: the name of a saved query.
      upload: the name of an uploaded clip.
      scale: from 0, who and where, to 1, what they do.
      liked: examples.
      not_liked: counter-examples.
      rounds: the share of liked clips among those that were judged, round by round.
      only: for each field of the record the values that hits may have.
      start: hits begin at this time of their video or later, in seconds; None for any.
      stop: hits begin before this time; None for any.
      elsewhere: the matches of the query are left out.
      count: how many moments are shown.
    """

    clips: tuple[Name, ...] = ()
    activity: str | None = None
    saved: str | None = None
    upload: str | None = None
    scale: float = 1.0
    liked: tuple[Name, ...] = ()
    not_liked: tuple[Name, ...] = ()
    rounds: tuple[float, ...] = ()
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    start: float | None = None
    stop: float | None = None
    elsewhere: bool = False
    count: int = FIRST

    @property
    def asks(self) -> bool:
        """Whether anything is asked for."""
        asked = (self.clips, self.activity, self.saved, self.upload, self.liked, self.not_liked)
        return any(asked)

    @property
    def narrowed(self) -> bool:
        """Whether there is a condition on the hits."""
        return bool(self.only or self.elsewhere) or (self.start, self.stop) != (None, None)

    def values_of(self, field: str) -> tuple[str, ...]:
        """Gives the values that hits may have in a field; nothing where all are allowed."""
        return dict(self.only).get(field, ())

    def without_field(self, field: str) -> "PageState":
        """Gives the state with all values of a field allowed."""
        only = tuple((name, values) for name, values in self.only if name != field)
        return dataclasses.replace(self, only=only)

    def parameters(self) -> list[tuple[str, str]]:
        """Gives the parameters of the page's address; what is as usual is left out."""
        pairs = [("clip", "/".join(name)) for name in self.clips]
        for name in ("activity", "saved", "upload"):
            if getattr(self, name) is not None:
                pairs.append((name, getattr(self, name)))
        if self.scale != 1:
            pairs.append(("scale", f"{self.scale:g}"))
        pairs += [("like", "/".join(name)) for name in self.liked]
        pairs += [("not", "/".join(name)) for name in self.not_liked]
        pairs += [("round", f"{share:g}") for share in self.rounds]
        pairs += [(_IS + name, value) for name, values in self.only for value in values]
        for name, seconds in (("from", self.start), ("to", self.stop)):
            if seconds is not None:
                pairs.append((name, times.clock_tenths(seconds)))
        if self.elsewhere:
            pairs.append(("elsewhere", "1"))
        if self.count != FIRST:
            pairs.append(("count", str(self.count)))
        return pairs

    def address(self, path: str = "/", **changes) -> str:
        """Gives the address of a page with this state, or with some fields of it changed."""
        pairs = dataclasses.replace(self, **changes).parameters()
        return f"{path}?{urllib.parse.urlencode(pairs)}" if pairs else path


def read_state(parameters: Iterable[tuple[str, str]]) -> PageState:
    """Reads the state that an address holds; parameters of other names are left alone.

    Args:
      parameters: the names and values of the address, in order.

    Raises:
      UserError: one has a value that makes no sense, or there are too many.
    """
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        if value:  # an empty field of a form asks for nothing
            values.setdefault(name, []).append(value)
    only = {name[len(_IS) :]: own for name, own in values.items() if name.startswith(_IS)}
    for own in only.values():
        if len(own) > _MOST_VALUES:
            raise UserError(f"{len(own)} values of one field; choose up to {_MOST_VALUES}")
    scale, count = _last(values, "scale"), _last(values, "count")
    start, stop = (_last(values, name) for name in ("from", "to"))
    return PageState(
        clips=_clips(values, "clip"),
        activity=_last(values, "activity"),
        saved=_last(values, "saved"),
        upload=_last(values, "upload"),
        scale=1.0 if scale is None else round(_share(scale, "scale"), 2),
        liked=_clips(values, "like"),
        not_liked=_clips(values, "not"),
        rounds=tuple(
            round(_share(text, "round"), 2) for text in values.get("round", ())[-_MOST_VALUES:]
        ),
        only=tuple((name, tuple(dict.fromkeys(own))) for name, own in sorted(only.items())),
        start=None if start is None else _time(start),
        stop=None if stop is None else _time(stop),
        elsewhere=_last(values, "elsewhere") is not None,
        count=FIRST if count is None else _count(count),
    )


def _last(values: dict[str, list[str]], name: str) -> str | None:
    return values[name][-1] if name in values else None


def _clips(values: dict[str, list[str]], name: str) -> tuple[Name, ...]:
    texts: Sequence[str] = values.get(name, ())
    if len(texts) > _MOST_CLIPS:
        raise UserError(f"{len(texts)} clips as {name}; give up to {_MOST_CLIPS}")
    return tuple(dict.fromkeys(map(parse_clip, texts)))


def _share(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UserError(f"{name} {shown(text)}; give a number from 0 to 1")
    return value


def _time(text: str) -> float:
    """Reads a time to the tenth of a second, as an address says it."""
    return round(times.seconds(text), 1)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= MOST):
        raise UserError(f"count {shown(text)}; give a whole number from 1 to {MOST}")
    return int(text)
