"""The visual end of a graded code in training: fitted at the end, kept with the checkpoint."""

import json

import jax
import numpy as np
import pytest

import stvh_jax
from stvh_jax.codes.packing import unpack
from stvh_jax.codes.visual_maps import Adaptation, fit_adaptation
from stvh_jax.errors import UserError
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoded_clips import at_every_focus, encode_split
from stvh_jax.models.visual_end import COLLECTION, MODULE
from stvh_jax.runs import checkpoints, folders
from stvh_jax.training import visual_fitting
from stvh_jax.training.trainer import train
from stvh_jax.training.visual_stage import fit_visual_end
from tests.helpers.fakes import FakeDataset, graded_config

pytestmark = pytest.mark.slow


def test_the_maps_are_those_that_a_fit_to_the_training_clips_gives(graded):
    encoder = stvh_jax.load(graded, checkpoint="latest")
    dataset, views, matches = FakeDataset(), [], []
    for clips in dataset.evaluation_batches("train", batch_size=8):
        views.append(np.asarray(encoder.apply(encoder.variables, clips).shown)[clips.clip_mask])
        matches.append(clips.match[clips.clip_mask])
    maps = jax.device_get(encoder.variables[COLLECTION][MODULE])
    expected = visual_fitting.fit(
        np.concatenate(views),
        np.concatenate(matches),
        supervision="match",
        bits=8,
        features=maps["whitening"].shape[1],
    )
    np.testing.assert_allclose(maps["mean"], expected.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps["projection"], expected.projection, rtol=1e-2, atol=1e-2)


def test_clips_without_labels_serve_the_visual_end(graded):
    config, dataset = graded_config(), FakeDataset()
    encoder = stvh_jax.load(graded, checkpoint="latest")
    own = jax.device_get(encoder.variables)
    fitted = {}
    for unlabelled in ("", "test"):
        config.data.unlabelled_split = unlabelled
        variables = fit_visual_end(config, encoder.model, encoder.variables, dataset)
        fitted[unlabelled] = jax.device_get(variables)[COLLECTION][MODULE]["mean"]
    np.testing.assert_allclose(fitted[""], own[COLLECTION][MODULE]["mean"], rtol=1e-4, atol=1e-5)
    shown = []
    for split in ("train", "test"):
        for clips in dataset.evaluation_batches(split, batch_size=8):
            shown.append(np.asarray(encoder.apply(own, clips).shown)[clips.clip_mask])
    expected = np.concatenate(shown).mean(axis=(0, 1))
    np.testing.assert_allclose(fitted["test"], expected, rtol=1e-4, atol=1e-5)


def test_one_code_holds_both_parts(graded):
    encoder = stvh_jax.load(graded)
    assert encoder.foci == (1,)
    assert (encoder.bits, encoder.bit_weights.layers) == (24, 1)
    clips = FakeDataset().clips["test"]
    encoding = encoder.encode(None, clips.boxes, clips.actor_mask)
    (codes,) = encoding.codes.values()
    assert codes.shape == (23, 3)
    outputs = jax.device_get(encoder.apply(encoder.variables, clips))
    signs = np.concatenate([outputs.relaxed[-1], outputs.visual], axis=1) >= 0
    np.testing.assert_array_equal(unpack(codes) > 0, signs)
    kernel, _ = encoder.activity_head
    assert kernel.shape == (24, 4)
    assert not np.any(kernel[16:])


def test_an_evaluation_judges_every_focus_of_the_one_code(graded, tmp_path):
    encoder = stvh_jax.load(graded)
    evaluation = evaluate(encoder, FakeDataset(), run=folders.open_folder(tmp_path))
    assert list(evaluation.results["foci"]) == ["0", "1"]
    assert evaluation.results["visual_bits"] == 8
    assert "filter_matrix" not in evaluation.results
    encoded = encode_split(encoder, FakeDataset(), "test")
    spread = at_every_focus(encoder, encoded)
    (stored,) = encoded.codes.values()
    np.testing.assert_array_equal(spread.codes[0], stored[:, 2:])
    np.testing.assert_array_equal(spread.codes[1], stored[:, :2])
    json.dumps(evaluation.results)
    evaluation.write(each_query=True)


def test_an_encoder_adapted_to_an_archive_keeps_the_bits_of_the_activity(graded):
    encoder, dataset = stvh_jax.load(graded), FakeDataset()
    encoded = encode_split(encoder, dataset, "test")
    adaptation = fit_adaptation(encoded.embedded, 8)
    adapted = encode_split(encoder.adapted(adaptation), dataset, "test")
    one, other = encoded.codes[1], adapted.codes[1]
    np.testing.assert_array_equal(one[:, :2], other[:, :2])
    signs = np.packbits(adaptation.bits_of(encoded.embedded), axis=1)
    assert (signs == other[:, 2:]).mean() > 0.95  # but for what rounding turns


def test_a_model_with_a_code_for_each_focus_is_not_adapted(trained):
    with pytest.raises(UserError, match="only a graded code can be adapted"):
        stvh_jax.load(trained(1)).adapted(Adaptation(np.zeros((4, 3)), np.zeros(3)))


def test_a_checkpoint_from_the_middle_has_no_visual_bits_and_says_so(graded):
    state = checkpoints.load_variables(graded, 12)
    assert np.any(state[COLLECTION][MODULE]["projection"])
    # What every run has before its end.
    zeros = jax.tree.map(np.zeros_like, state[COLLECTION])
    encoder = stvh_jax.load(graded, checkpoint="latest")
    with pytest.raises(UserError, match="the visual bits of this checkpoint are not fitted"):
        type(encoder)(encoder.config, {**state, COLLECTION: zeros}, step=4, checkpoint="latest")


def test_a_visual_end_without_labels_trains_and_encodes(tmp_path):
    config = graded_config(visual_supervision="instance", name="stvh")
    config.train.epochs = 1
    config.optimizer.warmup_epochs = 0.0
    train(config, FakeDataset(), tmp_path / "run")
    clips = FakeDataset().clips["test"]
    codes = stvh_jax.load(tmp_path / "run").encode(None, clips.boxes, clips.actor_mask).codes
    assert len(np.unique(codes[1][:, 2:], axis=0)) > 4
