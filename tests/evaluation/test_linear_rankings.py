"""Rankings and simulated users, against loops over queries and clips."""

import numpy as np
import pytest

from stvh_jax.codes.packing import pack, unpack
from stvh_jax.evaluation import feedback, linear_rankings
from stvh_jax.evaluation.linear_rankings import judge_ranking

RNG = np.random.default_rng(6)
BITS, BASE, QUERIES = 24, 90, 17
SIGNS = RNG.random((BASE, BITS)) < 0.5
WEIGHTS = RNG.standard_normal((QUERIES, BITS))
LABELS, OWN = RNG.integers(0, 3, BASE), RNG.integers(0, 4, QUERIES)  # nothing is of the last class


@pytest.mark.parametrize("at_once", [1 << 23, 200])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_ranking_is_judged(at_once, hidden, monkeypatch):
    monkeypatch.setattr(linear_rankings, "_CHUNK_PAIRS", at_once)
    left_out = RNG.random((QUERIES, BASE)) < 0.3
    found, precisions, hits, shares = set(), [], [], []
    for row in range(QUERIES):
        scores = [sum(w if b else -w for w, b in zip(WEIGHTS[row], clip)) for clip in SIGNS]
        places = [p for p in range(BASE) if not (hidden and left_out[row, p])]
        order = sorted(places, key=lambda p: -scores[p])
        relevant = sum(LABELS[p] == OWN[row] for p in places)
        right, total = 0, 0.0
        for rank, place in enumerate(order[:10], start=1):
            found.add(place)
            if LABELS[place] == OWN[row]:
                right += 1
                total += right / rank
        precisions.append(total / min(10, relevant) if relevant else 0)
        hits.append(LABELS[order[0]] == OWN[row])
        shares.append(right / 10)
    quality = judge_ranking(
        WEIGHTS,
        pack(SIGNS),
        lambda chunk: OWN[chunk, None] == LABELS[None],
        left_out=(lambda chunk: left_out[chunk]) if hidden else None,
    )
    assert quality.average_precision == pytest.approx(np.mean(precisions))
    assert quality.hit == pytest.approx(np.mean(hits))
    assert quality.precision == pytest.approx(np.mean(shares))
    assert quality.found == len(found) / BASE


def test_equals_stand_in_random_order():
    base, labels = pack(np.ones((1000, 8), bool)), np.arange(1000) < 500
    quality = judge_ranking(
        np.ones((50, 8)), base, lambda chunk: np.repeat(labels[None], len(range(50)[chunk]), 0)
    )
    assert 0.2 < quality.precision < 0.8


def test_users_see_only_what_is_fresh():
    relevant = RNG.random(BASE) < 0.4
    labelled = []

    def teach(liked, not_liked):
        labelled.append((list(liked), list(not_liked)))
        return WEIGHTS[0]

    taught = feedback.simulate(pack(SIGNS), relevant, teach, rounds=4)
    order = np.argsort(-(unpack(pack(SIGNS)) @ WEIGHTS[0]), kind="stable")
    for turn in range(4):
        shown = order[10 * turn : 10 * turn + 10]
        assert taught.precision[turn] == pytest.approx(relevant[shown].mean())
        assert taught.hit[turn] == relevant[shown[0]]
        before = order[: 10 * turn]
        assert sorted(labelled[turn][0]) == sorted(before[relevant[before]].tolist())
        assert sorted(labelled[turn][1]) == sorted(before[~relevant[before]].tolist())


def test_users_may_label_at_random():
    choose = feedback.label_at_random(np.random.default_rng(0))
    fresh = np.arange(BASE) % 3 > 0
    chosen = choose(np.arange(10), fresh)
    assert len(set(chosen.tolist())) == 10 and fresh[chosen].all()
