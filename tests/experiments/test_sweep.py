"""The sweeps of the experiments: what is run, what is said, and that stopped ones go on.

Training and evaluation are replaced by scripts of the same names that do next to nothing.
"""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.settings import SETTINGS
from experiments.trained_run import TrainedRun
from stvh_jax.errors import UserError
from tests.experiments.fake_commands import calls, run

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]


def test_a_dry_run_says_what_is_there_and_does_nothing(folder, capsys):
    run("fig10", "--data", "vd_boxes", "--seeds", "1")
    before = calls()
    capsys.readouterr()
    assert run("table6", "--data", "vd_boxes", "--seeds", "1", "--jobs", "2", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "runs/vd_boxes-mstvh-128-0, 128 bits: exists\n" in said
    assert "3 of 4 runs would be made; about 39:30 with 2 at a time" in said
    assert "--config.model.layers=5" in said
    assert run("table6", "--data", "vd", "--seeds", "1", "--dry-run") == 0
    assert "4 of 4 runs would be made; how long this takes was never" in capsys.readouterr().out
    assert run("nested", "--data", "vd_boxes", "--seeds", "1", "--dry-run") == 0
    # Of four lengths apart one is there; the nested code is one training and four evaluations.
    said = capsys.readouterr().out
    assert said.count("train.py") == 4
    assert said.count("evaluate.py") == 7
    assert calls() == before
    assert not pathlib.Path("results/vd_boxes/table6.md").exists()


def test_a_run_that_fails_is_said_and_the_others_are_made(folder, capsys):
    pathlib.Path("broken.txt").touch()
    assert run("table6", "--data", "vd_boxes", "--seeds", "1") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: 1 of 4 runs failed; train.py --config=configs/vd_boxes.py")
    assert "the loss is no number" in said
    assert sum(line.startswith("evaluate") for line in calls()) == 3
    assert not pathlib.Path("results").exists()
    pathlib.Path("broken.txt").unlink()
    assert run("table6", "--data", "vd_boxes", "--seeds", "1") == 0
    assert sum(line.startswith("train") for line in calls()) == 5


def test_nested_codes_are_one_training_and_an_evaluation_a_length(folder, capsys):
    assert run("nested", "--data", "vd_boxes", "--seeds", "1", "--jobs", "2") == 0
    nested = [line for line in calls() if "16+32+64+128" in line]
    assert sorted(nested) == [
        *(f"evaluate vd_boxes-mstvh-16+32+64+128-0 {bits}" for bits in (128, 16, 32, 64)),
        "train vd_boxes-mstvh-16+32+64+128-0",
    ]
    table = json.loads(pathlib.Path("results/vd_boxes/nested.json").read_text())["tables"][0]
    assert [row[0] for row in table["rows"]] == ["16", "32", "64", "128"]
    capsys.readouterr()


# Whoever runs the tests in the background may have SIGINT ignored in all that they start.
SCRIPT = (
    "import signal, sys, data.prepared.pipeline as p; p.open_dataset = lambda config: None; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from experiments import __main__ as m; "
    "sys.exit(m.parsing.run_command(m._parser(), sys.argv[1:]))"
)


def started(arguments):
    """Starts the experiments as a process."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "sign",
    [
        signal.SIGINT,
        *(pytest.param(sign, marks=pytest.mark.soak) for sign in (signal.SIGTERM, signal.SIGKILL)),
    ],
)
def test_a_sweep_that_is_stopped_goes_on_where_it_was(folder, sign):
    """The experiments are a process here; the training that runs is stopped, or left to end."""
    pathlib.Path("seconds.txt").write_text("1.5")
    arguments = ["table7", "--data", "vd_boxes", "--seeds", "1"]
    process = started(arguments)
    deadline = time.monotonic() + 60
    while not calls() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-sign if sign == signal.SIGKILL else 130)
    assert "Traceback" not in said
    first = calls()
    assert len(first) == 1
    pathlib.Path("seconds.txt").write_text("0")
    assert run(*arguments) == 0
    trained = [line for line in calls() if line.startswith("train")]
    # After SIGKILL the training was left to itself, and waited for.
    assert len(trained) == (4 if sign == signal.SIGKILL else 5)
    assert pathlib.Path("results/vd_boxes/table7.md").exists()


def test_a_run_that_another_sweep_makes_is_waited_for_and_the_waiting_can_end(folder):
    one = TrainedRun(SETTINGS["vd_boxes"], {"model.objective": "printed"}, 0)
    one.folder.parent.mkdir()
    with one.folder.with_name(f"{one.folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = started(["fig10", "--data", "vd_boxes", "--seeds", "1"])
        assert process.stdout.readline() == f"waiting for {one.folder}, which another sweep makes\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert not calls()


def test_what_cannot_be_started_fails_and_nothing_hangs(folder, capsys):
    # A folder stands where the log of one run should be written.
    pathlib.Path("runs/experiments/vd_boxes-mstvh-128-0,layers=4.log").mkdir(parents=True)
    assert run("table6", "--data", "vd_boxes", "--seeds", "1") == 2
    assert "1 of 4 runs failed" in capsys.readouterr().err
    assert sum(line.startswith("evaluate") for line in calls()) == 3


MISTAKES = [
    (["table9"], "argument NAME: invalid choice: 'table9'"),
    (["table6", "--data", "ucf101"], "argument --data: invalid choice: 'ucf101'"),
    (["table6", "--seeds", "0"], "--seeds and --jobs must be 1 to 1000"),
    (["fig9", "--data", "vd_boxes"], "fig9 shows pictures, and vd_boxes has none; nothing is"),
    (["table6", "--data", "vd"], "the Volleyball Dataset: there are no frames; nothing is filled"),
    (["page"], "results has no results; try: python -m experiments all --data demo"),
    (["page", "--dry-run"], "page makes no runs; leave out --dry-run"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line(arguments, message, folder, monkeypatch, capsys):
    def refuse(config):
        raise UserError("there are no frames")

    monkeypatch.setattr("data.prepared.pipeline.open_dataset", refuse)
    try:
        status = run(*arguments)
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr().err
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"error: {message}")
    assert not calls()


def test_a_folder_with_another_run_is_refused(folder, capsys):
    path = pathlib.Path("runs/vd_boxes-mstvh-128-0")
    path.mkdir(parents=True)
    changes = {"optimizer.learning_rate": 1.0, "model.objective": "printed"}
    other = TrainedRun(SETTINGS["vd_boxes"], changes, 0).config
    (path / "config.json").write_text(other.to_json_best_effort())
    assert run("fig10", "--data", "vd_boxes") == 2
    said = capsys.readouterr().err
    assert "is a run of another config: it has optimizer.learning_rate=1.0" in said
    assert not calls()
