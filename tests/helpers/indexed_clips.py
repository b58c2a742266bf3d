"""Random clips to index, with codes, records and a filter matrix."""

import numpy as np
import pytest

from stvh_jax.codes.filter_matrix import FilterMatrix

LAYERS, BITS = 3, 24
FOCI = range(LAYERS + 1)
# Names whose order as texts is another than that of their numbers, and one that needs quotes.
MATCHES = ["2", "10", "9", "camera-3", "it's"]


def random_matrix(bits=BITS, layers=LAYERS, seed=0):
    factors = np.random.default_rng(seed).choice([-1, 1], (1, bits, bits))
    return FilterMatrix(factors.astype(np.int64), layers)


def random_codes(clips, *, distinct=None, bits=BITS, seed=0):
    """Draws codes of every focus; of few distinct ones, most distances are shared by many."""
    random = np.random.default_rng(seed)
    codes = {f: random.integers(0, 256, (distinct or clips, bits // 8), np.uint8) for f in FOCI}
    drawn = random.integers(0, distinct or clips, clips) if distinct else np.arange(clips)
    return {focus: values[drawn] for focus, values in codes.items()}


def random_record(clips, seed=0):
    random = np.random.default_rng(seed)
    number = random.permutation(10 * clips)[:clips]
    return {
        "match": [MATCHES[place] for place in random.integers(0, len(MATCHES), clips)],
        "clip": number,
        "start": number / 25,
        "stop": number / 25 + 0.4,
        "activity": [("spike", "set", None)[place] for place in random.integers(0, 3, clips)],
        "predicted": ["set"] * clips,
        "confidence": random.random(clips),
        "split": ["train"] * clips,
        "media": [f"videos/{place}.mp4" for place in range(clips)],
    }


def listed(hits):
    """Gives what is compared of hits: the distance and the name of each."""
    return [(pytest.approx(hit.distance), hit.match, hit.clip) for hit in hits]


def names(index):
    """Names every clip of an index of 16 bits."""
    (hits,) = index.search(np.zeros((1, 2), np.uint8), k=None, radius=16)
    return sorted(f"{hit.match}/{hit.clip}" for hit in hits)
