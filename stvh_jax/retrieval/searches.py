"""The two ways in which an index is searched: by codes, and by a weight of each bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from stvh_jax.codes.bit_weights import HUNDREDTHS
from stvh_jax.codes.linear_query import LinearQuery, weighted_code
from stvh_jax.codes.query_kinds import from_codes
from stvh_jax.codes.weighted_bits import WeightedCode
from stvh_jax.errors import UserError
from stvh_jax.retrieval.clip_table import Codes, stored_codes
from stvh_jax.retrieval.code_spaces import spaces_of
from stvh_jax.retrieval.comparison import WithCodes, WithLinearQuery
from stvh_jax.retrieval.engine import Engine, LinearRequest, SearchRequest
from stvh_jax.retrieval.hits import Hits
from stvh_jax.retrieval.index_info import IndexInfo


def by_codes(
    engine: Engine,
    codes: Codes | None,
    weights: Mapping[int, int],
    limits: Mapping[str, Any],
    *,
    together: bool,
) -> list[Hits]:
    """Finds the clips nearest to each of some codes, or to all of them together.

    Args:
      engine: where they are.
      codes: packed codes of Q queries, by focus or of the last focus.
      weights: what each focus weighs, in hundredths.
      limits: the other fields of `engine.Limits`.
      together: the queries are one: the mean of their distances counts.

    Raises:
      UserError: the codes or the condition make no sense.
    """
    info = engine.info
    if codes is None:
        raise UserError("there is nothing to search for; give codes, or query=")
    parts, weights_per_bit = info.part_weights(weights)
    stored = stored_codes(info, codes, what="the query")
    if not len(stored[info.last_focus]):
        raise UserError("there is no code to search for; give the codes of at least one clip")
    request = SearchRequest(
        stored=stored,
        foci=weights,
        queries={part: info.codes_of_part(part, stored) for part in parts},
        weights=parts,
        weights_per_bit=weights_per_bit,
        together=together,
        each=None if together else lambda: _query_by_query(info, stored, weights, limits),
        **limits,
    )
    snapshot, answers = engine.snapshot(), []
    for neighbours, group in zip(snapshot.search(request), request.groups):
        own = {focus: values[group.start : group.stop] for focus, values in stored.items()}
        comparison = WithCodes(info, own, _compared(weights))
        answers.append(Hits(snapshot, info, neighbours, comparison, unit=request.unit))
    return answers


def _query_by_query(
    info: IndexInfo,
    stored: Mapping[int, UInt8[np.ndarray, "Q bytes"]],
    weights: Mapping[int, int],
    limits: Mapping[str, Any],
) -> list[LinearRequest]:
    """Gives codes as linear requests, whose distances have the unit of the others."""
    spaces, requests = spaces_of(info, weights), []
    for place in range(len(stored[info.last_focus])):
        code = from_codes({focus: values[place] for focus, values in stored.items()})
        query = weighted_code(code, list(spaces.values()), where="this focus")
        reduced = query.weights // np.gcd.reduce([query.total // info.bits, *query.weights])
        query = WeightedCode(query.code, reduced)
        request = LinearRequest(
            parts=tuple(spaces), query=query, bits=info.bits, foci=weights, **limits
        )
        requests.append(request)
    return requests


def by_linear_query(
    engine: Engine, query: LinearQuery, weights: Mapping[int, int], limits: Mapping[str, Any]
) -> Hits:
    """Finds the clips nearest to a linear query.

    Args:
      engine: where they are.
      query: what is asked for.
      weights: what each focus weighs, in hundredths.
      limits: the other fields of `engine.Limits`.

    Raises:
      UserError: the query says nothing at the focus, or is of other codes.
    """
    if not isinstance(query, LinearQuery):
        raise UserError(f"query of type {type(query).__name__}; see stvh_jax.queries")
    info = engine.info
    spaces = spaces_of(info, weights)
    where = f"focus {sum(focus * share for focus, share in weights.items()) / HUNDREDTHS:g}"
    request = LinearRequest(
        parts=tuple(spaces),
        query=weighted_code(query, list(spaces.values()), where=where),
        bits=info.bits,
        foci=weights,
        **limits,
    )
    snapshot = engine.snapshot()
    comparison = WithLinearQuery(info, query, _compared(weights))
    return Hits(snapshot, info, snapshot.search_linear(request), comparison, unit=request.unit)


def _compared(weights: Mapping[int, int]) -> int:
    """Gives the focus at which bits are compared: of a blend, the one that weighs more."""
    return max(weights, key=weights.__getitem__)
