"""Models of boxes whose visual bits are colours: the activity's bits stay, the others follow."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.codes.visual_maps import fit_adaptation
from stvh_jax.errors import UserError
from stvh_jax.inference.colour_encoder import ColourEncoder, with_colours
from stvh_jax.inference.encoded_clips import encode_clips
from stvh_jax.inference.encoder import load
from stvh_jax.models.colour import clip_colours, colour_maps
from tests.helpers.fakes import named, random_clips


def clips_of(seed, pixels=(20, 30)):
    clips = named(random_clips(seed, clips=6, pixels=pixels))
    filling = np.arange(6) < 5
    return dataclasses.replace(clips, clip_mask=filling)


def test_activity_bits_are_the_models_and_visual_bits_the_colours(graded):
    plain = load(graded)
    encoder, clips = with_colours(plain), clips_of(0)
    assert isinstance(encoder, ColourEncoder) and with_colours(encoder) is encoder
    assert encoder.name != plain.name == load(graded).name
    assert encoder.name == with_colours(load(graded)).name
    found = encode_clips(encoder, [clips], keep_relaxed=True)
    boxes_alone = dataclasses.replace(clips, frames=None)
    (focus,), own = found.codes, encode_clips(plain, [boxes_alone])
    bits, own_bits = (np.unpackbits(each.codes[focus], axis=1) for each in (found, own))
    visual = encoder.bit_weights.visual
    others = np.setdiff1d(np.arange(24), visual)
    np.testing.assert_array_equal(bits[:, others], own_bits[:, others])
    np.testing.assert_allclose(found.activity_scores, own.activity_scores, atol=1e-5)
    colours = clip_colours(clips.frames, clips.boxes, clips.actor_mask)[:5, 0]
    np.testing.assert_array_equal(bits[:, visual], colours @ colour_maps(8).projection >= 0)
    np.testing.assert_allclose(found.embedded, colours, atol=1e-5)


def test_clips_of_files_are_encoded_as_those_of_batches(graded):
    encoder, clips = with_colours(load(graded)), clips_of(1)
    found = encode_clips(encoder, [clips]).codes[1]
    all_codes = encoder.encode(clips.frames, clips.boxes, clips.actor_mask).codes[1]
    np.testing.assert_array_equal(all_codes[:5], found)
    people = clips.actor_mask[2]
    one = encoder.encode(clips.frames[2], clips.boxes[2][:, people])
    np.testing.assert_array_equal(one.codes[1][0], found[2])


def test_colours_are_adapted_as_any_visual_bits_are(graded):
    encoder, clips = with_colours(load(graded)), clips_of(2)
    embedded = encode_clips(encoder, [clips]).embedded
    adaptation = fit_adaptation(embedded, 8)
    adapted = encoder.adapted(adaptation)
    assert isinstance(adapted, ColourEncoder)
    bits = np.unpackbits(encode_clips(adapted, [clips]).codes[1], axis=1)
    expected = adaptation.bits_of(embedded)
    assert (bits[:, encoder.bit_weights.visual] != expected).mean() < 0.05  # of five points, some
    with pytest.raises(UserError, match="fitted to what another model makes of clips"):
        load(graded).adapted(adaptation)


def test_clips_without_pixels_are_refused(graded):
    encoder, clips = with_colours(load(graded)), clips_of(3)
    with pytest.raises(UserError, match="this one has no pixels; give its frames"):
        encoder.encode(None, clips.boxes, clips.actor_mask)
    for appearance in (None, np.zeros((6, 1, 7), np.float32)):
        without = dataclasses.replace(clips, frames=None, appearance=appearance)
        with pytest.raises(UserError, match="no pixels"):
            encode_clips(encoder, [without])
    with pytest.raises(UserError, match="leave out features and appearance"):
        encoder.encode(clips.frames, clips.boxes, appearance=np.zeros((6, 1, 208), np.float32))


@pytest.mark.usefixtures("unchecked_shapes")
def test_frames_that_do_not_fit_are_refused_in_one_line(graded):
    encoder, clips = with_colours(load(graded)), clips_of(4)
    wrong = [clips.frames[:, :, :0], clips.frames[:3], clips.frames.astype(float), "frames", 3]
    for frames in wrong:
        with pytest.raises(UserError) as error:
            encoder.encode(frames, clips.boxes, clips.actor_mask)
        assert "\n" not in str(error.value)
    boxes = np.full_like(clips.boxes, np.nan)
    for given in (boxes, None, clips.boxes[0, 0]):
        with pytest.raises(UserError):
            encoder.encode(clips.frames, given, clips.actor_mask)


def test_other_models_are_refused(trained):
    with pytest.raises(UserError, match="colours are for models of boxes with one code for all"):
        with_colours(load(trained()))
