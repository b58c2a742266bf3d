"""Simulated users who teach a search: each round they label ten hits, and look at fresh ones.

The protocol is that of interactive retrieval of group activities (GAFL-FINE, arXiv 2602.03157):
what was labelled is not shown again, and each round is judged by the first ten that are.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from stvh_jax.codes.packing import unpack

K = 10

# Gives what each bit weighs after some clips were liked and others were not, by their places.
Teach = Callable[[list[int], list[int]], Float[np.ndarray, "K"]]
# Chooses the clips that a user labels of the ten that are shown.
Choose = Callable[[Int[np.ndarray, "k"], Bool[np.ndarray, "M"]], Int[np.ndarray, "k"]]


@dataclasses.dataclass(frozen=True)
class Taught:
    """What one query finds, round by round, among what was not labelled; shares in 0..1.

    Attributes:
      hit: whether the first fresh clip is relevant.
      precision: the share of the first ten fresh clips that is.
    """

    hit: Float[np.ndarray, "rounds"]
    precision: Float[np.ndarray, "rounds"]


def label_hits(shown: Int[np.ndarray, "k"], fresh: Bool[np.ndarray, "M"]) -> Int[np.ndarray, "k"]:
    """Labels what is shown."""
    del fresh
    return shown


def label_at_random(random: np.random.Generator) -> Choose:
    """Makes a user who labels ten clips drawn from all that are fresh."""

    def choose(shown, fresh):
        places = np.flatnonzero(fresh)
        return random.choice(places, min(len(shown), len(places)), replace=False)

    return choose


def simulate(
    base: UInt8[np.ndarray, "M bytes"],
    relevant: Bool[np.ndarray, "M"],
    teach: Teach,
    *,
    rounds: int,
    choose: Choose = label_hits,
) -> Taught:
    """Lets a user teach a search, who always says the truth.

    Args:
      base: packed codes.
      relevant: which of them the user looks for.
      teach: gives the weights of bits after each round; at first nothing is labelled.
      rounds: how many times hits are shown.
      choose: which clips are labelled.
    """
    signs = unpack(base).astype(np.float64)
    fresh, liked, not_liked = np.ones(len(base), bool), [], []
    hits, precisions = [], []
    for _ in range(rounds):
        scores = signs @ teach(liked, not_liked)
        places = np.flatnonzero(fresh)
        shown = places[np.argsort(-scores[places], kind="stable")[:K]]
        hits.append(float(relevant[shown[0]]))
        precisions.append(float(relevant[shown].mean()))
        labelled = choose(shown, fresh)
        fresh[labelled] = False
        liked += labelled[relevant[labelled]].tolist()
        not_liked += labelled[~relevant[labelled]].tolist()
    return Taught(np.array(hits), np.array(precisions))
