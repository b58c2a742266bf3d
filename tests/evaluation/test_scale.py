"""Retrieval along the scale from visual to activity, against loops."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.codes.packing import pack
from stvh_jax.evaluation import scale
from tests.helpers.encoded import encoded


def clips_and_codes(count, seed):
    """Clips of 3 matches and 2 activities, and codes whose halves say one each, with errors."""
    rng = np.random.RandomState(seed)
    activity, match = rng.randint(0, 2, count), rng.randint(0, 3, count)
    words = {"activity": rng.rand(2, 16) < 0.5, "match": np.random.RandomState(9).rand(3, 16) < 0.5}
    signs = np.concatenate([np.tile(activity[:, None], 16) > 0, words["match"][match]], axis=1)
    signs ^= rng.rand(count, 32) < 0.1
    clips = encoded(np.zeros(count, int), activity, match)
    return clips, pack(signs)


def average_precision(order, relevant):
    hits = relevant[order][:10]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return (precision * hits).sum() / min(10, relevant.sum())


@pytest.fixture(scope="module")
def found():
    (queries, one), (base, other) = clips_and_codes(12, 0), clips_and_codes(40, 1)
    renamed = {"clip": np.char.add("b", base.clip), "frame": base.frame + 7}
    base = dataclasses.replace(base, **renamed)
    codes = (one, other, other)
    places = scale.spread_along_scale(codes, bits=32, visual_bits=16)
    return (queries, base), codes, scale.judge_places(places, queries, base, base)


def test_the_ends_find_what_their_bits_say(found):
    _, _, places = found
    assert list(places) == [step / 12 for step in range(13)]
    assert places[0.0].match > 0.8 > 0.6 > places[0.0].activity
    assert places[1.0].activity > 0.8 > 0.6 > places[1.0].match
    assert max(places.values(), key=lambda place: place.both) not in (places[0.0], places[1.0])


@pytest.mark.parametrize("step", [0, 4, 12])
def test_a_place_is_what_loops_find(found, step):
    (queries, base), codes, places = found
    signs = [np.unpackbits(part, axis=1) for part in codes[:2]]
    actual = places[step / 12]
    rng, activity, match, both = np.random.RandomState(0), [], [], []
    for q in range(len(queries)):
        differs = signs[0][q] != signs[1]
        distance = step * differs[:, :16].sum(axis=1) + (12 - step) * differs[:, 16:].sum(axis=1)
        same_activity = base.activity == queries.activity[q]
        same_match = base.match == queries.match[q]
        near = same_match & (np.abs(base.frame - queries.frame[q]) < 41)
        for _ in range(300):  # equals in any order
            order = np.lexsort((rng.rand(len(base)), distance))
            activity.append(average_precision(order, same_activity))
            left = order[~near[order]]
            match.append(average_precision(left, same_match & ~near))
            both.append((same_activity & same_match)[left][:10].mean())
    assert actual.activity == pytest.approx(np.mean(activity), abs=0.01)
    assert actual.match == pytest.approx(np.mean(match), abs=0.01)
    assert actual.both == pytest.approx(np.mean(both), abs=0.01)


def test_two_codes_of_a_clip_are_blended_as_one():
    (_, one), (_, other) = clips_and_codes(3, 2), clips_and_codes(3, 3)
    joined = scale.join_codes((one,) * 3, (other,) * 3)
    np.testing.assert_array_equal(joined[0], np.concatenate([one, other], axis=1))
