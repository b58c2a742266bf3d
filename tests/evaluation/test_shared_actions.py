"""Retrieval judged by actions, against loops over pairs of clips and over orders of ties."""

import collections

import numpy as np
import pytest

from stvh_jax.codes import packing
from stvh_jax.evaluation import shared_actions
from stvh_jax.unknown import UNKNOWN


def multiset_iou(one, other):
    """Compare two lists of actions as multisets, without those that are unknown."""
    one, other = (
        collections.Counter(action for action in actions if action != UNKNOWN)
        for actions in (one.tolist(), other.tolist())
    )
    either = (one | other).total()
    return (one & other).total() / either if either else 0.0


def test_iou_by_hand():
    # Two standing and one moving, of which the other clip has one each, and a blocking.
    queries = shared_actions.count_actions(np.array([[0, 0, 1]]), 3)
    base = shared_actions.count_actions(np.array([[0, 1, 2], [0, 0, 1], [2, 2, UNKNOWN]]), 3)
    np.testing.assert_allclose(shared_actions.action_iou(queries, base), [[2 / 4, 1, 0]])


def test_iou_against_multisets():
    rng = np.random.default_rng(0)
    actions = rng.integers(-1, 5, (23, 7))
    actions[3] = UNKNOWN
    counts = shared_actions.count_actions(actions, 5)
    expected = [[multiset_iou(one, other) for other in actions] for one in actions[:11]]
    measured = shared_actions.action_iou(counts[:11], counts)
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


def test_metrics_against_random_orders_of_ties():
    rng = np.random.default_rng(1)
    clips, orders = 41, 600
    actions = rng.integers(-1, 3, (clips, 5))
    actions[[2, 30]] = UNKNOWN  # A query and a base clip without a known action.
    codes = packing.pack(rng.choice([-1, 1], (clips, 8)))
    codes &= 0b11100000  # Four distances, so that there are ties everywhere.
    ids = np.stack([np.zeros(clips, int), np.arange(clips), np.arange(clips)], axis=1)
    counts = shared_actions.count_actions(actions, 3)
    ranked = shared_actions.rank_by_actions(
        codes[:13], codes, counts[:13], counts, ids=(ids[:13], ids)
    )
    measured = shared_actions.action_metrics(ranked)
    expected = collections.defaultdict(list)
    for query in range(13):
        if not counts[query].any():
            continue
        kept = [clip for clip in range(clips) if clip != query and counts[clip].any()]
        iou = np.array([multiset_iou(actions[query], actions[clip]) for clip in kept])
        distances = np.bitwise_count(codes[query, 0] ^ codes[kept, 0])
        drawn = [iou[np.lexsort((rng.random(len(kept)), distances))] for _ in range(orders)]
        for k in (1, 5, 10):
            expected[f"iou@{k}"].append(np.mean([order[:k].mean() for order in drawn]))
        assert (iou > 0.5).any()
        for k in (1, 2, 3, 5, 10):
            expected[f"hit@{k}"].append(np.mean([(order[:k] > 0.5).any() for order in drawn]))
            expected[f"precision@{k}"].append(np.mean([(order[:k] > 0.5) for order in drawn]))
        precisions = []
        for order in drawn:
            ranks = np.flatnonzero(order > 0.5) + 1
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        expected["map"].append(np.mean(precisions))
    assert set(measured) == set(expected)
    assert len(expected["map"]) == 12
    for name, values in expected.items():
        # A mean over 12 queries of 600 orders each has a standard error below 0.006.
        assert measured[name] == pytest.approx(np.mean(values), abs=0.025), name


def test_an_iou_of_one_half_is_not_enough():
    counts = shared_actions.count_actions(np.array([[0, 0, 1], [0, 1, 2]]), 3)
    codes, ids = np.zeros((2, 1), np.uint8), np.arange(6).reshape(2, 3)
    ranked = shared_actions.rank_by_actions(codes, codes, counts, counts, ids=(ids, ids))
    assert ranked.similar.relevant.sum() == 0
    measured = shared_actions.action_metrics(ranked)
    assert measured["iou@1"] == pytest.approx(0.5)
    assert np.isnan(measured["hit@1"])


def test_no_clip_with_a_known_action_is_nan():
    counts = np.zeros((2, 3), int)
    codes, ids = np.zeros((2, 1), np.uint8), np.arange(6).reshape(2, 3)
    ranked = shared_actions.rank_by_actions(codes, codes, counts, counts, ids=(ids, ids))
    assert all(np.isnan(value) for value in shared_actions.action_metrics(ranked).values())
