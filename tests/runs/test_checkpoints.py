"""Checkpoints: which are kept, who can read them, and what a damaged one says."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.errors import Damaged, UserError
from stvh_jax.runs.checkpoints import (
    Checkpoints,
    choose_step,
    load_config,
    load_variables,
    saved_steps,
)
from stvh_jax.runs.history import read_history
from stvh_jax.training.state import TrainState
from stvh_jax.training.trainer import train
from tests.helpers.fakes import FakeDataset, tiny_config

ROOT = pathlib.Path(__file__).resolve().parents[2]


def state(step):
    values = np.full(3, step, np.float32)
    return jax.tree.map(
        jax.numpy.asarray, TrainState(np.int32(step), {"w": values}, {}, {"moment": 2 * values})
    )


def save(folder, scores):
    """Saves a checkpoint at steps 1, 2, ... with each of these scores, None for no validation."""
    saved = Checkpoints(epath.Path(folder), select="accuracy")
    for step, score in enumerate(scores, start=1):
        metrics = None if score is None else {"accuracy": score}
        saved.save(step, *state(step).items(), {"bits": 8}, metrics=metrics)
    saved.close()


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.3, 0.9, 0.5, 0.4], {2: 0.9, 4: 0.4}),
        ([0.3, 0.9, None, None], {2: 0.9, 4: None}),
        ([0.3, None, 0.9], {3: 0.9}),
        ([None, None, None], {3: None}),
        ([0.5, 0.5, 0.1], {2: 0.5, 3: 0.1}),
    ],
)
def test_the_best_and_the_latest_are_kept_and_no_others(scores, kept, tmp_path):
    save(tmp_path, scores)
    assert saved_steps(epath.Path(tmp_path)) == kept


def test_best_and_latest_are_told_apart(tmp_path):
    save(tmp_path, [0.3, 0.9, 0.5])
    run = epath.Path(tmp_path)
    assert choose_step(run, "best") == (2, "best")
    assert choose_step(run, "latest") == (3, "latest")
    for step in (2, 3):
        np.testing.assert_array_equal(load_variables(run, step)["params"]["w"], np.full(3, step))


def restore(folder):
    """Restores the newest checkpoint of `save` as a state of NumPy arrays."""
    saved = Checkpoints(epath.Path(folder), select="accuracy")
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one), state(0)
    )
    try:
        return jax.device_get(TrainState.of_items(*saved.restore(*abstract.items())))
    finally:
        saved.close()


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    save(tmp_path, [0.9, 0.5])
    jax.tree.map(np.testing.assert_array_equal, restore(tmp_path), state(2))


def everything(folder):
    """Reads all that there is to read of a run, as nested containers of plain values."""
    run = epath.Path(folder)
    variables, resumed = load_variables(run, 1), restore(run)
    arrays = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), (variables, vars(resumed)))
    return choose_step(run, "best"), saved_steps(run), load_config(run, 1), arrays


@pytest.mark.parametrize("share", [10, pytest.param(1, marks=pytest.mark.soak)])
def test_no_flipped_bit_changes_what_is_read(share, tmp_path, capfd):
    save(tmp_path, [0.9])
    expected = everything(tmp_path)
    paths = sorted(path for path in (tmp_path / "checkpoints" / "1").rglob("*") if path.is_file())
    # Most flips in what is read, but some in every file.
    flips = [*paths, *(path for path in paths if "/d/" in str(path) or path.parent.name != "d")]
    chance, damaged = random.Random(0), 0
    for path in flips[::share]:
        whole = path.read_bytes()
        place, flipped = chance.randrange(len(whole)), bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            assert everything(tmp_path) == expected, (path, place)
        except UserError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)
            damaged += 1
        path.write_bytes(whole)
    assert damaged > 10 / share
    assert capfd.readouterr() == ("", "")


def test_another_parameter_score_or_config_is_not_what_was_saved(tmp_path):
    save(tmp_path, [0.9])
    folder = tmp_path / "checkpoints" / "1"
    names = [("variables", "params/w"), ("train", "opt_state/moment"), ("train", "step")]
    for item, name in names:
        path = folder / "digests" / "metadata"
        whole = path.read_text()
        changed = json.loads(whole)
        assert len(changed[item][name]) == 64
        changed[item][name] = "0" * 64
        path.write_text(json.dumps(changed))
        expected = f"^{folder} is damaged .{item}/{name} is not what was saved.; copy it again, or"
        with pytest.raises(Damaged, match=expected):
            everything(tmp_path)
        path.write_text(whole)
    for path, item in (("config/metadata", "config"), ("metrics/metrics", "metrics")):
        whole = (folder / path).read_text()
        (folder / path).write_text(whole.replace("8", "16").replace("9", "8"))
        with pytest.raises(Damaged, match=f"^{folder} is damaged .{item} is not what was saved."):
            everything(tmp_path)
        (folder / path).write_text(whole)


def test_a_lost_score_does_not_make_another_checkpoint_the_best(tmp_path):
    save(tmp_path, [0.9, 0.5])
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "metrics")
    with pytest.raises(Damaged, match="/1 is damaged .metrics is not what was saved."):
        choose_step(epath.Path(tmp_path), "best")
    # Of one checkpoint alone, as in a packed run, nothing depends on the score.
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    assert choose_step(epath.Path(tmp_path), "best") == (1, "latest")


def test_a_checkpoint_of_an_earlier_version_has_no_digests(tmp_path):
    save(tmp_path, [0.9])
    expected = everything(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "digests")
    assert everything(tmp_path) == expected


def test_the_best_of_a_run_is_the_best_of_its_validations(trained):
    accuracy = {
        line["step"]: line["validation/activity_accuracy"]
        for line in read_history(trained())
        if "validation/activity_accuracy" in line
    }
    assert sorted(accuracy) == [6, 12]
    best = max(accuracy, key=lambda step: (accuracy[step], step))
    assert stvh_jax.load(trained()).step == best
    assert stvh_jax.load(trained(), checkpoint="latest").step == 12
    assert set(saved_steps(trained())) == {best, 12}


LOAD = """
import sys
import numpy as np
import stvh_jax
encoder = stvh_jax.load("file://" + sys.argv[1], checkpoint="latest")
given = np.load(sys.argv[2])
codes = encoder.encode(None, given["boxes"], given["actor_mask"]).codes
np.savez(sys.argv[3], **{str(focus): code for focus, code in codes.items()})
import jax
assert len(jax.devices()) == 1
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
def test_one_device_without_tensorflow_loads_what_four_devices_saved(trained, tmp_path):
    clips = FakeDataset().clips["test"]
    given, made = tmp_path / "given.npz", tmp_path / "made.npz"
    np.savez(given, boxes=clips.boxes, actor_mask=clips.actor_mask)
    command = [sys.executable, "-W", "error", "-c", LOAD, trained(4), given, made]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    encoder = stvh_jax.load(trained(4), checkpoint="latest")
    expected = encoder.encode(None, clips.boxes, clips.actor_mask).codes
    actual = np.load(made)
    assert sorted(actual) == ["0", "1"]
    for focus, codes in expected.items():
        np.testing.assert_array_equal(actual[str(focus)], codes)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage", [truncate, pytest.param(pathlib.Path.unlink, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize(
    "name",
    ["config/metadata", "variables/manifest.ocdbt", "variables/_METADATA", "variables/d/*"],
)
def test_a_damaged_checkpoint_is_said_in_one_line(name, damage, trained, tmp_path, capfd):
    shutil.copytree(trained(), tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "12"
    for path in list(checkpoint.glob(name)):
        damage(path)
    with pytest.raises(UserError, match=f"^{checkpoint}[^\n]*; copy it again[^\n]*$"):
        stvh_jax.load(tmp_path / "run", checkpoint="latest")
    assert capfd.readouterr().err == ""


def test_a_run_does_not_go_on_from_a_damaged_checkpoint(trained, tmp_path):
    shutil.copytree(trained(), tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "12"
    truncate(checkpoint / "train" / "manifest.ocdbt")
    with pytest.raises(UserError, match=f"^{checkpoint} is not a whole checkpoint [^\n]*$"):
        train(tiny_config(), FakeDataset(), tmp_path / "run")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere has no checkpoint; train one with train.py"),
        ("memory://run", "^memory://run is in a storage that cannot be read; use a folder"),
    ],
)
def test_where_there_is_no_checkpoint(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        stvh_jax.load(path)


def test_an_unknown_kind_of_checkpoint(trained):
    with pytest.raises(UserError, match="^checkpoint is 'first'; choose best or latest$"):
        stvh_jax.load(trained(), checkpoint="first")
