"""The attention maps that are drawn: what they add up to, and that the layers mix by them."""

import dataclasses

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from stvh_jax.errors import UserError
from stvh_jax.evaluation.attention import attention_by_layer
from stvh_jax.inference.encoder import Encoder
from stvh_jax.models.build import build_model
from stvh_jax.reporting import plots
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config
from tests.helpers.oracles import apply, drawn, layer_norm


def encoder_of(**fields):
    config = small_config(num_frames=3, key_frame=1, **fields)
    config = ConfigDict(config.copy_and_resolve_references().to_dict())
    config.activity_names, config.action_names = list(ACTIVITIES), list(ACTIONS)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    variables = drawn(model, random_clips(0, clips=1, frames=3), train=False)
    return Encoder(config, variables, step=1, checkpoint="best")


@pytest.fixture(scope="module")
def looked():
    encoder, clips = encoder_of(), random_clips(5, clips=3, frames=3)
    return encoder, clips, attention_by_layer(encoder, clips)


def test_rows_are_shares_among_the_valid(looked):
    encoder, clips, layers = looked
    assert len(layers) == encoder.config.model.layers == 2
    for layer in layers:
        assert layer.objects.shape == (3, 5, 3, 3)
        assert layer.group.shape == (3, 3, 5, 5)
        for b in range(3):
            valid = clips.actor_mask[b]
            np.testing.assert_allclose(layer.objects[b][valid].sum(axis=-1), 1, rtol=1e-5)
            np.testing.assert_allclose(layer.group[b][:, valid].sum(axis=-1), 1, rtol=1e-5)
            assert not layer.group[b][:, valid][..., ~valid].any()


def test_the_actors_keep_the_order_of_the_list(looked):
    encoder, clips, layers = looked
    order = np.array([3, 0, 4, 1, 2])
    shuffled = dataclasses.replace(
        clips, boxes=clips.boxes[:, :, order], actor_mask=clips.actor_mask[:, order]
    )
    for layer, other in zip(layers, attention_by_layer(encoder, shuffled)):
        valid = shuffled.actor_mask
        for b in range(3):
            places = np.ix_(range(3), np.flatnonzero(valid[b]), np.flatnonzero(valid[b]))
            expected = layer.group[b][:, order][:, :, order][places]
            np.testing.assert_allclose(other.group[b][places], expected, atol=1e-6)
            np.testing.assert_allclose(
                other.objects[b][valid[b]], layer.objects[b][order][valid[b]], atol=1e-6
            )


def test_a_layer_mixes_by_the_maps_that_are_shown():
    # One clip whose list is in the canonical order already, so that nothing is moved.
    encoder = encoder_of(layers=1)
    clips = random_clips(6, clips=1, frames=3, padded=False)
    order = clips.boxes[0, 1, :, 1::2].sum(axis=-1).argsort()
    clips = dataclasses.replace(clips, boxes=clips.boxes[:, :, order])
    names = ("boxes", "group")
    captured = apply(
        encoder.model,
        encoder.variables,
        clips,
        train=False,
        capture_intermediates=lambda module, _: module.name in names,
    )[1]["intermediates"]
    features = captured["boxes"]["__call__"][0][0]
    (fused,) = captured["layer_1"]["group"]["__call__"]
    params = jax.device_get(encoder.variables["params"]["layer_1"])
    (layer,) = attention_by_layer(encoder, clips)
    normal = layer_norm(features[0], params["norm"])
    values = normal @ params["object"]["value"]["kernel"]
    objects = np.einsum("nts,snd->tnd", layer.objects[0], values)
    values = objects @ params["group"]["value"]["kernel"]
    expected = np.einsum("tnm,tmd->tnd", layer.group[0], values)
    np.testing.assert_allclose(fused[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fields", [{"name": "stvh"}, {"position": "before"}], ids=str)
def test_other_models_have_no_such_maps(fields):
    with pytest.raises(UserError, match="has no O-MFAT and G-MFAT"):
        attention_by_layer(encoder_of(**fields), random_clips(0, clips=1, frames=3))


@pytest.mark.parametrize("image", [None, np.full((60, 80, 3), 200, np.uint8)], ids=str)
def test_the_figure_has_a_row_a_layer(looked, image):
    _, clips, layers = looked
    figure = plots.attention(
        [layer.objects[0].mean(axis=0) for layer in layers],
        [layer.group[0, 1] for layer in layers],
        boxes=clips.boxes[0, 1],
        actions=["moving"] * 5,
        image=None if image is None else image[:, :, :],
        title="r_set",
    )
    assert len(figure.axes) == 6
    received = layers[0].group[0, 1].mean(axis=0)
    texts = [text.get_text() for text in figure.axes[2].texts]
    assert texts == [f"{n}: {100 * share:.0f} %" for n, share in enumerate(received)]
    assert plots.render(figure).startswith(b"\x89PNG")
