"""The experiments: which runs they need, that these go on where they were, and what is written.

Training and evaluation are replaced by scripts of the same names that do next to nothing.
"""

import fcntl
import importlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from experiments import __main__ as command
from experiments import page
from experiments import results as kept
from experiments.settings import SETTINGS
from experiments.study import METRICS, Study, mean_and_spread
from experiments.trained_run import READ, TrainedRun
from stvh_jax.errors import UserError
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.models.build import build_model
from stvh_jax.runs.folders import default_workdir
from tests.helpers.fakes import FakeDataset

ROOT = pathlib.Path(__file__).parents[2]
MODULES = {name: importlib.import_module(f"experiments.paper.{name}") for name in command.NAMES}

TRAIN = """
import json, pathlib, sys, time
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
run = pathlib.Path(flags["workdir"])
checkpoint = run / "checkpoints/1"
for part in ("config", "variables", "metrics"):
    (checkpoint / part).mkdir(parents=True, exist_ok=True)
(checkpoint / "metrics/metrics").write_text('{"activity_accuracy": 0.5}')
with open("calls.txt", "a") as file:
    print("train", run.name, file=file)
time.sleep(float(pathlib.Path("seconds.txt").read_text()))
if flags.get("config.model.layers") == "4" and pathlib.Path("broken.txt").exists():
    print("error: the loss is no number")
    sys.exit(2)
(run / "finished.json").write_text('{"step": 1}')
"""
EVALUATE = """
import json, pathlib, sys
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
run = pathlib.Path(flags["workdir"])
with open("calls.txt", "a") as file:
    print("evaluate", run.name, flags["bits"], file=file)
seed = int(run.name.split(",")[0].rsplit("-", 1)[1])
layers = int(run.name.partition("layers=")[2] or 3)
accuracy = 0.5 + 0.1 * seed + 0.01 * layers
kinds = [(kind, k) for kind in ("activity", "match") for k in (5, 10, 20, 50)]
of_focus = {f"{kind}_map@{k}": accuracy / k for kind, k in kinds}
results = {
    "model": "stvh" if "-stvh-" in run.name else "mstvh",
    "checkpoint": {"step": 1, "kind": flags["checkpoint"]},
    "data": {
        "base_split": "train",
        "query_split": "test",
        "base_clips": 20,
        "query_clips": 8,
        "exclude_within_frames": None,
    },
    "hardware": "1 x abacus",
    "bits": int(flags["bits"]),
    "layers": layers,
    "activity_accuracy": accuracy,
    "activity_mpca": accuracy,
    "activity_accuracy_from_code": accuracy,
    "action_accuracy": None,
    "activity_names": ["set", "spike"],
    "confusion_matrix": [[3, 1], [2, 2]],
    "class_distances": [[1.0, 40.0 + seed], [40.0 + seed, None]],
    "foci": {str(focus): of_focus for focus in range(layers + 1)},
}
name = "evaluation-test"
if "+" in run.name and flags["bits"] != "128":
    name += f"-{flags['bits']}_bits"
(run / f"{name}.json").write_text(json.dumps(results))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the two scripts, from which the experiments run, and data that are there."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("train.py", TRAIN), ("evaluate.py", EVALUATE), ("seconds.txt", "0")):
        pathlib.Path(name).write_text(text)
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: None)
    pathlib.Path("docs").mkdir()
    return tmp_path


def run(*arguments):
    """Calls the command; returns its status."""
    return command.parsing.run_command(command._parser(), list(arguments))


def calls():
    path = pathlib.Path("calls.txt")
    return path.read_text().splitlines() if path.exists() else []


def every_run():
    for setting in SETTINGS.values():
        for name, module in MODULES.items():
            study = Study(setting, module.variants(setting), (0, 1))
            for one in study.all_runs():
                yield name, one


def test_every_variant_is_a_model_and_its_command_makes_that_config(monkeypatch):
    monkeypatch.chdir(ROOT)
    seen = set()
    for name, one in every_run():
        key = one.setting.name, tuple(one.differences.items())
        if key in seen or one.seed:
            continue
        seen.add(key)
        build_model(one.config.model, activity_names=("a", "b"), action_names=("c", "d"))
        values = flags.FlagValues()
        holder = config_flags.DEFINE_config_file("config", flag_values=values)
        # The overrides of a config are read from the program's own arguments.
        monkeypatch.setattr(sys, "argv", one.train_command()[1:-1])
        values(sys.argv)
        parsed = holder.value.to_json_best_effort()
        assert parsed == one.config.to_json_best_effort(), (name, one.train_command())
    assert len(seen) > 60


def test_different_configs_have_different_folders():
    configs = {}
    for _, one in every_run():
        text = one.config.to_json_best_effort()
        assert configs.setdefault(one.folder, text) == text
    assert len(set(configs.values())) == len(configs)


def test_a_run_that_train_py_names_apart_stands_where_it_would_put_it():
    setting = SETTINGS["vd_boxes"]
    plain = TrainedRun(setting, {"model.name": "stvh", "model.bits": 64, "model.layers": 3}, 2)
    assert plain.differences == {"model.bits": 64, "model.name": "stvh", "seed": 2}
    assert str(plain.folder) == default_workdir(plain.config) == "runs/vd_boxes-stvh-64-2"
    changed = TrainedRun(setting, {"model.layers": 4, "loss.contrastive": 0.0}, 0)
    name = "runs/experiments/vd_boxes-mstvh-128-0,contrastive=0.0,layers=4"
    assert str(changed.folder) == name


def test_the_papers_figures_stand_in_their_rows():
    def quoted(name, data):
        return {variant.label: variant.paper for variant in MODULES[name].variants(SETTINGS[data])}

    assert quoted("table2", "cad")["M-STVH"] == {"accuracy": 97.8}
    assert quoted("table3", "demo")["M-STVH, 16 bits"]["mAP@50"] == 94.55
    assert quoted("table4", "cad")["STVH, 128 bits"]["mAP@5"] == 98.24
    assert quoted("table4", "caed")["STVH, 128 bits"] == {}
    assert quoted("table5", "caed")["M-STVH^BD"] == {"accuracy": 94.25, "mAP@10": 90.26}
    assert quoted("table6", "cad")["L = 2"] == {"accuracy": 96.21, "mAP@10": 88.91}
    assert quoted("table7", "vd")["L_cls + L_q + L_recon"] == {"accuracy": 94.37, "mAP@10": 94.86}


def test_mean_and_spread():
    assert mean_and_spread([]) == "–"
    assert mean_and_spread([61.25]) == "61.2"
    assert mean_and_spread([60.0, 62.0, 64.0]) == f"62.0 ± {statistics.stdev([60, 62, 64]):.1f}"


def test_a_table_is_made_written_and_not_made_again(folder, capsys):
    assert run("table6", "--data", "vd_boxes", "--seeds", "2", "--jobs", "2") == 0
    assert len([line for line in calls() if line.startswith("train")]) == 8
    found = json.loads(pathlib.Path("results/vd_boxes/table6.json").read_text())
    # Seeds reach 0.5 + 0.01 L and 0.1 more; mAP@10 is a tenth of that.
    spread = statistics.stdev([0, 10])
    assert found["tables"][0]["rows"][2] == [
        "L = 4", f"59.0 ± {spread:.1f}", "94.99", f"5.9 ± {spread / 10:.1f}", "95.34",
    ]  # fmt: skip
    assert [one["seed"] for one in found["runs"][2]["seeds"]] == [0, 1]
    assert found["runs"][2]["changes"] == {"model.layers": 4}
    assert found["config"]["file"] == "configs/vd_boxes.py"
    text = pathlib.Path("results/vd_boxes/table6.md").read_text()
    assert "| L = 4 | 59.0 ± 7.1 | 94.99 |" in text
    assert "8 test clips searched in 20 train clips; seeds 0, 1; ± is the standard" in text
    assert pathlib.Path("results/vd_boxes/table6.svg").read_text().startswith("<?xml")

    before = calls()
    # Three layers are the default: this run is there.
    assert run("fig12", "--data", "vd_boxes", "--seeds", "2") == 0
    assert calls() == before
    svg = pathlib.Path("results/vd_boxes/fig12.svg").read_text()
    assert "40.5" in pathlib.Path("results/vd_boxes/fig12.md").read_text()
    assert svg.startswith("<?xml")
    capsys.readouterr()


def test_an_evaluation_of_other_clips_is_made_again(folder, capsys):
    assert run("fig10", "--data", "vd_boxes", "--seeds", "1") == 0
    path = pathlib.Path("runs/vd_boxes-mstvh-128-0/evaluation-test.json")
    whole = json.loads(path.read_text())
    others = [
        whole | {"data": whole["data"] | {"base_split": "train+validation"}},
        whole | {"data": whole["data"] | {"exclude_within_frames": 41}},
        whole | {"checkpoint": {"step": 1, "kind": "latest"}},
        whole | {"checkpoint": {"step": 2, "kind": "best"}},
        {name: value for name, value in whole.items() if name != "hardware"},
        [],
    ]
    for other in others:
        path.write_text(json.dumps(other))
        before = len(calls())
        assert run("fig10", "--data", "vd_boxes", "--seeds", "1") == 0
        assert calls()[before:] == ["evaluate vd_boxes-mstvh-128-0 128"]
    capsys.readouterr()


def test_a_dry_run_says_what_is_there_and_does_nothing(folder, capsys):
    run("fig10", "--data", "vd_boxes", "--seeds", "1")
    before = calls()
    capsys.readouterr()
    assert run("table6", "--data", "vd_boxes", "--seeds", "1", "--jobs", "2", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "runs/vd_boxes-mstvh-128-0, 128 bits: is there\n" in said
    assert "3 of 4 would be made; about 5:22 at 2 a time" in said
    assert "--config.model.layers=5" in said
    assert run("table6", "--data", "vd", "--seeds", "1", "--dry-run") == 0
    assert "4 of 4 would be made; how long that takes was never" in capsys.readouterr().out
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


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
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
    assert run(*arguments) == 0
    trained = [line for line in calls() if line.startswith("train")]
    # After SIGKILL the training was left to itself, and waited for.
    assert len(trained) == (3 if sign == signal.SIGKILL else 4)
    assert pathlib.Path("results/vd_boxes/table7.md").exists()


def test_a_run_that_another_sweep_makes_is_waited_for_and_the_waiting_can_end(folder):
    one = TrainedRun(SETTINGS["vd_boxes"], {}, 0)
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
    (["table6", "--seeds", "0"], "--seeds and --jobs are numbers from 1 on"),
    (["fig9", "--data", "vd_boxes"], "fig9 shows pictures and vd_boxes has none; nothing is"),
    (["table6", "--data", "vd"], "the Volleyball Dataset: there are no frames; nothing is filled"),
    (["page"], "results has no results; try: python -m experiments all --data demo"),
    (["page", "--dry-run"], "page makes no run; leave out --dry-run"),
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
    other = TrainedRun(SETTINGS["vd_boxes"], {"optimizer.learning_rate": 1.0}, 0).config
    (path / "config.json").write_text(other.to_json_best_effort())
    assert run("fig10", "--data", "vd_boxes") == 2
    said = capsys.readouterr().err
    assert "is a run of another config: it has optimizer.learning_rate=1.0" in said
    assert not calls()


def test_the_page_has_every_result_and_says_what_is_missing(folder, capsys):
    for name in ("fig12", "table7", "fig10"):
        assert run(name, "--data", "vd_boxes", "--seeds", "1") == 0
    assert run("page") == 0
    text = page.PAGE.read_text()
    assert "Not measured on these data: table2, table3, table4, table5, table6, fig1" in text
    places = [text.index(title) for title in ("### Table 7", "### Fig. 10", "### Fig. 12")]
    assert places == sorted(places)
    assert "(../results/vd_boxes/fig12.png)" in text
    assert text.index("## Not measured: run this") > places[-1]
    assert "`python -m experiments all --data caed`" in text
    pathlib.Path("results/vd_boxes/table7.json").write_text("{")
    capsys.readouterr()
    assert run("page") == 2
    assert "table7.json is no result of an experiment" in capsys.readouterr().err


class FramesDataset(FakeDataset):
    """A data set with key frames."""

    has_frames = True

    def key_frame_images(self, split, clips):
        return {clip: np.full((20, 30, 3), clip[1] % 256, np.uint8) for clip in clips}


class TrainedStudy(Study):
    """A study whose one run is a trained one of the tests."""

    def runs(self, variant):
        return [types.SimpleNamespace(folder=self.seeds[0])]

    def open(self, one):
        dataset = FramesDataset()
        dataset.has_frames = True
        return load(one.folder), dataset


@pytest.mark.parametrize("name", ["fig9", "fig11"])
def test_the_pictures_are_of_a_trained_model(name, trained):
    module, setting = MODULES[name], SETTINGS["demo"]
    study = TrainedStudy(setting, module.variants(setting), [trained()])
    report = module.report(study)
    (table,) = report.tables
    if name == "fig9":
        assert table.header == ["query", "no MSF", "layer 1"]
        assert len(table.rows) == 3
        assert all(row[1].startswith(("✓", "✗")) for row in table.rows)
        assert len(report.figures) == 1
    else:
        assert list(report.figures) == ["1", "2"]
        assert all(0 <= float(row[3]) <= 1 for row in table.rows)


def test_what_a_real_evaluation_writes_can_be_read(trained):
    encoder = load(trained())
    evaluation = evaluate(encoder, FakeDataset(), run=trained(), filter_options={"values": "none"})
    results = json.loads(json.dumps(evaluation.results))
    assert results.keys() >= READ
    assert "derived" not in results
    for name, read in METRICS.items():
        assert 0 <= read(results) <= 1, name
    for name in kept._KEPT:
        assert name in results
    measured = results["foci"]["1"]
    assert [name for name in kept._KEPT_OF_A_FOCUS if name not in measured] == []
