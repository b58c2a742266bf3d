"""How good rankings by linear queries are: what they find first, and how much they ever find.

A ranking by the class alone shows the same few clips to everybody, so the share of the base that is
among the ten of any query stands beside each measure of precision.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax.codes.packing import unpack

K = 10
# Pairs of query and base clip compared at a time, to bound the memory.
_CHUNK_PAIRS = 1 << 23

# Says of the queries in a slice which base clips are relevant, or left out.
Pairs = Callable[[slice], Bool[np.ndarray, "rows M"]]


@dataclasses.dataclass(frozen=True)
class RankingQuality:
    """What a ranking finds among its first ten; shares in 0..1, means over the queries.

    Attributes:
      average_precision: mAP@10 over min(10, R), R being the relevant clips of the base.
      hit: how often the first is relevant.
      precision: the share of the ten that is.
      found: the share of the base that is among the ten of any query.
    """

    average_precision: float
    hit: float
    precision: float
    found: float


def judge_ranking(
    weights: Float[np.ndarray, "Q K"],
    base: UInt8[np.ndarray, "M bytes"],
    relevant: Pairs,
    *,
    left_out: Pairs | None = None,
    seed: int = 0,
) -> RankingQuality:
    """Ranks the base for each query by sum_k w_k b_k, and judges the first ten.

    Clips that are equally near stand in an order drawn at random.

    Args:
      weights: what each bit weighs, for each query.
      base: packed codes.
      relevant: which clips are to be found.
      left_out: which clips are not searched; None for none.
      seed: of the order of equals.
    """
    random, signs = np.random.default_rng(seed), unpack(base).astype(np.float64)
    found, sums = np.zeros(len(base), bool), np.zeros(3)
    rows = max(1, _CHUNK_PAIRS // len(base))
    for start in range(0, len(weights), rows):
        chunk = slice(start, min(start + rows, len(weights)))
        scores = weights[chunk] @ signs.T
        of_query = relevant(chunk)
        if left_out is not None:
            hidden = left_out(chunk)
            scores[hidden], of_query = -np.inf, of_query & ~hidden
        order = random.permutation(len(base))
        first = order[_first(scores[:, order])]
        found[first.ravel()] = True
        hits = np.take_along_axis(of_query, first, axis=1)
        precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
        enough = np.clip(of_query.sum(axis=1), 1, K)
        sums += [
            (precision * hits).sum(axis=1) @ (1 / enough),
            hits[:, 0].sum(),
            hits.mean(1).sum(),
        ]
    return RankingQuality(*(sums / len(weights)).tolist(), found=float(found.mean()))


def _first(scores: Float[np.ndarray, "rows M"]) -> np.ndarray:
    """Gives the places of the ten highest of each row, in order, equals by their places."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]
