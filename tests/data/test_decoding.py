"""Clips of a raw folder as arrays: what was drawn comes back."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from data.decoding import decode_clips
from data.synthetic import volleyball, volleyball_files, volleyball_rendering
from data.synthetic.folders import JPEG_QUALITY
from data.synthetic.scene import generator
from data.volleyball.raw import open_raw
from stvh_jax.errors import UserError

SIZE, CLIPS, MATCHES = (72, 120), 2, 3


@pytest.fixture
def raw(tmp_path):
    volleyball_files.synthesize_volleyball(
        tmp_path, matches=MATCHES, clips_per_match=CLIPS, seed=5, image_size=SIZE, progress=len
    )
    return open_raw(tmp_path)


def through_jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file))


def test_what_was_rendered_comes_back(raw):
    for number in range(MATCHES):
        match = volleyball.sample_match(5, number, clips=CLIPS)
        scene = volleyball_rendering.build_scene(match.look, SIZE)
        decoded = list(decode_clips(raw, str(number)))
        assert [(one.match, one.clip, one.frame) for one in decoded] == [
            (str(number), str(key), key) for key in match.keys
        ]
        assert tuple(one.activity for one in decoded) == match.activities
        for place, one in enumerate(decoded):
            rng = generator(5, number, place)
            motion = volleyball.motion_clip(rng, one.activity, difficulty=0.0, image_size=SIZE)
            assert one.boxes.dtype == np.float32
            np.testing.assert_allclose(one.boxes, motion.boxes, atol=1e-6)
            rng.permutation(len(motion.actions))  # as the order of the tracks is drawn
            assert one.frames.shape == (10, *SIZE, 3)
            for t, frame in enumerate(one.frames):
                drawn = volleyball_rendering.render_frame(rng, scene, motion, t)
                np.testing.assert_array_equal(frame, through_jpeg(drawn))


def test_a_file_that_cannot_be_read_is_named(raw):
    (first, *_), annotations = decode_clips(raw, "1"), raw.annotation_path("1")
    frame = raw.frame_path("1", first.clip, first.frame + 2)
    frame.unlink()
    with pytest.raises(UserError, match=f"^{re.escape(str(frame))}: no such file"):
        next(decode_clips(raw, "1"))
    annotations.write_text(annotations.read_text().replace(" l_", " x_").replace(" r_", " x_"))
    with pytest.raises(UserError, match=f"^{re.escape(str(annotations))}:1: unknown activity"):
        next(decode_clips(raw, "1"))
