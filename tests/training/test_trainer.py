"""Training: the same on any devices, after any interruption; and what stops it."""

import dataclasses
import re
import shlex
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest
from etils import epath

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.runs import checkpoints
from stvh_jax.runs.history import read_history
from stvh_jax.training import sharding
from stvh_jax.training.checks import check_config
from stvh_jax.training.trainer import LOCK, open_run, train
from tests.helpers import trainings
from tests.helpers.fakes import FakeDataset, tiny_config

pytestmark = pytest.mark.slow


def history(folder):
    """The history of a run without the one thing that is measured in seconds."""
    lines = read_history(epath.Path(folder))
    return [{k: v for k, v in line.items() if k != "clips_per_second"} for line in lines]


def final_state(folder):
    """The state that a finished run goes on from, which is its last."""
    return jax.device_get(open_run(tiny_config(), FakeDataset(), folder).initial_state())


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.soak), 4])
def test_training_is_the_same_on_any_number_of_devices(devices, trained):
    alone, together = history(trained(1)), history(trained(devices))
    assert [line.keys() for line in alone] == [line.keys() for line in together]
    assert sum("train/loss" in line for line in alone) == 4
    for one, other in zip(alone, together):
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-6)
    one, other = final_state(trained(1)), final_state(trained(devices))
    for expected, actual in zip(jax.tree.leaves(one.variables), jax.tree.leaves(other.variables)):
        assert np.linalg.norm(actual - expected) <= 1e-6 * np.linalg.norm(expected)


def test_a_batch_in_parts_is_the_whole_batch_where_clips_do_not_meet(tmp_path):
    config = tiny_config(epochs=1, log_every_steps=1)
    config.optimizer.warmup_epochs = 0.0
    # No batch statistics, no dropout, and hardly any of the losses that compare clips.
    config.model.update({"name": "stvh", "dropout": 0.0})
    config.loss.update({"quantisation": 0.0, "contrastive": 1e-6})
    config.devices = 2
    found = {}
    for parts in (1, 4):
        config.train.accumulate = parts
        train(config, FakeDataset(), tmp_path / str(parts))
        found[parts] = history(tmp_path / str(parts))
    for one, other in zip(found[1], found[4], strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() & {"train/loss", "train/gradient_norm", "validation/loss"}:
            assert one[name] == pytest.approx(other[name], rel=1e-4)
    # What compares clips sees fewer of them: at first, with the same weights, only that differs.
    first = [lines[0]["train/contrastive"] for lines in found.values()]
    assert first[1] < first[0] - 0.5


def test_a_run_interrupted_and_killed_goes_on_as_if_nothing_had_happened(trained, tmp_path):
    process = trainings.start(tmp_path, wait_at=2)
    trainings.read_until_waiting(process)
    # Meanwhile a second training in this folder is refused.
    with pytest.raises(UserError, match=f"^another process trains in {tmp_path}; try again when"):
        train(tiny_config(), FakeDataset(), tmp_path)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate("\n")
    assert process.returncode == 130
    assert output.endswith("interrupted; saved at step 3, the same command resumes\n")
    assert (
        errors == "interrupted; it saves after this step and ends, or at once at another Ctrl-C\n"
    )

    process = trainings.start(tmp_path, wait_at=9)
    lines = trainings.read_until_waiting(process)
    assert lines[0].startswith("resuming at step 3: ")
    # Step 9 is in the history already, and step 8 in the background on its way to the disk.
    deadline = time.monotonic() + 60
    while checkpoints.choose_step(epath.Path(tmp_path), "latest")[0] < 8:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with files.lock(tmp_path / LOCK):  # the system has freed it
        pass
    assert history(tmp_path)[-1]["step"] == 9

    resumed = jax.device_get(train(tiny_config(), FakeDataset(), tmp_path))
    jax.tree.map(np.testing.assert_array_equal, resumed, final_state(trained()))
    assert history(tmp_path) == history(trained())


@pytest.mark.soak
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(trained, tmp_path):
    command = shlex.join(trainings.command(tmp_path / "run"))
    # No file may be larger than some kilobytes, which a checkpoint's are.
    limited = ["bash", "-c", f"ulimit -f 8; exec {command}"]
    done = subprocess.run(limited, cwd=trainings.ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: cannot write [^\n]*\(File too large\); [^\n]*\n", done.stderr)
    assert checkpoints.saved_steps(epath.Path(tmp_path / "run")) == {}
    train(tiny_config(), FakeDataset(), tmp_path / "run")
    assert history(tmp_path / "run") == history(trained())


def test_ctrl_c_ends_a_training_that_has_no_step_yet(tmp_path):
    process = trainings.start(tmp_path, wait_at=0)
    trainings.read_until_waiting(process)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert time.monotonic() - started < 4  # two seconds, and a busy machine
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_the_seed_decides_what_is_trained(tmp_path):
    def kernel(seed, folder):
        config = tiny_config()
        config.seed = seed
        state = open_run(config, FakeDataset(), tmp_path / folder).initial_state()
        return jax.device_get(state.params["action"]["kernel"])

    first = kernel(0, "first")
    np.testing.assert_array_equal(kernel(0, "again"), first)
    assert not np.array_equal(kernel(1, "other"), first)


class BrokenDataset(FakeDataset):
    """Has no number where an actor of step 8 stands."""

    def training_batches(self, split, *, start_step=0, **options):
        batches = super().training_batches(split, start_step=start_step, **options)
        for step, clips in enumerate(batches, start=start_step + 1):
            if step == 8:
                boxes = clips.boxes.copy()
                boxes[3, 0, 0] = np.nan
                clips = dataclasses.replace(clips, boxes=boxes)
            yield clips


def test_a_loss_that_is_no_number_stops_the_run_and_names_cause_and_step(trained, tmp_path):
    with pytest.raises(UserError, match=r"^step 8: \w+ is nan at learning rate .*; training sto"):
        train(tiny_config(), BrokenDataset(), tmp_path)
    assert history(tmp_path) == [line for line in history(trained()) if line["step"] < 8]
    assert checkpoints.choose_step(epath.Path(tmp_path), "latest") == (6, "latest")
    assert np.isfinite(final_state(tmp_path).params["action"]["kernel"]).all()


def test_a_run_goes_on_with_its_own_config_only(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained(), run)
    config = tiny_config(log_every_steps=5)
    config.devices, config.data.dir = 2, "elsewhere"
    assert train(config, FakeDataset(), run).step == 12
    config.model.dropout = 0.25
    expected = f"^{run} holds a run with model.dropout=0.1, not 0.25; give another"
    with pytest.raises(UserError, match=expected):
        train(config, FakeDataset(), run)


def test_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*/file/run \(Not a direc"):
        train(tiny_config(), FakeDataset(), tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.epochs", 0, "config.train.epochs is 0; use 1 or more"),
        ("train.evaluate_every_epochs", 0, "config.train.evaluate_every_epochs is 0; use 1"),
        ("train.batch_size", 49, "config.train.batch_size=49 does not divide over 2 devices"),
        ("train.batch_size", 50, "split train has 48 clips, fewer than config.train.batch_size=50"),
        ("train.evaluation_batch_size", 7, "config.train.evaluation_batch_size=7 does not divide"),
        (
            "train.accumulate",
            3,
            "config.train.batch_size=8 does not divide into config.train.accum",
        ),
        ("train.accumulate", 0, "config.train.accumulate is 0; use 1 or more"),
        (
            "train.select",
            "loss",
            "config.train.select is 'loss'; choose one of activity_accuracy, ",
        ),
        ("train.box_jitter", 0.1, "config.train.box_jitter changes boxes, but not pixels"),
        ("data.num_frames", 10, "config.model.num_frames is 1, but config.data.num_frames is 10"),
        ("data.num_actors", 12, "config.model.num_actors is 5, but config.data.num_actors is 12"),
        ("data.validation_split", "val", "split 'val' has no clips; choose from train, validation"),
        ("data.train_split", "", "config.data.train_split is ''; give a split, or several as in"),
        ("model.source", "frames", "config.model.source=frames needs pixels"),
        ("model.source", "features", "config.model.source=features needs clips with actor feat"),
        ("loss.action_class_weights", (1.0,) * 4, "config.loss.action_class_weights has 4 numbers"),
    ],
)
def test_what_cannot_be_trained_is_said_first(field, value, message):
    config = tiny_config(box_jitter=0.0, box_noise=0.0, leave_out=0.0)
    if field == "train.box_jitter":
        config.model.source, config.data.variant = "frames", "frames"
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        check_config(config, FakeDataset(), devices=2)


def test_the_key_frame_is_that_of_the_data():
    config = tiny_config()
    config.data.num_frames = config.model.num_frames = 3
    config.model.key_frame = 2
    expected = "^config.model.key_frame is 2, but the key frame of these 3 frames is 1; set it to"
    with pytest.raises(UserError, match=expected):
        check_config(config, FakeDataset(frames=3), devices=2)


def test_a_run_without_validation_is_trained_and_its_latest_is_its_best(tmp_path):
    config = tiny_config()
    config.data.validation_split = ""
    train(config, FakeDataset(), tmp_path)
    assert all("validation/loss" not in line for line in history(tmp_path))
    assert checkpoints.saved_steps(epath.Path(tmp_path)) == {12: None}
    assert checkpoints.choose_step(epath.Path(tmp_path), "best") == (12, "latest")


def test_a_validation_counts_every_clip_once(trained):
    trainer = open_run(tiny_config(), FakeDataset(), trained())
    state = trainer.initial_state()
    measured = trainer.validate(state)
    clips = sharding.put_batch(trainer.dataset.clips["validation"], sharding.make_mesh(1))
    sums = jax.device_get(trainer.steps.validation_step(state.variables, clips))
    assert sums["clips"] == 19
    assert measured["activity_accuracy"] == pytest.approx(sums["activity_right"] / 19)
    assert measured["action_accuracy"] == pytest.approx(sums["action_right"] / sums["actors"])
    assert sums["actors"] == trainer.dataset.clips["validation"].actor_mask.sum()
