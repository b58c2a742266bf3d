"""Codes with bit weights, and the search of them by its definition."""

import math

import numpy as np

from stvh_jax.codes.bit_weights import BitWeights, laid_out
from stvh_jax.names import natural_key
from tests.helpers.indexed_clips import listed

LAYERS = 3
FOCI = range(LAYERS + 1)


def scattered(bits=24, seed=5):
    """Draws weights of several groups, whose bits do not stand side by side."""
    rows = np.tile(np.random.RandomState(seed).randint(0, 4, (LAYERS + 1, bits // 8)), 8)
    rows[:, 0] += rows.sum(axis=1).max() - rows.sum(axis=1)
    return BitWeights(rows * bits)


WEIGHTS = {
    "whole bytes": laid_out(bits=32, visual_bits=8, layers=LAYERS),
    "within bytes": laid_out(bits=24, visual_bits=11, layers=LAYERS),
    "many groups": scattered(),
}


class Oracle:
    """The clips, searched by their definition: what the bits weigh that differ, clip by clip."""

    def __init__(self, weights, signs, record):
        self.rows, self.bits = weights.weights.tolist(), weights.bits
        self.unit = sum(self.rows[0]) / self.bits
        self.signs = dict(zip(self.names_of(record), signs.tolist()))
        self.record = dict(zip(self.names_of(record), range(len(signs))))

    @staticmethod
    def names_of(record):
        return [(match, str(clip)) for match, clip in zip(record["match"], record["clip"])]

    def distance(self, first, second, focus):
        lower = math.floor(focus)
        upper, share = min(lower + 1, LAYERS), focus - lower
        total = 0.0
        for bit in range(self.bits):
            if first[bit] != second[bit]:
                total += (1 - share) * self.rows[lower][bit] + share * self.rows[upper][bit]
        return round(total / self.unit, 9)

    def search(self, queries, focus, keep=lambda name: True):
        """Gives (distance, match, clip) of all that are kept, in order."""
        found = []
        for name in self.signs:
            if keep(name):
                each = [self.distance(query, self.signs[name], focus) for query in queries]
                found.append((round(sum(each) / len(each), 8), *name))
        found.sort(key=lambda hit: (hit[0], natural_key(hit[1]), natural_key(hit[2])))
        return found


def check(hits, expected, k=None):
    assert listed(hits) == expected[:k]
    ties = sum(abs(row[0] - expected[:k][-1][0]) < 1e-6 for row in expected) if expected else 0
    assert hits.ties_at_k == ties
