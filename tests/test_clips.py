import dataclasses

import jax
import numpy as np

from stvh_jax.clips import Clips
from stvh_jax.dataset import Dataset
from stvh_jax.training import sharding
from tests.helpers.fakes import FakeDataset


def test_a_batch_without_names_has_all_but_names():
    clips = FakeDataset().clips["test"]
    assert clips.match.dtype.kind == clips.clip.dtype.kind == "U"
    bare = clips.without_names()
    for field in dataclasses.fields(Clips):
        expected = None if field.name in ("match", "clip") else getattr(clips, field.name)
        assert getattr(bare, field.name) is expected


def test_a_batch_goes_to_devices_without_names():
    clips = FakeDataset(sizes=(8, 4, 4)).clips["train"]
    placed = sharding.put_batch(clips, sharding.make_mesh(4))
    assert placed.match is None and placed.clip is None
    np.testing.assert_array_equal(placed.frame, clips.frame)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(placed))


def test_the_data_set_of_the_tests_is_one():
    assert isinstance(FakeDataset(), Dataset)
