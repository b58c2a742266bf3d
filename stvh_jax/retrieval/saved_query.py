"""A query as a small file: what is asked for, of which model's codes, and by which examples.

It can be searched for again, taught further, watched, and given to somebody else.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from stvh_jax import files
from stvh_jax.codes import query_json
from stvh_jax.codes.linear_query import LinearQuery
from stvh_jax.codes.query_kinds import Like, like
from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.index import Index

_FORMAT = "stvh query 1"
# The most bytes of a file, and the most characters of what a query is called.
_MOST_BYTES, LONGEST_TITLE = 1 << 24, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class SavedQuery:
    """A linear query, and what is known of it.

    Attributes:
      query: what is asked for.
      title: what it is called.
      bits: how many bits the codes have that it is of.
      checkpoint: the model's, as the index names it; None if it is not known.
      adaptation: the number of the adaptation of the visual bits; 0 for none.
      focus: at which it was asked; None for any.
      liked: the names of the examples, MATCH/CLIP.
      not_liked: those of the counter-examples.
    """

    query: LinearQuery
    title: str
    bits: int
    checkpoint: str | None = None
    adaptation: int = 0
    focus: float | str | None = None
    liked: Sequence[str] = ()
    not_liked: Sequence[str] = ()

    def save(self, path: epath.PathLike) -> None:
        """Writes it as JSON.

        Raises:
          UserError: it cannot be written.
        """
        values = {"format": _FORMAT} | {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        values["query"] = query_json.to_json(self.query)
        values |= {name: list(values[name]) for name in ("liked", "not_liked")}
        with files.writing(path):
            files.write(files.output(path), json.dumps(values) + "\n")

    def check_of(self, index: Index) -> None:
        """Checks that the query is of the codes of an index.

        Raises:
          UserError: it is of another model, or of an adaptation that the index does not have.
        """
        made_by = index.info.origin.get("checkpoint")
        if self.bits != index.info.bits or (
            None not in (self.checkpoint, made_by) and self.checkpoint != made_by
        ):
            raise UserError(
                f"the query is of codes of {self.bits} bits of checkpoint {self.checkpoint}, the "
                f"index of {index.info.bits} bits of {made_by}; ask an index of the same model"
            )
        if self.adaptation != adaptation_of(index):
            raise UserError(
                "the query is of visual bits that were adapted to other clips than this index's; "
                "ask again by the clips it was made of"
            )


def adaptation_of(index: Index) -> int:
    """Gives the number of the adaptation of an index's visual bits; 0 for none."""
    adaptation = index.adaptation
    return 0 if adaptation is None else adaptation.number


def load(path: epath.PathLike) -> SavedQuery:
    """Reads a query that was saved.

    Raises:
      NotFound: there is no such file.
      Damaged: it is something else.
    """
    what = "a saved query"
    with files.reading(path, what):
        values = files.read_json(path, what, most=_MOST_BYTES)
        if values.pop("format", None) != _FORMAT:
            raise ValueError(f"it does not say that its format is {_FORMAT!r}")
        _check_values(values)
        try:
            query = query_json.from_json(values.pop("query"))
        except UserError as error:
            raise ValueError(str(error)) from error
        return SavedQuery(query=query, **values)


def taught(query: LinearQuery | None, these: Any, not_like: Any) -> LinearQuery:
    """Adds examples to a query: to those that it was taught by before, if there were any.

    Args:
      query: what is asked for so far; None for nothing.
      these: codes of examples, by focus, `[m, bytes]`.
      not_like: of counter-examples.

    Raises:
      UserError: see `query_kinds.like`; or the codes are of other foci than before.
    """
    if isinstance(query, Like):
        return query.with_more(these, not_like)
    return like(these, not_like=not_like, prior=query)


def _check_values(values: dict[str, Any]) -> None:
    """Checks the plain values of a saved query.

    Raises:
      ValueError: they are something else.
    """
    fields = {field.name for field in dataclasses.fields(SavedQuery)}
    if values.keys() != fields:
        raise ValueError(f"it has the fields {shown(sorted(values))}, not {sorted(fields)}")
    if not isinstance(values["title"], str) or len(values["title"]) > LONGEST_TITLE:
        raise ValueError("its title is not a short text")
    for name in ("bits", "adaptation"):
        if not isinstance(values[name], int) or isinstance(values[name], bool):
            raise ValueError(f"its {name} is not a whole number")
    if not isinstance(values["checkpoint"], (str, type(None))):
        raise ValueError("its checkpoint is not a text")
    focus = values["focus"]
    if isinstance(focus, bool) or not isinstance(focus, (str, int, float, type(None))):
        raise ValueError("its focus is neither a number nor a name")
    for name in ("liked", "not_liked"):
        texts = values[name]
        if not isinstance(texts, list) or not all(map(_is_clip, texts)):
            raise ValueError(f"{name} is not a list of clips, MATCH/CLIP")


def _is_clip(text: Any) -> bool:
    """Says whether a value is the name of a clip, MATCH/CLIP."""
    if not isinstance(text, str):
        return False
    match, _, clip = text.rpartition("/")
    return bool(match and clip)
