"""What a backbone starts with: files of weights and the runs of a first stage."""

import shutil

import jax
import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.errors import UserError
from stvh_jax.runs import checkpoints, folders
from stvh_jax.training import pretrained
from stvh_jax.training.checks import check_config
from stvh_jax.training.trainer import open_run, train
from tests.helpers.fakes import FakeDataset, frames_config, frames_dataset, small_config
from tests.helpers.oracles import model_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage_1(tmp_path_factory):
    """Trains a classifier of frames; returns the folder of its run."""
    folder = tmp_path_factory.mktemp("stage_1") / "first"
    config = frames_config(name="frame_classifier", embed="fc", dropout=0.1)
    train(config, frames_dataset(), folder)
    return epath.Path(folder)


def second_config(weights, **model):
    config = frames_config(name="stvh", **model)
    config.train.epochs = 1
    config.optimizer.warmup_epochs = 0.0
    config.train.backbone_weights = str(weights)
    return config


@pytest.fixture(scope="module")
def stage_2(stage_1, tmp_path_factory):
    """Trains a model that starts with that backbone, then deletes the weights."""
    folder = tmp_path_factory.mktemp("stage_2")
    weights = shutil.copytree(stage_1, folder / "weights")
    train(second_config(weights), frames_dataset(), folder / "second")
    shutil.rmtree(weights)
    return epath.Path(folder / "second")


def test_the_second_stage_starts_with_the_backbone_of_the_first(stage_1, tmp_path):
    trainer = open_run(second_config(stage_1), frames_dataset(), tmp_path / "second")
    step, _ = pretrained.checkpoints.choose_step(stage_1, "best")
    trained = pretrained.take(pretrained.checkpoints.load_variables(stage_1, step))
    started = pretrained.take(trainer.initial_state().variables)
    untrained = pretrained.take(trainer.steps.create_state().variables)
    jax.tree.map(np.testing.assert_array_equal, trained, started)
    assert not np.array_equal(*(t["params"]["conv_0"]["kernel"] for t in (started, untrained)))
    assert trainer.run_config["backbone_weights"] == {
        "sha256": pretrained.digest(trained),
        "source": f"first, step {step}",
        "options": {},
    }


def test_a_run_tells_what_its_backbone_started_with_and_is_found_by_its_config(
    stage_2, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stage_2, "runs/second")
    model = stvh_jax.load("runs/second")
    assert len(model.config.backbone_weights.sha256) == 64
    # The weights may move, and a config file knows nothing of them.
    config = second_config("elsewhere")
    assert folders.find(workdir=None, bits=8, config=config) == epath.Path("runs/second")


def test_a_run_does_not_go_on_with_other_weights(stage_2, tmp_path):
    run = shutil.copytree(stage_2, tmp_path / "second")
    with pytest.raises(UserError, match="holds a run with backbone_weights.sha256="):
        open_run(second_config(run), frames_dataset(), run)


def test_a_run_that_has_begun_does_not_need_its_weights_again(stage_2, tmp_path):
    config = second_config(stage_2.parent / "weights")
    run = shutil.copytree(stage_2, tmp_path / "second")
    state = open_run(config, frames_dataset(), run).initial_state()
    step, _ = checkpoints.choose_step(stage_2, "latest")
    expected = checkpoints.load_variables(stage_2, step)
    jax.tree.map(np.testing.assert_array_equal, dict(state.variables), expected)
    with pytest.raises(UserError, match="weights"):
        open_run(config, frames_dataset(), tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_config_that_asks_for_other_pixels_than_its_weights():
    config = model_config(backbone={"name": "vgg16", "din_compat": False})
    completed = config.with_backbone_options({"normalisation": "caffe"})
    assert completed.visual.backbone == {**config.visual.backbone, "normalisation": "caffe"}
    with pytest.raises(UserError, match="din_compat is False, and the weights .* with True; set"):
        config.with_backbone_options({"din_compat": True})


def test_a_frozen_backbone_needs_weights():
    config = frames_config(freeze_backbone=True)
    config.model.backbone = {"name": "vgg16"}
    with pytest.raises(UserError, match="keep the random initial weights of vgg16; set config"):
        check_config(config, frames_dataset(), devices=1)


def test_a_run_of_the_first_stage_has_no_codes(stage_1, tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match="classifies frames and has no codes; train a model with codes"
    ):
        stvh_jax.load(stage_1)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stage_1, tmp_path / "runs" / "first")
    with pytest.raises(UserError, match="has no finished run"):
        folders.find(workdir=None, bits=8)


def test_weights_that_are_not_there_are_said_where_to_get(tmp_path):
    for backbone in ("inception_v3", "vgg16"):
        with pytest.raises(UserError) as raised:
            pretrained.open_weights(str(tmp_path / "none"), backbone)
        message = str(raised.value)
        assert "\n" not in message
        for part in (
            "is neither a file nor the folder of a run; download https://",
            backbone,
            "or https://",
            "convert FILE",
        ):
            assert part in message


def test_weights_of_another_backbone(stage_1):
    with pytest.raises(UserError, match="has weights of small, but config.model.backbone.name is"):
        pretrained.open_weights(str(stage_1), "vgg16")


def test_a_backbone_of_another_shape(stage_1, tmp_path):
    config = second_config(stage_1)
    config.model.backbone.features = (4, 7)
    with pytest.raises(UserError, match="conv_1/kernel"):
        open_run(config, frames_dataset(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_backbone_takes_no_weights(trained):
    config = small_config()
    config.train.backbone_weights = "weights"
    with pytest.raises(UserError, match="needs a backbone, but config.model.source=boxes has none"):
        check_config(config, FakeDataset(), devices=1)
    with pytest.raises(UserError, match="has no backbone: its config.model.source is boxes"):
        pretrained.of_run(trained())


def test_put_is_the_inverse_of_take():
    pool = {"pool": {"backbone": {"kernel": np.ones(2)}}}
    variables = {
        "params": {"visual": {"roi": pool, "norm": np.zeros(3)}, "head": np.zeros(1)},
        "batch_stats": {"head_0": np.zeros(1)},
    }
    taken = pretrained.take(variables)
    assert taken.keys() == {"params"}
    changed = pretrained.put(variables, {"params": {"kernel": np.full(2, 7.0)}})
    np.testing.assert_array_equal(pretrained.take(changed)["params"]["kernel"], [7, 7])
    assert changed["params"]["visual"]["norm"] is variables["params"]["visual"]["norm"]
    np.testing.assert_array_equal(pretrained.take(variables)["params"]["kernel"], [1, 1])
