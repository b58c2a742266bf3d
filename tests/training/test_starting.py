"""What a model takes over from the run that it starts from."""

import dataclasses
import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.errors import NotFound, UserError
from stvh_jax.models.build import encode
from stvh_jax.runs import folders, packed
from stvh_jax.training import starting
from stvh_jax.training.checks import check_config
from stvh_jax.training.trainer import open_run, train
from tests.helpers.fakes import FakeDataset, random_clips, small_config, tiny_config
from tests.helpers.oracles import drawn

pytestmark = pytest.mark.slow


class OwnDataset(FakeDataset):
    """The same clips, whose activities are called something else; and another action."""

    activity_names = ("attack", "block", "rest", "serve")
    action_names = ("moving", "setting", "standing", "sitting")


def starting_config(source, given=(), workdir=None, **model):
    """Makes a config that differs from the source's in its model, and then takes it over."""
    config = small_config(features=12, layers=2, bits=8)
    config.model.update(model)
    config.train.update({"start_from": str(source), "epochs": 1, "average": 0.5})
    config.optimizer.warmup_epochs = 0.0
    config.devices = 1
    return starting.with_model_of_start(config, given=given, workdir=workdir)


def on_device(clips):
    return jax.tree.map(jnp.asarray, clips)


def outputs_of(model, variables, clips):
    """What a model says of clips, compiled as a whole."""
    return jax.device_get(jax.jit(functools.partial(encode, model))(variables, on_device(clips)))


def flat(variables):
    return {name: np.asarray(leaf) for name, leaf in starting.by_path(variables).items()}


def test_the_first_forward_is_the_sources_but_for_the_classes(trained, tmp_path):
    trainer = open_run(starting_config(trained()), OwnDataset(), tmp_path / "own")
    source = stvh_jax.load(trained())
    clips = random_clips(7, clips=6)
    theirs = outputs_of(source.model, source.variables, clips)
    ours = outputs_of(trainer.steps.model, trainer.initial_state().variables, clips)
    np.testing.assert_array_equal(ours.relaxed, theirs.relaxed)
    assert ours.action_logits.shape[-1] == 4
    assert not np.array_equal(ours.activity_logits, theirs.activity_logits)
    # By their names: four activities are not those four.
    before, now = flat(source.variables), flat(trainer.initial_state().variables)
    anew = {name for name in now if not np.array_equal(before[name], now[name])}
    assert {name.split("/")[-2] for name in anew} <= {"activity", "action", "relation", "first"}
    assert "params/action/kernel" in anew and "params/head_1/activity/kernel" in anew
    # The average, by which the model is judged, begins with them too.
    state = trainer.initial_state()
    jax.tree.map(np.testing.assert_array_equal, state.average, state.params)


def test_of_the_same_classes_everything_is_taken_over(trained, tmp_path):
    trainer = open_run(starting_config(trained()), FakeDataset(), tmp_path / "own")
    source = flat(stvh_jax.load(trained()).variables)
    started = flat(trainer.initial_state().variables)
    assert started.keys() == source.keys()
    for name, leaf in started.items():
        np.testing.assert_array_equal(leaf, source[name])


def test_the_model_is_the_sources_but_for_what_is_given(trained):
    config = starting_config(trained(), given=["model.dropout"], dropout=0.3)
    assert (config.model.features, config.model.layers, config.model.bits) == (8, 1, 16)
    assert config.model.dropout == 0.3
    assert small_config().train.start_from == ""
    untouched = small_config()
    assert starting.with_model_of_start(untouched) is untouched


def test_what_does_not_fit_is_named(trained, tmp_path):
    config = starting_config(trained(), given=["model.features"])
    assert config.model.features == 12
    expected = (
        f"^config.train.start_from={trained()}: its config.model.features is 8, and here it is 12; "
        "set --config.model.features=8$"
    )
    with pytest.raises(UserError, match=expected):
        open_run(config, FakeDataset(), tmp_path / "own")
    assert not (tmp_path / "own").exists()
    with pytest.raises(NotFound, match=f"^{tmp_path}/nowhere has no checkpoint"):
        starting_config(tmp_path / "nowhere")
    config.train.backbone_weights = "weights"
    with pytest.raises(UserError, match=r"^config.train.start_from brings a backbone; leave"):
        check_config(config, FakeDataset(), devices=1)


def test_a_resumed_run_does_not_start_again(trained, tmp_path):
    """It ends as one that was not interrupted, even where the run that it started from is gone."""
    source = tmp_path / "source"
    shutil.copytree(trained(), source)
    whole = train(starting_config(source), OwnDataset(), tmp_path / "whole")

    class Interrupted(OwnDataset):
        def training_batches(self, split, **options):
            for number, clips in enumerate(super().training_batches(split, **options)):
                if number == 4:
                    raise RuntimeError("killed")
                yield clips

    config = starting_config(source)
    config.train.checkpoint_every_steps = 2
    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        train(config, Interrupted(), run)
    shutil.rmtree(source)
    config = starting_config(source, workdir=run)
    config.train.checkpoint_every_steps = 2
    resumed = train(config, OwnDataset(), run)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(whole))
    stored = folders.read_config(epath.Path(run))
    assert stored["train"]["start_from"] == str(source)
    assert stored["started_from"].keys() == {"step", "sha256"}
    assert stvh_jax.load(run).activity_names == OwnDataset.activity_names


def test_a_packed_run_serves_as_well(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packed.pack(trained(), tmp_path / "source.zip")
    trainer = open_run(starting_config(tmp_path / "source.zip"), FakeDataset(), tmp_path / "own")
    started = flat(trainer.initial_state().variables)
    source = flat(stvh_jax.load(trained()).variables)
    for name, leaf in started.items():
        np.testing.assert_array_equal(leaf, source[name])


@pytest.mark.parametrize("name", ["mstvh", pytest.param("stvh", marks=pytest.mark.soak)])
def test_room_for_more_people_changes_nothing_for_those_there_were(name, trained, tmp_path):
    folder = trained()
    if name == "stvh":
        config = small_config(name=name, layers=1, features=8)
        config.train.epochs, config.optimizer.warmup_epochs, config.devices = 1, 0.0, 1
        folder = tmp_path / "source"
        train(config, FakeDataset(), folder)
    config = small_config()
    config.data.num_actors = config.model.num_actors = 7
    config.train.start_from, config.devices = str(folder), 1
    config = starting.with_model_of_start(config)
    assert config.data.num_actors == config.model.num_actors == 7
    trainer = open_run(config, FakeDataset(actors=7), tmp_path / "own")
    clips = random_clips(7, clips=6)
    padded = dataclasses.replace(
        clips,
        boxes=np.pad(clips.boxes, ((0, 0), (0, 0), (0, 2), (0, 0))),
        actor_mask=np.pad(clips.actor_mask, ((0, 0), (0, 2))),
    )
    source = stvh_jax.load(folder)
    theirs = outputs_of(source.model, source.variables, clips)
    ours = outputs_of(trainer.steps.model, trainer.initial_state().variables, padded)
    np.testing.assert_allclose(ours.relaxed, theirs.relaxed, atol=1e-5)
    # Of fewer people there are empty places, so that every layer fits.
    config = small_config()
    config.data.num_actors = config.model.num_actors = 3
    config.train.start_from = str(folder)
    assert starting.with_model_of_start(config).data.num_actors == 5


def test_unlabelled_clips_change_no_loss_that_reads_activities():
    from stvh_jax.models.build import build_model
    from stvh_jax.training.losses import LOSSES, total_loss
    from stvh_jax.unknown import UNKNOWN

    config = tiny_config()
    config.loss.update({name: 1.0 for name in LOSSES if name != "activity"})
    config.loss.same_class_mask = True
    names = {"activity_names": FakeDataset.activity_names, "action_names": FakeDataset.action_names}
    model = build_model(config.model, **names)
    clips = on_device(random_clips(1, clips=8))
    variables = drawn(model, clips, train=False)
    activity = jnp.where(jnp.arange(8) < 5, clips.activity, UNKNOWN)
    unknown = dataclasses.replace(clips, activity=activity)
    deleted = dataclasses.replace(clips, clip_mask=jnp.arange(8) < 5)
    outputs = outputs_of(model, variables, clips)
    lose = jax.jit(functools.partial(total_loss, weights=config.loss))
    _, terms = lose(outputs, unknown)
    _, expected = lose(outputs, deleted)
    for name, term in terms.items():
        assert np.isfinite(term)
        if LOSSES[name].of_labels:
            np.testing.assert_allclose(term, expected[name], rtol=1e-6, err_msg=name)
