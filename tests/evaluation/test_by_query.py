"""What each query reached, against all orders of ties by enumeration and against the means."""

import itertools

import numpy as np
import pytest

from stvh_jax.evaluation.by_query import by_query
from stvh_jax.evaluation.metrics import rank_by_label, retrieval_metrics
from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.unknown import UNKNOWN


def clips_of(seed, size, *, first=0, activities=3):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(size, activities)).astype(np.float32)
    return EncodedClips(
        codes={1: random.integers(0, 4, (size, 2)).astype(np.uint8)},
        activity=random.integers(0, activities, size),
        activity_scores=scores,
        activity_scores_from_code=scores,
        action_scores=None,
        action=np.zeros((size, 1), int),
        frame=np.arange(first, first + size),
        match=np.array(["m"] * size),
        clip=np.arange(first, first + size).astype(str),
    )


def enumerated(query, base, row):
    """Averages AP@10, both ways, over every order of the base that sorts the distances."""
    bits = np.unpackbits(query.codes[1][row] ^ base.codes[1], axis=1).sum(axis=1)
    relevant = base.activity == query.activity[row]
    plain, over_hits = [], []
    for order in itertools.permutations(range(len(bits))):
        ordered = bits[list(order)]
        if (np.diff(ordered.astype(int)) < 0).any():
            continue
        hits, total = 0, 0.0
        for rank, place in enumerate(order[:10], start=1):
            if relevant[place]:
                hits += 1
                total += hits / rank
        plain.append(total / min(10, relevant.sum()))
        over_hits.append(total / max(hits, 1))
    return np.mean(plain), np.mean(over_hits)


def test_each_query_is_the_mean_over_all_orders_of_ties():
    queries, base = clips_of(0, 5, first=100), clips_of(1, 7)
    values = by_query(queries, base, focus=1)
    for row in range(5):
        if not (base.activity == queries.activity[row]).any():
            assert np.isnan(values["ap@10"][row])
            continue
        found = values["ap@10"][row], values["ap@10/over_hits"][row]
        np.testing.assert_allclose(found, enumerated(queries, base, row))
    right = [scores.argmax() for scores in queries.activity_scores] == queries.activity
    np.testing.assert_array_equal(values["correct"], right)


@pytest.mark.parametrize("size", [11, 601])
def test_their_means_are_those_of_the_evaluation(size):
    queries = base = clips_of(2, size)
    queries.activity[::5] = UNKNOWN
    values = by_query(queries, base, focus=1)
    ids = np.stack([np.zeros(size, int), np.arange(size), np.arange(size)], axis=1)
    ranked = rank_by_label(
        queries.codes[1],
        base.codes[1],
        queries.activity,
        base.activity,
        query_ids=ids,
        base_ids=ids,
    )
    judged = retrieval_metrics(ranked.groups)
    np.testing.assert_allclose(np.nanmean(values["ap@10"]), judged["map@10"])
    np.testing.assert_allclose(np.nanmean(values["ap@10/over_hits"]), judged["map@10/over_hits"])
    assert np.isnan(values["correct"][::5]).all()
