"""What is asked of an index: clips, an activity, examples, or a saved query, and their ranking.

A ranking says what of the clips is compared with the stored bits: their own bits (`hamming`), what
the network made of them before it took the signs (`asymmetric`), or that and the activity that they
seem to be of (`class`), which a model that learned without labels does not know.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from stvh_jax.codes.linear_query import LinearQuery
from stvh_jax.codes.query_kinds import (
    by_name,
    from_clip,
    from_codes,
    toward_class,
    toward_class_of,
)
from stvh_jax.errors import UserError, shown
from stvh_jax.names import printable
from stvh_jax.retrieval import naming
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.hits import Hits
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import Number
from stvh_jax.retrieval.origin import LABEL_FREE
from stvh_jax.retrieval.queries import Query, parse_clip
from stvh_jax.retrieval.saved_query import LONGEST_TITLE, SavedQuery, adaptation_of, taught
from stvh_jax.retrieval.surroundings import around

RANKINGS = ("class", "asymmetric", "hamming")
# How much the class counts beside a clip, of length one. More finds more clips of the class, but
# the same few again and again: the largest factor at which, on validation clips, two thirds of the
# clips that Hamming distance finds are ever found (docs/asking.md).
CLASS = 0.75


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What is asked for.

    Attributes:
      clips: those asked for by themselves; None for none.
      ranking: which of `RANKINGS` compares them; None without clips.
      query: everything together, as a weight for each bit; None for the clips' codes alone.
      title: what it is called.
      liked: the examples, (match, clip).
      not_liked: the counter-examples.
      named: the name of clips that are asked for the like of; None for none.
    """

    clips: Query | None
    ranking: str | None
    query: LinearQuery | None
    title: str
    liked: Sequence[Name] = ()
    not_liked: Sequence[Name] = ()
    named: str | None = None

    @property
    def way(self) -> str:
        """Says how hits are ranked."""
        if self.query is None:
            return "hamming"
        return self.query.name if self.ranking is None else f"{self.ranking}: {self.query.name}"

    def saved(self, index: Index, focus: str | Number) -> SavedQuery:
        """Gives what is asked for as it is saved."""
        query = self.query
        if query is None:
            assert self.clips is not None
            query = _linear(index, self.clips, "hamming")
        return SavedQuery(
            query,
            title=self.title,
            bits=index.info.bits,
            checkpoint=index.info.origin.get("checkpoint"),
            adaptation=adaptation_of(index),
            focus=focus if isinstance(focus, str) else float(focus),
            liked=["/".join(name) for name in self.liked],
            not_liked=["/".join(name) for name in self.not_liked],
        )


def default_ranking(index: Index, clips: Query) -> str:
    """Chooses the ranking that was best on validation, of those that can be done.

    Of a model that names no activities it is `asymmetric` where the clips were encoded.
    """
    if index.info.readout is not None:
        return "class"
    return "asymmetric" if _is_label_free(index) and clips.relaxed is not None else "hamming"


def _is_label_free(index: Index) -> bool:
    """Says whether the model of an index learned without labels, and so names no activities."""
    return bool(index.info.origin.get(LABEL_FREE))


def ask(
    index: Index,
    clips: Query | None = None,
    *,
    ranking: str | None = None,
    activity: str | None = None,
    liked: Sequence[Name] = (),
    not_liked: Sequence[Name] = (),
    named: str | None = None,
    saved: SavedQuery | None = None,
) -> Asked:
    """Puts together what is asked for.

    Args:
      index: what is searched.
      clips: clips to find the like of.
      ranking: one of `RANKINGS`; the default one if None.
      activity: the name of an activity to find, too.
      liked: clips of the index that are examples, (match, clip).
      not_liked: those that are counter-examples.
      named: a name that clips were given, which are examples, too: all of them, or 64, evenly over
        the archive, that stand for them.
      saved: a query that was saved, to go on from.

    Raises:
      UserError: nothing is asked for, an example contradicts another, the index knows no such
        activity, or the saved query is of other codes.
      NotFound: an example is not in the index, or no clip has the name.
    """
    liked, not_liked = (tuple(dict.fromkeys(names)) for names in (liked, not_liked))
    if clips is None:
        ranking = None
    else:
        ranking = ranking or default_ranking(index, clips)
        _check_ranking(index, clips, ranking)
    parts, titles = [], []
    if saved is not None:
        saved.check_of(index)
        parts.append(saved.query)
        titles.append(saved.title)
    if clips is not None and ranking is not None:
        titles.append(clips.name)
        if ranking != "hamming" or parts or activity or liked or not_liked:
            parts.append(_linear(index, clips, ranking))
    if activity is not None:
        parts.append(_by_name(index, activity))
        titles.append(activity)
    query = functools.reduce(operator.add, parts) if parts else None
    if named is not None:
        titles.append(f"clips named {named}")
    if liked or not_liked:
        titles.append(f"{len(liked)} liked, {len(not_liked)} not")
    if named is not None:
        liked = tuple(dict.fromkeys([*liked, *naming.examples_of(index.engine, named)]))
    if liked or not_liked:
        before = (saved.liked, saved.not_liked) if saved else ((), ())
        _check_examples(liked, not_liked, *before)
        query = taught(query, *(_codes(index, names) for names in (liked, not_liked)))
    if not titles:
        raise UserError("nothing is asked for; give a clip, an activity, examples or a saved query")
    return Asked(
        clips,
        ranking,
        query,
        title=", ".join(titles)[:LONGEST_TITLE],
        liked=(*_names(saved and saved.liked), *liked),
        not_liked=(*_names(saved and saved.not_liked), *not_liked),
        named=named,
    )


def search(
    index: Index,
    asked: Asked,
    *,
    exclude_near: float | None = None,
    exclude_match: bool = False,
    **options: Any,
) -> Hits:
    """Finds the clips that are asked for.

    Args:
      index: where to search.
      asked: what for; its clips, examples and all clips of its name are left out of the hits.
      exclude_near: also leave out what is less than these seconds from one of its clips.
      exclude_match: also leave out their matches.
      **options: focus, k, radius, where, as `Index.search` has them.

    Raises:
      UserError: as `Index.search`, or a clip's match or time is not known.
    """
    without = []
    for record in [] if asked.clips is None else asked.clips.records:
        if record["match"] is not None:
            place = (record[field] for field in ("match", "clip", "start", "stop"))
            without += around(*place, exclude_near=exclude_near, exclude_match=exclude_match)
        elif exclude_near is not None or exclude_match:
            raise UserError(
                "a clip from files has no match and no time in the index, so nothing around it can "
                "be left out"
            )
    for match, clip in (*asked.liked, *asked.not_liked):
        without += around(match, clip, None, None)
    if asked.named is not None:
        where = options.get("where")
        options["where"] = naming.without_name(index.engine, asked.named, where)
    if asked.query is not None:
        (hits,) = index.search(query=asked.query, without=without, **options)
    else:
        assert asked.clips is not None
        (hits,) = index.search(asked.clips.codes, together=True, without=without, **options)
    return hits


def _by_name(index: Index, activity: str) -> LinearQuery:
    """Asks for an activity by its name.

    Raises:
      UserError: the index knows no activities, or no such one.
    """
    if _is_label_free(index):
        raise UserError(
            f"activity {shown(activity)}: the model of this index learned without labels and knows "
            "no activities; ask by a clip, or by examples (--like MATCH/CLIP)"
        )
    if index.info.readout is None:
        raise UserError("this index does not know activities by name; index the clips again")
    index.info.readout.one_hot(activity)
    return by_name(activity)


def _linear(index: Index, clips: Query, ranking: str) -> LinearQuery:
    """Gives clips as a linear query: the sum of all of them, each of length one."""
    summands = []
    for place in range(len(clips.records)):
        codes = {focus: values[place] for focus, values in clips.codes.items()}
        relaxed = {focus: values[place] for focus, values in (clips.relaxed or {}).items()}
        with_h = bool(relaxed) and ranking != "hamming"
        summands.append(from_clip(relaxed) if with_h else from_codes(codes))
        if ranking == "class" and with_h:
            assert index.info.readout is not None  # or there is no such ranking
            probabilities = index.info.readout.probabilities(relaxed[index.info.last_focus])
            summands.append(CLASS * toward_class(probabilities))
        elif ranking == "class":
            summands.append(CLASS * toward_class_of(codes))
    return functools.reduce(operator.add, summands)


def _check_ranking(index: Index, clips: Query, ranking: str) -> None:
    """Checks that clips can be ranked in a way.

    Raises:
      UserError: they cannot.
    """
    if ranking not in RANKINGS:
        raise UserError(f"ranking {shown(ranking)}; choose {', '.join(RANKINGS)}")
    if ranking == "class" and _is_label_free(index):
        raise UserError(
            "the model of this index learned without labels and knows no activities; rank by "
            "hamming or asymmetric"
        )
    if ranking == "class" and index.info.readout is None:
        raise UserError(
            "this index does not know how activities are read from its codes; rank by hamming or "
            "asymmetric, or index the clips again"
        )
    if ranking == "asymmetric" and clips.relaxed is None:
        raise UserError(
            "to rank asymmetrically a clip has to be encoded, not looked up; give its model"
        )


def _check_examples(
    liked: Sequence[Name],
    not_liked: Sequence[Name],
    before: Sequence[str],
    not_before: Sequence[str],
) -> None:
    """Checks that no clip is an example and a counter-example.

    Raises:
      UserError: one is.
    """
    both = {*map("/".join, liked), *before} & {*map("/".join, not_liked), *not_before}
    if both:
        raise UserError(f"clip {printable(min(both))} is liked and not liked; give it once")


def _codes(index: Index, names: Sequence[Name]) -> dict[int, np.ndarray]:
    """Looks up the codes of clips."""
    codes, _ = index.get(names)
    return codes


def _names(texts: Sequence[str] | None) -> list[Name]:
    """Reads the names of clips that were saved."""
    return [parse_clip(text) for text in texts or ()]
