"""Names that are given to clips of an index: what one may be, who has which, and examples of one.

They stand in a column of the record, `name`, so that conditions, hits and exports have them.
"""

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import printable
from stvh_jax.retrieval.checks import ClipName, names_of
from stvh_jax.retrieval.engine import Engine, Name
from stvh_jax.retrieval.hits import Hit
from stvh_jax.retrieval.record import GIVEN_NAME, NAMES
from stvh_jax.retrieval.where import as_sql, quoted

# The most characters of a name.
LONGEST = 64

# So many of the clips of a name stand for all of them in a search; more say little more.
MOST_EXAMPLES = 64

# Kinds of characters, by their first letter, that nobody sees: controls, directions, surrogates.
_UNSEEN = "C"


def check_name(name: Any) -> str:
    """Checks a name.

    Raises:
      UserError: it is no text, empty, too long, or has characters that cannot be seen.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST:
        raise UserError(f"name {shown(name)}; give a text of 1 to {LONGEST} characters")
    kinds = {unicodedata.category(character) for character in name}
    if any(kind[0] in _UNSEEN for kind in kinds) or kinds & {"Zl", "Zp"}:
        raise UserError(f"name {shown(name)} has characters that cannot be seen; leave them out")
    if name != name.strip():
        raise UserError(f"name {shown(name)} begins or ends with a space; leave it out")
    return str(name)


def give(engine: Engine, clips: Iterable[Hit | ClipName], name: str | None) -> int:
    """Gives clips a name, or takes theirs away; see `Index.name`."""
    if name is not None:
        check_name(name)
    if isinstance(clips, str) or not isinstance(clips, Iterable):
        raise UserError(f"clips {shown(clips)}; give hits, or pairs of match and clip")
    pairs = [(each.match, each.clip) if isinstance(each, Hit) else each for each in clips]
    pairs = list(dict.fromkeys(names_of(pairs)))
    if not pairs:
        raise UserError("there is no clip to name")
    if name is None and GIVEN_NAME not in engine.info.columns:
        return 0
    columns = {field: [pair[place] for pair in pairs] for place, field in enumerate(NAMES)}
    values = pa.array([name] * len(pairs), pa.string())
    return engine.name(pa.table({**columns, GIVEN_NAME: values}))


def count(engine: Engine, where: str | None = None) -> dict[str, int]:
    """Counts the clips of each name; see `Index.names`."""
    if engine.info.columns.get(GIVEN_NAME) != "text":
        return {}
    named = f"{GIVEN_NAME} IS NOT NULL"
    condition = named if where is None else f"{_alone(engine, where)} AND {named}"
    values = engine.snapshot().list_clips(condition)[GIVEN_NAME]
    counts = pc.call_function("value_counts", [values.combine_chunks()]).to_pylist()
    by_name = {str(each["values"]): each["counts"] for each in counts}
    return {name: by_name[name] for name in sorted(by_name, key=lambda n: (-by_name[n], n))}


def clips_named(engine: Engine, name: str, where: str | None = None) -> list[Name]:
    """Lists the clips of a name, (match, clip), in their natural order.

    Args:
      engine: where they are.
      name: theirs.
      where: a condition that they meet, too; None for all.

    Raises:
      NotFound: there is none.
    """
    check_name(name)
    named = []
    if engine.info.columns.get(GIVEN_NAME) == "text":
        condition = f"{GIVEN_NAME} = {quoted(name)}"
        if where is not None:
            condition = f"{_alone(engine, where)} AND {condition}"
        table = engine.snapshot().list_clips(condition)
        named = list(zip(*(table[field].to_pylist() for field in NAMES)))
    if not named:
        raise NotFound(f"no clip of {engine.uri} is named {printable(name)}; {_there_are(engine)}")
    return named


def examples_of(engine: Engine, name: str) -> list[Name]:
    """Gives clips of a name that stand for all of them: all, or some evenly over the archive.

    Raises:
      NotFound: there is none.
    """
    named = clips_named(engine, name)
    places = np.linspace(0, len(named) - 1, min(len(named), MOST_EXAMPLES)).round().astype(int)
    return [named[place] for place in places]


def without_name(engine: Engine, name: str, where: str | None) -> str:
    """Writes the condition of clips that meet one, if any, and do not have a name."""
    own = f"({GIVEN_NAME} IS NULL OR {GIVEN_NAME} <> {quoted(name)})"
    return own if where is None else f"{_alone(engine, where)} AND {own}"


def _alone(engine: Engine, where: str) -> str:
    """Gives a condition that others can be joined to.

    Raises:
      UserError: it cannot be read by itself.
    """
    as_sql(where, engine.info.record.names)
    return f"({where})"


def _there_are(engine: Engine) -> str:
    """Says which names there are."""
    names = list(count(engine))
    if not names:
        return "none has a name yet; give one with: search.py name"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"the names are {', '.join(map(printable, names[:8]))}{more}"
