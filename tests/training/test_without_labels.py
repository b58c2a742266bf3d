"""Trainings without labels: none is read, and they resume, divide and start others as any do."""

import json

import jax
import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.errors import UserError
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.runs.history import read_history
from stvh_jax.training import starting
from stvh_jax.training.checks import check_config
from stvh_jax.training.trainer import open_run, train
from stvh_jax.unknown import NO_ACTIVITIES
from tests.helpers.fakes import (
    FakeDataset,
    Unlabelled,
    graded_config,
    label_free_config,
    without_labels,
)

pytestmark = pytest.mark.slow


class Relabelled(FakeDataset):
    """The clips of a `FakeDataset` with other labels: shuffled in training, none in validation."""

    def __init__(self):
        super().__init__()
        rng, train_clips = np.random.default_rng(0), self.clips["train"]
        rng.shuffle(train_clips.activity)
        seen = train_clips.actor_mask
        train_clips.action[seen] = rng.permutation(train_clips.action[seen])
        self.clips["validation"] = without_labels(self.clips["validation"])


def history(folder):
    """The history of a run without the one thing that is measured in seconds."""
    lines = read_history(epath.Path(folder))
    return [{k: v for k, v in line.items() if k != "clips_per_second"} for line in lines]


def final_state(folder):
    trainer = open_run(label_free_config(), FakeDataset(), folder)
    return jax.device_get(trainer.initial_state())


def test_no_label_is_read(label_free, tmp_path):
    others = Relabelled()
    assert not np.array_equal(others.clips["train"].activity, FakeDataset().clips["train"].activity)
    train(label_free_config(), others, tmp_path / "run")
    assert history(tmp_path / "run") == history(label_free)
    states = [final_state(folder) for folder in (label_free, tmp_path / "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    one, other = (stvh_jax.load(folder) for folder in (label_free, tmp_path / "run"))
    assert one.name == other.name  # the step and a digest of the variables
    codes = [encode_split(encoder, FakeDataset(), "test").codes for encoder in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *codes)


def test_the_history_names_what_is_measured_without_labels(label_free):
    lines = history(label_free)
    measured = {name for line in lines for name in line}
    assert {"train/contrast", "validation/views_found", "validation/loss"} <= measured
    assert {"train/attributes", "train/masked_people"} <= measured
    assert not any("activity" in name or "action" in name for name in measured)
    for line in lines:
        assert 0 <= line.get("validation/views_found", 0) <= 1


def test_an_interrupted_run_ends_as_if_nothing_had_happened(label_free, tmp_path):
    class Interrupted(FakeDataset):
        def training_batches(self, split, **options):
            for number, clips in enumerate(super().training_batches(split, **options)):
                if number == 6:
                    raise RuntimeError("killed")
                yield clips

    with pytest.raises(RuntimeError, match="killed"):
        train(label_free_config(), Interrupted(), tmp_path)
    resumed = jax.device_get(train(label_free_config(), FakeDataset(), tmp_path))
    jax.tree.map(np.testing.assert_array_equal, resumed, final_state(label_free))
    assert history(tmp_path) == history(label_free)


@pytest.mark.soak
def test_on_two_devices_it_learns_the_same(label_free, tmp_path):
    config = label_free_config()
    config.devices = 2
    train(config, FakeDataset(), tmp_path)
    for one, other in zip(history(label_free), history(tmp_path), strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-5)


@pytest.mark.parametrize("begun", ["label_free", "graded"])
def test_one_kind_of_training_starts_from_the_other(begun, request, tmp_path):
    source = request.getfixturevalue(begun)
    config = graded_config() if begun == "label_free" else label_free_config()
    config.train.start_from = str(source)
    config = starting.with_model_of_start(config)
    trainer = open_run(config, FakeDataset(), tmp_path)
    before = stvh_jax.load(source).variables["params"]
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.device_get(trainer.initial_state().params),
        jax.device_get(before),
    )
    trainer.checkpoints.close()
    if begun == "label_free":
        train(config, FakeDataset(), tmp_path)
        tuned = stvh_jax.load(tmp_path)
        assert tuned.names_activities and tuned.activity_names == FakeDataset.activity_names
        stored = json.loads((tmp_path / "config.json").read_text())
        assert stored["started_from"].keys() == {"step", "sha256"}


def test_a_set_without_activities_is_not_learned_from_by_labels():
    dataset = Unlabelled()
    dataset.activity_names = NO_ACTIVITIES
    check_config(label_free_config(), dataset, devices=1)
    with pytest.raises(UserError, match=r"have no labels, .*configs/own_label_free.py$"):
        check_config(graded_config(), dataset, devices=1)
