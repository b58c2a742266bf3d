"""The code of whole frames: what it reads, and that it goes all the way without actors."""

import dataclasses
import json

import numpy as np
import pytest
from etils import epath

from stvh_jax.errors import UserError
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.models.build import build_model
from stvh_jax.training.trainer import train
from tests.helpers.fakes import ACTIONS, ACTIVITIES, frames_config, frames_dataset
from tests.helpers.oracles import apply, drawn, layer_norm


@pytest.fixture(scope="module")
def hashed():
    """A model with its variables, some clips and what it says of them."""
    config = frames_config(name="global_hash", bits=(8, 16), temporal_contrast=True)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = frames_dataset().clips["train"].without_names()
    variables = drawn(model, clips, train=False)
    return model, variables, clips, apply(model, variables, clips, train=False)


def test_boxes_say_nothing(hashed):
    model, variables, clips, outputs = hashed
    others = dataclasses.replace(
        clips, boxes=np.full_like(clips.boxes, np.nan), actor_mask=~clips.actor_mask
    )
    again = apply(model, variables, others, train=False)
    np.testing.assert_array_equal(outputs.relaxed, again.relaxed)
    assert outputs.action_logits is None
    assert outputs.relation is None


def test_frames_are_pooled_whole_and_averaged(hashed):
    model, variables, clips, outputs = hashed
    captured = apply(
        model,
        variables,
        clips,
        train=False,
        capture_intermediates=lambda module, _: module.name in ("visual", "backbone"),
    )[1]["intermediates"]["visual"]
    features, pooled, _ = captured["__call__"][0]
    (maps,) = captured["roi"]["pool"]["backbone"]["__call__"][0]
    channels = maps.shape[-1]
    assert pooled.shape == (8, 2, 1, 1, 1, channels)
    whole = maps.mean(axis=(1, 2)).reshape(8, 2, channels)
    np.testing.assert_allclose(pooled[:, :, 0, 0, 0], whole, atol=1e-5)
    params = variables["params"]
    pooled = pooled.reshape(8, 2, channels)
    shown = np.concatenate([pooled, pooled - pooled.mean(axis=1, keepdims=True)], axis=-1)
    embedding = params["visual"]["embedding"]
    expected = layer_norm(shown @ embedding["kernel"] + embedding["bias"], params["visual"]["norm"])
    np.testing.assert_allclose(features[:, :, 0], expected, atol=1e-4)
    head = params["head_1"]
    mean = np.maximum(expected, 0).mean(axis=1)
    hashed = layer_norm(mean @ head["hash"]["kernel"] + head["hash"]["bias"], head["norm"])
    np.testing.assert_allclose(outputs.relaxed[0], np.tanh(hashed), atol=1e-3)
    logits = np.tanh(hashed) @ head["activity"]["kernel"] + head["activity"]["bias"]
    np.testing.assert_allclose(outputs.activity_logits[0], logits, atol=1e-3)
    assert list(outputs.prefix_logits) == [8]


@pytest.mark.slow
def test_it_is_trained_and_judged_like_the_others(tmp_path):
    run = epath.Path(tmp_path / "run")
    config = frames_config(name="global_hash", bits=(8, 16))
    train(config, frames_dataset(), run)
    encoder = load(run)
    evaluation = evaluate(encoder, frames_dataset(), run=run)
    evaluation.dataset.has_frames = False  # no pictures of hits
    for path in evaluation.write():
        assert path.exists()
    results = json.loads((run / "evaluation-test.json").read_text())
    assert (results["model"], list(results["foci"])) == ("global_hash", ["1"])
    assert results["action_accuracy"] is None
    assert 0 <= results["activity_accuracy"] <= 1
    assert "–" in evaluation.table()
    clips = frames_dataset().clips["test"]
    encoding = encoder.encode(clips.frames, clips.boxes, clips.actor_mask)
    assert encoding.action_probabilities is None
    np.testing.assert_array_equal(encoding.codes[1], evaluation.queries.codes[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.source": "boxes"}, "config.model.source=boxes has no frames to read"),
        ({"train.select": "action_accuracy"}, "config.model.name=global_hash has no actions"),
        (
            {"model.freeze_backbone": True, "train.feature_cache": "cache"},
            "config.train.feature_cache stores features of actors",
        ),
    ],
)
def test_what_it_cannot_do_is_said(changes, message, tmp_path):
    config = frames_config(name="global_hash")
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=f"^{message}"):
        train(config, frames_dataset(), tmp_path / "run")
