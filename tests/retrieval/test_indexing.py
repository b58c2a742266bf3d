"""What an index holds of encoded clips beside their codes."""

import dataclasses

import numpy as np

from stvh_jax.clips import UNKNOWN
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.indexing import record_of
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
