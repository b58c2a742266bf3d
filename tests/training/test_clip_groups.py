"""Groups of clips that look alike, which stand for matches where these are not known."""

import numpy as np
import pytest

from stvh_jax.training import clip_groups
from stvh_jax.training.clip_groups import group_alike

SIZE = 12


def scenes(number, clips, seed=0, *, noise=0.05):
    """Clips around the places of their scenes, in no order."""
    rng = np.random.RandomState(seed)
    scene = rng.permutation(np.repeat(np.arange(number), clips))
    places = np.linalg.qr(rng.randn(SIZE, SIZE))[0][:number]
    return places[scene] + noise * rng.randn(len(scene), SIZE), scene


def purity(groups, scene):
    """The share of grouped clips that are of the commonest scene of their group."""
    kept = groups >= 0
    counts = [np.bincount(scene[groups == each]).max() for each in np.unique(groups[kept])]
    return sum(counts) / kept.sum()


@pytest.mark.parametrize("most", [10_000, 60])
def test_scenes_are_told_apart(monkeypatch, most):
    """Also where only some of the clips are joined, and the others join these."""
    monkeypatch.setattr(clip_groups, "_MOST", most)
    whitened, scene = scenes(5, 40)
    groups = group_alike(whitened, rng=np.random.RandomState(0))
    assert purity(groups, scene) == 1
    assert (groups >= 0).mean() > 0.8


def test_clips_that_look_like_few_others_are_left_out():
    whitened, scene = scenes(3, 60)
    rng = np.random.RandomState(1)
    alone = 5 * np.linalg.qr(rng.randn(SIZE, SIZE))[0][:4]
    groups = group_alike(np.concatenate([whitened, alone]), rng=rng)
    assert purity(groups[:180], scene) == 1
    counts = np.bincount(groups[groups >= 0])
    assert counts[counts > 0].min() >= 8


def test_groups_do_not_depend_on_the_length_of_what_clips_show():
    whitened, _ = scenes(4, 30)
    lengths = np.random.RandomState(2).rand(120, 1) + 0.5
    one, other = (
        group_alike(each, rng=np.random.RandomState(0)) for each in (whitened, lengths * whitened)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("clips", [2, 3, 9, 20])
def test_few_clips_are_all_in_a_group(clips):
    groups = group_alike(np.random.RandomState(3).randn(clips, 4), rng=np.random.RandomState(0))
    assert groups.shape == (clips,)
    assert groups.min() >= 0


def test_clips_that_show_nothing_are_no_error():
    groups = group_alike(np.zeros((40, 3)), rng=np.random.RandomState(0))
    assert groups.min() >= 0
