"""Clips encoded with the names that their data set gives them."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.inference.encoded_clips import encode_clips
from stvh_jax.inference.encoder import load
from tests.helpers.fakes import named, random_clips, take


def test_names_and_frames_are_those_of_the_clips(trained):
    clips = named(random_clips(3, clips=9))
    encoded = encode_clips(load(trained()), [take(clips, [0, 4, -1]), take(clips, [8])])
    assert encoded.match.tolist() == ["0", "1", "2"]
    assert encoded.clip.tolist() == ["0", "400", "800"]
    assert encoded.frame.tolist() == [0, 400, 800]
    assert len(encoded) == 3


@pytest.mark.parametrize("kind", [str, object])
def test_names_may_be_any_text(trained, kind):
    clips = dataclasses.replace(
        random_clips(3, clips=3),
        match=np.array(["seq10", "seq2", ""], kind),
        clip=np.array(["a", "007", ""], kind),
        frame=np.array([17, 4, -1], np.int32),
        clip_mask=np.array([True, True, False]),
    )
    encoded = encode_clips(load(trained()), [clips])
    assert encoded.match.tolist() == ["seq10", "seq2"]
    assert encoded.clip.tolist() == ["a", "007"]
    assert encoded.frame.tolist() == [17, 4]
    assert encoded.match.dtype.kind == encoded.clip.dtype.kind == "U"
