"""What an index holds of encoded clips beside their codes."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.clips import UNKNOWN
from stvh_jax.errors import UserError
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import indexing
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import index_split, record_of
from tests.helpers.fakes import FakeDataset


def test_a_clip_whose_frame_is_unknown_has_no_times(trained):
    encoder, dataset = load(trained()), FakeDataset()
    encoded = encode_split(encoder, dataset, "test")
    frame = np.array(encoded.frame)
    frame[1:] = 100
    frame[0] = UNKNOWN
    encoded = dataclasses.replace(encoded, frame=frame)
    record = record_of(encoder, dataset, encoded, split="test", frames_per_second=25.0)
    duration = encoder.config.model.num_frames / 25
    assert record["start"][:2] == [None, (100 - dataset.key_frame) / 25]
    assert record["stop"][:2] == [None, (100 - dataset.key_frame) / 25 + duration]
    record = record_of(encoder, dataset, encoded, split="test", frames_per_second=None)
    assert set(record["start"]) | set(record["stop"]) == {None}


def test_another_prepared_set_of_the_same_names_is_refused(trained, tmp_path):
    """Its clips were taken for those that were there, and left out without a word."""
    run, folder = trained(), tmp_path / "index"
    encoder, dataset = load(run), FakeDataset()
    index_split(run, encoder, dataset, folder, split="test")
    assert len(index_split(run, encoder, FakeDataset(), folder, split="test")) == 23
    version = Index.open(folder).version
    for field in ("boxes", "activity", "frame"):
        other = FakeDataset()
        clips = other.clips["test"]
        values = np.array(getattr(clips, field))
        values[3] = 1 - values[3]
        other.clips["test"] = dataclasses.replace(clips, **{field: values})
        with pytest.raises(UserError, match="an index of another prepared set, whose split 'test'"):
            index_split(run, encoder, other, folder, split="train+test")
    with pytest.raises(UserError, match="clips of split 'train' have the names of clips that are"):
        index_split(run, encoder, dataset, folder, split="train")
    assert Index.open(folder).version == version


def test_an_index_of_an_earlier_version_goes_on(trained, tmp_path, monkeypatch):
    """Its origin has no digests of the prepared set."""
    run, folder = trained(), tmp_path / "index"
    encoder, dataset = load(run), FakeDataset()

    def create(*arguments, origin, **options):
        origin = {name: value for name, value in origin.items() if name != indexing.DATA_DIGESTS}
        return original(*arguments, origin=origin, **options)

    original = Index.create
    with monkeypatch.context() as patched:
        patched.setattr(Index, "create", create)
        index_split(run, encoder, dataset, folder, split="test")
    assert len(index_split(run, encoder, dataset, folder, split="test")) == 23
