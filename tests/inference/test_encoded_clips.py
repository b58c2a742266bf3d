"""Which clips encoded clips say they are."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from stvh_jax.clips import Clips
from stvh_jax.inference.encoded_clips import _names, encode_clips
from stvh_jax.inference.encoder import load
from tests.helpers.fakes import random_clips, take


@dataclasses.dataclass(frozen=True)
class ClipsWithFrames(Clips):
    frame: Any = None


def test_numbers_become_names_and_the_clip_is_the_frame(trained):
    batches = [take(random_clips(3, clips=9), [0, 4, -1]), take(random_clips(3, clips=9), [8])]
    encoded = encode_clips(load(trained()), batches)
    assert encoded.match.tolist() == ["0", "1", "2"]
    assert encoded.clip.tolist() == ["0", "400", "800"]
    assert encoded.frame.tolist() == [0, 400, 800]
    assert len(encoded) == 3


@pytest.mark.parametrize("kind", [str, object])
def test_names_stay_as_they_are_beside_frames(kind):
    clips = ClipsWithFrames(
        boxes=None,
        actor_mask=None,
        match=np.array(["seq10", "seq2", ""], kind),
        clip=np.array(["a", "007", ""], kind),
        frame=np.array([17, 4, 0]),
    )
    names = _names(clips, np.array([True, True, False]))
    assert names["match"].tolist() == ["seq10", "seq2"]
    assert names["clip"].tolist() == ["a", "007"]
    assert names["frame"].tolist() == [17, 4]
    assert names["match"].dtype.kind == names["clip"].dtype.kind == "U"
