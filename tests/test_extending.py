"""Every example of docs/extending.md: it is put where the page says, trained, and used."""

import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from stvh_jax.dataset import Dataset
from stvh_jax.inference.encoder import load
from stvh_jax.models import fusions, hash_heads
from stvh_jax.models.backbones import build
from stvh_jax.training import losses
from stvh_jax.training.trainer import train
from tests.helpers.fakes import FakeDataset, frames_config, frames_dataset, tiny_config

pytestmark = pytest.mark.slow

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text()


def blocks(title):
    """Lists the pieces of Python under a heading of the page."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def write(code, folder):
    """Writes a piece of Python to the file that its first line names; gives the module's name."""
    path = folder / pathlib.PurePath(code.splitlines()[0].removeprefix("# ")).name
    path.write_text(code)
    return path.stem


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that modules are imported from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if "." not in name:
            del sys.modules[name]


@pytest.fixture
def extend(folder, monkeypatch):
    """Gives `extend(title, home, table)`: writes the file, and adds the line to the table."""

    def add(title, home, table):
        code, line = blocks(title)
        module = importlib.import_module(write(code, folder))
        name, value = re.fullmatch(r'    "(\w+)": (.+),\n', line).groups()
        made = eval(value, {**vars(home), **vars(module)})
        monkeypatch.setitem(getattr(home, table), name, made)

    return add


def trained(config, dataset):
    """Trains a run and gives its encoder and its history."""
    with contextlib.redirect_stdout(io.StringIO()):
        train(config, dataset, "run")
    lines = pathlib.Path("run/history.jsonl").read_text().splitlines()
    return load("run"), [json.loads(line) for line in lines]


def check_codes(encoder, clips):
    """Checks that codes are made, and that padded slots change none of them."""
    noise = np.where(clips.actor_mask[:, None, :, None], clips.boxes, np.float32(0.7))
    one, other = (
        encoder.encode(clips.frames, boxes, clips.actor_mask) for boxes in (clips.boxes, noise)
    )
    for focus, codes in one.codes.items():
        np.testing.assert_array_equal(codes, other.codes[focus])
    assert len(np.unique(one.codes[encoder.foci[-1]], axis=0)) > 1


def test_a_new_fusion_a_new_hash_head_and_a_new_loss(extend):
    """In one model, as training is what takes long."""
    extend("A new fusion", fusions, "FUSIONS")
    extend("A new hash head", hash_heads, "HASH_HEADS")
    extend("A new loss", losses, "LOSSES")
    config = tiny_config()
    config.model.update({"position": "nearness", "hash_head": "maximum"})
    config.loss.independence = 0.1
    encoder, history = trained(config, FakeDataset())
    assert encoder.variables["params"]["layer_1"]["kernel"].shape == (8, 8)
    assert encoder.model.config.heads.hash_head == "maximum"
    assert all(0 <= entry["train/independence"] <= 1 for entry in history if "train/loss" in entry)
    assert any("train/independence" in entry for entry in history)
    check_codes(encoder, FakeDataset().clips["test"])


def test_a_new_backbone(extend):
    extend("A new backbone", build, "BACKBONES")
    config = frames_config()
    config.model.backbone = ConfigDict({"name": "patches", "side": 4})
    encoder, _ = trained(config, frames_dataset())
    pool = encoder.variables["params"]["visual"]["roi"]["pool"]
    assert jax.tree.map(np.shape, pool["backbone"]["embed"]["kernel"]) == (4, 4, 3, 32)
    check_codes(encoder, frames_dataset().clips["test"])


def test_a_new_data_set(folder):
    *files, script = blocks("A new data set")
    for code in files:
        write(code, folder)
    crowds = importlib.import_module("crowds")
    assert isinstance(crowds.open_dataset(None), Dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(script, {})
    clips = crowds.open_dataset(None).read("test")
    encoding = load("runs/crowds").encode(None, clips.boxes, clips.actor_mask)
    right = encoding.activity_probabilities.argmax(axis=-1) == clips.activity
    assert right.mean() > 0.8
    # The same command finds the same data, and that the run is finished.
    (command,) = re.findall(r"^python (-m stvh_jax train .*)$", PAGE, re.MULTILINE)
    ran = subprocess.run(
        [sys.executable, *command.split()],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "resuming at step 120" in ran.stdout


def test_the_batches_of_the_new_data_set(folder):
    crowds = importlib.import_module(write(blocks("A new data set")[0], folder))
    dataset = crowds.open_dataset(None)
    options = {"batch_size": 16, "seed": 3}
    epoch = [clips for clips, _ in zip(dataset.training_batches("train", **options), range(4))]
    assert sorted(np.concatenate([clips.frame for clips in epoch])) == list(range(64))
    resumed = next(dataset.training_batches("train", start_step=2, **options))
    jax.tree.map(np.testing.assert_array_equal, resumed, epoch[2])
    halves = [
        next(dataset.training_batches("train", process_index=i, process_count=2, **options))
        for i in range(2)
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *halves)
    jax.tree.map(np.testing.assert_array_equal, joined, epoch[0])
    split = "validation+test"
    judged = list(dataset.evaluation_batches(split, batch_size=16))
    mask = np.concatenate([clips.clip_mask for clips in judged])
    assert (len(mask), mask.sum()) == (48, dataset.num_clips(split))
    assert (np.concatenate([clips.action for clips in judged])[~mask] == -1).all()
    with pytest.raises(crowds.NotFound, match="^there is no split 'dev'; choose train, valid"):
        dataset.num_clips("dev")
