"""Rankings and feedback of a run, beyond the paper."""

import json

import numpy as np
import pytest

import stvh_jax
from experiments.linear_clips import LinearClips, ranked_variants
from experiments.paper import feedback, table_rankings
from experiments.settings import SETTINGS
from stvh_jax.codes.packing import hamming_distances
from tests.helpers.fakes import FakeDataset

RANKINGS = [
    "Hamming", "h",
    *(f"h + {factor} d" for factor in ("0.25", "0.5", "0.75", "1", "2", "4")),
    *(f"code + {factor} d of the code" for factor in ("0.25", "0.5", "0.75", "1", "2", "4")),
    "d",
]  # fmt: skip


def test_where_clips_show_something_one_code_is_ranked():
    for name, label in (("vd_boxes", "STVH"), ("vd_features", "one graded code")):
        assert [variant.label for variant in ranked_variants(SETTINGS[name])] == [label]


@pytest.mark.slow
def test_every_ranking_of_a_run_is_judged(graded):
    found = table_rankings.judge_run(stvh_jax.load(graded), FakeDataset())
    assert list(found["activity"]) == RANKINGS
    assert list(found["match"]) == ["Hamming", "h"]
    assert [*found["name"]] == list(FakeDataset.activity_names)
    for quality in found["activity"].values():
        assert 0 < quality.found <= 1 and 0 <= quality.average_precision <= 1


@pytest.mark.slow
def test_hamming_is_one_of_the_rankings(trained):
    """Weights of -1 and +1 give the order of Hamming distances."""
    clips = LinearClips.of(stvh_jax.load(trained(1)), FakeDataset())
    last = clips.activity.focus
    weights = clips.weights(table_rankings._rankings(clips)["Hamming"], clips.activity)
    own, base = clips.queries.codes[last], clips.base.codes[last]
    signs = 2.0 * np.unpackbits(base, axis=1) - 1
    bits = 8 * base.shape[1]
    similar = weights @ signs.T * bits**0.5
    np.testing.assert_allclose((bits - similar) / 2, hamming_distances(own, base), atol=1e-4)


@pytest.mark.slow
def test_users_teach_a_run(graded):
    found = feedback.judge_run(stvh_jax.load(graded), FakeDataset(), seed=0)
    assert list(found) == [
        "examples, by regression", "Rocchio, 0.75 and 0.15", "Rocchio, 4 and 4",
        "ten at random, by regression", "no label",
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    starts = {tuple(measures[name][0] for name in measures) for measures in found.values()}
    assert len(starts) == 1  # nothing is labelled before round 0
