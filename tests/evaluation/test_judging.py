"""Encoded clips are judged as counts by hand say, whatever the clips are called."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.evaluation.judging import classification, curves, map_by_activity, measures, rank
from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.unknown import UNKNOWN
from tests.helpers.encoded import encoded


def retrieval(*parts, **options):
    return measures(rank(*parts, **options))


def test_classes_are_counted():
    clips = encoded(
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        activity_scores=np.array([[2, 1], [2, 1], [1, 2], [2, 1]], np.float32),
        activity_scores_from_code=np.array([[2, 1], [2, 1], [2, 1], [1, 2]], np.float32),
        action_scores=np.eye(3, dtype=np.float32)[[[0, 1], [0, 1], [2, 2], [0, 0]]],
        action=np.array([[0, 1], [0, UNKNOWN], [2, 1], [UNKNOWN, UNKNOWN]]),
    )
    judged = classification(clips, num_activities=2, num_actions=3)
    assert judged == {
        "activity_accuracy": 0.5,
        "activity_mpca": pytest.approx((2 / 3 + 0) / 2),
        "activity_accuracy_from_code": 1.0,
        "action_accuracy": 0.8,
        "action_mpca": pytest.approx((1 + 1 / 2 + 1) / 3),
        "confusion_matrix": [[2, 1], [1, 0]],
    }


def test_retrieval_by_activity_and_by_match():
    # By activity, both queries find their one relevant clip second; by match, clip 0 has the two
    # others of its match behind clip 3, and so on.
    base = encoded([0b0, 0b1, 0b11, 0b111], [0, 1, 0, 1], [0, 0, 0, 1])
    queries = EncodedClips(
        codes={1: base.codes[1][:2]},
        **{
            name: getattr(base, name)[:2]
            for name in ("activity_scores", "activity_scores_from_code", "action_scores")
            + ("activity", "action", "match", "clip", "frame")
        },
    )
    judged = retrieval(queries, base, base)["1"]
    # Query 0: distances 1, 2, 3, relevant is the second. Query 1: distances 1, 1, 2 and the last.
    assert judged["activity_map@10"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    # Clips 0 and 1 have the others of their match first and second. Clip 2 has clips 1 and 3 at
    # distance 1, then clip 0: hits at ranks 1 and 3 or 2 and 3. Clip 3 has no other of its match.
    tied = ((1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    assert judged["match_map@10"] == pytest.approx((1 + 1 + tied) / 3)
    assert judged["distinct_codes"] == 4
    apart = retrieval(queries, base, base, exclude_within_frames=101)["1"]
    # Without their neighbours clip 0 has clip 2 before clip 3, and clip 2 has clip 0 after it;
    # clip 1 has none left.
    assert apart["match_map@10"] == pytest.approx((1 + 1 / 2) / 2)
    assert apart["activity_map@10"] == judged["activity_map@10"]


def test_names_say_no_more_than_which_clips_are_the_same():
    random = np.random.default_rng(0)
    codes, activity = random.integers(0, 256, 31), random.integers(0, 3, 31)
    action = random.integers(0, 3, (31, 2))
    numbered = encoded(codes, activity, random.integers(0, 4, 31), action=action)
    named = dataclasses.replace(
        numbered,
        match=np.array(["cup", "7", "final 2", "a/b"])[numbered.match.astype(int)],
        # The first clip of every match is called "0"; all others by their place.
        clip=np.array(
            [
                "0" if match not in numbered.match[:place] else f"c{place}"
                for place, match in enumerate(numbered.match)
            ]
        ),
    )
    for within in (None, 350):
        expected = retrieval(*3 * (numbered,), exclude_within_frames=within)
        assert retrieval(*3 * (named,), exclude_within_frames=within) == expected


def test_clips_of_one_key_frame_find_each_other_unless_neighbours_are_left_out():
    # Two clips of one frame and one of another frame, all of one match and one code.
    clips = encoded([0, 0, 0], [0, 0, 0], frame=np.array([5, 5, 90]))
    assert retrieval(clips, clips, clips)["1"]["match_precision@5"] == pytest.approx(2 / 5)
    apart = retrieval(clips, clips, clips, exclude_within_frames=10)["1"]
    assert apart["match_precision@5"] == pytest.approx((1 + 1 + 2) / 3 / 5)
    assert apart["activity_precision@5"] == pytest.approx(2 / 5)


def test_actions_curves_and_classes_by_hand():
    # The query of activity 0 finds its one relevant clip second, that of activity 1 third.
    base = encoded([0b0, 0b1, 0b11, 0b111], [0, 1, 0, 1], action=np.array([[0, 1]] * 3 + [[1, 2]]))
    queries = encoded([0b0, 0b1], [0, 1], action=np.array([[0, 1], [0, 1]]))
    rankings = rank(queries, base, base)
    ranked = curves(rankings)["1"]["activity"]
    assert ranked["n"] == [1, 2, 3]
    # Query 0 has ranks 2; query 1 has two clips at distance 1, then its relevant one.
    assert ranked["precision"] == pytest.approx([0, 1 / 4, 1 / 3])
    assert ranked["recall"] == pytest.approx([0, 1 / 2, 1])
    assert map_by_activity(rankings, 3)["1"][:2] == pytest.approx([1 / 2, 1 / 3])
    judged = measures(rankings)["1"]
    # Clips 0 to 2 do the same; clip 3 shares one of three actors with them, and is the last.
    assert judged["actions_iou@1"] == 1
    assert judged["actions_precision@2"] == 1
    assert judged["actions_precision@3"] == pytest.approx(2 / 3)
    assert judged["activity_hit@2"] == pytest.approx(1 / 2)
