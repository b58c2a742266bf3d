"""The experiments: which runs they need, and what is written.

Training and evaluation are replaced by scripts of the same names that do next to nothing.
"""

import functools
import importlib
import json
import pathlib
import statistics
import sys
import types

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from experiments import __main__ as command
from experiments import page
from experiments import results as results_module
from experiments.readings import not_as_printed
from experiments.settings import SETTINGS
from experiments.study import METRICS, Study, mean_and_spread
from experiments.trained_run import READ, TrainedRun
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.models.build import build_model
from stvh_jax.runs.folders import default_workdir
from tests.experiments.fake_commands import calls, run
from tests.helpers.fakes import FakeDataset

ROOT = pathlib.Path(__file__).parents[2]
MODULES = {name: importlib.import_module(f"experiments.paper.{name}") for name in command.NAMES}


@functools.cache
def every_run():
    return [
        (name, one)
        for setting in SETTINGS.values()
        for name, module in MODULES.items()
        for one in Study.of(module, setting, (0, 1)).all_runs()
    ]


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


@pytest.mark.parametrize("data", ["vd", "cad", "caed"])
def test_table_2_has_the_papers_two_models_each_with_its_backbone(data):
    setting = SETTINGS[data]
    study = Study(setting, MODULES["table2"].variants(setting), (0,))
    stvh, mstvh = study.all_runs()
    assert (stvh.config.model.name, stvh.config.model.backbone.name) == ("stvh", "vgg16")
    assert stvh.config.model.roi_channels == 0
    assert stvh.config.train.backbone_weights == "weights/vgg16.safetensors"
    assert str(stvh.folder) == f"runs/{data}_vgg16-stvh-128-0"
    assert f"--config=configs/{data}.py:vgg16" in stvh.train_command()
    assert (mstvh.config.model.name, mstvh.config.model.backbone.name) == ("mstvh", "inception_v3")
    assert str(mstvh.folder) == f"runs/{data}-mstvh-128-0"


@pytest.mark.parametrize("data", ["vd_boxes", "cad_boxes", "demo"])
def test_table_2_of_other_data_keeps_their_features(data):
    setting = SETTINGS[data]
    for one in Study(setting, MODULES["table2"].variants(setting), (0,)).all_runs():
        assert one.config.model.backbone == setting.build_config().model.backbone
        assert f"--config=configs/{data}.py" in one.train_command()


def test_the_checkpoint_judged_is_the_last_where_none_is_chosen():
    for setting in SETTINGS.values():
        validated = bool(setting.build_config().data.validation_split)
        assert setting.checkpoint == ("best" if validated else "latest")


def test_different_configs_have_different_folders():
    configs = {}
    for _, one in every_run():
        text = one.config.to_json_best_effort()
        assert configs.setdefault(one.folder, text) == text
    assert len(set(configs.values())) == len(configs)


def test_a_run_that_train_py_names_apart_stands_where_it_would_put_it():
    setting = SETTINGS["vd_boxes"]
    changes = {"model.name": "stvh", "model.bits": 64, "model.layers": 3}
    plain = TrainedRun(setting, changes, 2)
    assert plain.differences == {"model.bits": 64, "model.name": "stvh", "seed": 2}
    graded = "runs/vd_boxes-stvh-64-32_visual-2"
    assert str(plain.folder) == default_workdir(plain.config) == graded
    printed = TrainedRun(setting, {**changes, "model.objective": "printed"}, 2)
    assert str(printed.folder) == default_workdir(printed.config) == "runs/vd_boxes-stvh-64-2"
    changed = {"model.layers": 4, "loss.contrastive": 0.0, "model.objective": "printed"}
    changed = TrainedRun(setting, changed, 0)
    name = "runs/experiments/vd_boxes-mstvh-128-0,contrastive=0.0,layers=4"
    assert str(changed.folder) == name


def test_the_papers_figures_stand_in_their_rows():
    def quoted(name, data):
        return {variant.label: variant.paper for variant in MODULES[name].variants(SETTINGS[data])}

    assert quoted("table2", "cad")["M-STVH"] == {"accuracy": 97.8}
    assert quoted("table3", "vd")["M-STVH, 16 bits"]["mAP@50"] == 94.55
    assert quoted("table4", "cad")["STVH, 128 bits"]["mAP@5"] == 98.24
    assert quoted("table4", "caed")["STVH, 128 bits"] == {}
    assert quoted("table5", "caed")["M-STVH^BD"] == {"accuracy": 94.25, "mAP@10": 90.26}
    assert quoted("table6", "cad")["L = 2"] == {"accuracy": 96.21, "mAP@10": 88.91}
    assert quoted("table7", "vd")["L_cls + L_q + L_recon"] == {"accuracy": 94.37, "mAP@10": 94.86}


@pytest.mark.parametrize(
    ("name", "data", "of"),
    [
        ("table3", "vd", "vd"), ("table3", "vd_boxes", "vd"), ("table3", "demo", ""),
        ("table4", "demo", ""), ("table4", "vd", ""), ("table4", "cad_boxes", "cad"),
        ("table3", "cad", ""), ("table2", "caed", "caed"), ("table5", "demo", ""),
    ],
)  # fmt: skip
def test_the_papers_figures_stand_beside_the_same_data_alone(name, data, of):
    study = Study.of(MODULES[name], SETTINGS[data], (0,))
    assert study.quoted == of
    header = study.compare("model", ("accuracy",)).header
    assert header == ["model", "accuracy", *([f"paper, {of.upper()}"] if of else [])]


def test_table_2_quotes_the_literature_beside_ours(folder, capsys):
    assert run("table2", "--data", "cad_boxes", "--seeds", "1") == 0
    found = json.loads(pathlib.Path("results/cad_boxes/table2.json").read_text())
    ours, literature = found["tables"]
    assert ours["rows"][0][:4] == ["STVH", "–", "53.0", "98.30"]
    rows = {row[0]: row[1:] for row in literature["rows"]}
    assert rows["AFGNet, Xie et al. (quoted)"] == ["2024", "RGB", "Inception-v3", "–", "96.5"]
    assert rows["M-STVH (ours)"][-1] == "53.0"
    assert not any(name.startswith("RMIC") and row[-1] == "–" for name, row in rows.items())
    capsys.readouterr()
    assert run("table2", "--data", "demo", "--seeds", "1") == 0
    assert len(json.loads(pathlib.Path("results/demo/table2.json").read_text())["tables"]) == 1
    capsys.readouterr()


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
    header = found["tables"][0]["header"]
    assert header[1:] == ["accuracy", "paper, VD", "mAP@10", "mAP@10 over hits", "paper, VD"]
    # L = 3 less L = 2 is a point, in both seeds and for each query.
    first = found["differences"][0]
    assert (first["more"], first["less"], first["metric"]) == ("L = 3", "L = 2", "accuracy")
    np.testing.assert_allclose([*first["by_seed"], *first["interval"]], 1.0)
    np.testing.assert_allclose(first["paper"], 95.66 - 93.87)
    assert found["tables"][0]["rows"][2] == [
        "L = 4", f"59.0 ± {spread:.1f}", "94.99", f"5.9 ± {spread / 10:.1f}",
        f"11.8 ± {spread / 5:.1f}", "95.34",
    ]  # fmt: skip
    assert [one["seed"] for one in found["runs"][2]["seeds"]] == [0, 1]
    assert found["runs"][2]["changes"] == {"model.objective": "printed", "model.layers": 4}
    assert found["config"]["file"] == "configs/vd_boxes.py"
    text = pathlib.Path("results/vd_boxes/table6.md").read_text()
    assert "| L = 4 | 59.0 ± 7.1 | 94.99 |" in text
    assert (
        "8 test clips searched in 20 train+validation clips; seeds 0, 1; ± is the standard" in text
    )
    assert pathlib.Path("results/vd_boxes/table6.svg").read_text().startswith("<?xml")

    before = calls()
    # Three layers are the default: this run is there.
    assert run("fig12", "--data", "vd_boxes", "--seeds", "2") == 0
    assert calls() == before
    svg = pathlib.Path("results/vd_boxes/fig12.svg").read_text()
    assert "40.5" in pathlib.Path("results/vd_boxes/fig12.md").read_text()
    assert svg.startswith("<?xml")
    capsys.readouterr()


@pytest.mark.slow
def test_an_evaluation_of_other_clips_is_made_again(folder, capsys):
    assert run("fig10", "--data", "vd_boxes", "--seeds", "1") == 0
    path = pathlib.Path("runs/vd_boxes-mstvh-128-0/evaluation-test.json")
    whole = json.loads(path.read_text())
    others = [
        whole | {"data": whole["data"] | {"base_split": "train"}},
        whole | {"data": whole["data"] | {"exclude_within_frames": 41}},
        whole | {"checkpoint": {"step": 1, "kind": "best"}},
        whole | {"checkpoint": {"step": 2, "kind": "latest"}},
        {name: value for name, value in whole.items() if name != "hardware"},
        whole | {"data": [1]},
        whole | {"foci": 3},
        [],
    ]
    for text in [*map(json.dumps, others), "[" * 10**5, "\0", "null"]:
        path.write_text(text)
        before = len(calls())
        assert run("fig10", "--data", "vd_boxes", "--seeds", "1") == 0
        assert calls()[before:] == ["evaluate vd_boxes-mstvh-128-0 128"]
    capsys.readouterr()


def test_the_page_has_every_result_and_says_what_is_missing(folder, capsys):
    for name in ("fig12", "table7", "fig10"):
        assert run(name, "--data", "vd_boxes", "--seeds", "1") == 0
    assert run("page") == 0
    text = page.PAGE.read_text()
    # Table 4 and Fig. 8 are of other data, where their rows are those of Table 3 and Fig. 7.
    assert "Not measured on these data: table2, table3, table5, table6, fig1, fig7, fig9" in text
    places = [text.rindex(title) for title in ("### Table 7", "### Fig. 10", "### Fig. 12")]
    assert places == sorted(places)
    assert "(../results/vd_boxes/fig12.png)" in text
    assert text.index("## Not measured: run this") > places[-1]
    assert "`python -m experiments all --data caed --seeds 3`" in text
    # Each row of the fake runs is as good as the others.
    pair = "L_cls + L_q + L_H + L_recon less L_cls + L_recon"
    assert f"{pair}: accuracy +0.0 (not decided), mAP@10 +0.0 (not decided)" in text
    assert "from the boxes of the key frame alone (one seed): Not shown as a whole: of 4" in text
    capsys.readouterr()
    result = pathlib.Path("results/vd_boxes/table7.json")
    whole = json.loads(result.read_text())
    assert len(whole["differences"]) == 6  # the claim's four, and the printed form
    assert whole["tables"][0]["rows"][3][1] == "0.5, 0.1, 0.5, 0.01; literal"
    others = [{}, [], None, whole | {"experiment": "fig12"}, whole | {"tables": [3]}]
    for text in [*map(json.dumps, others), "{", "[" * 10**5, "\0", ""]:
        result.write_text(text)
        assert run("page") == 2
        error = capsys.readouterr().err
        assert "table7.json is not a result of an experiment" in error
        assert error.endswith("; run the experiment again\n") and error.count("\n") == 1
    result.rename(result.with_name("table99.json"))
    result.with_name("table99.json").write_text(json.dumps(whole | {"experiment": "table99"}))
    assert run("page") == 2
    assert "table99.json is not a result of an experiment" in capsys.readouterr().err


def test_the_page_makes_tables_again_from_what_the_json_keeps(folder, capsys):
    assert run("table6", "--data", "vd_boxes", "--seeds", "2") == 0
    assert run("page") == 0
    result = pathlib.Path("results/vd_boxes/table6.json")
    text = result.read_text()
    whole = json.loads(text)
    # Whatever its tables say, they are those of the runs; the intervals are kept.
    result.write_text(json.dumps(whole | {"tables": [], "notes": []}))
    assert run("page") == 0
    assert result.read_text() == text
    # What was not measured is a dash, also where an older evaluation lacked it, and no row is lost.
    for one in whole["runs"][0]["seeds"]:
        for measured in one["foci"].values():
            del measured["activity_map@10/over_hits"]
    whole["runs"][1]["changes"] = {"model.layers": 7}
    result.write_text(json.dumps(whole))
    assert run("page") == 0
    again = json.loads(result.read_text())
    assert again["tables"][0]["rows"][0][4] == "–"
    assert again["tables"][0]["rows"][1][1:] == ["–", "95.66", "–", "–", "96.00"]
    assert "A dash over hits: not kept" in page.PAGE.read_text()
    assert again["runs"][-1] == whole["runs"][1]
    capsys.readouterr()


def test_what_is_not_as_printed_is_said():
    config = json.loads(SETTINGS["vd_boxes"].build_config().to_json_best_effort())
    said = not_as_printed(config)
    assert "loss.action=2.0 (printed: 0.5)" in said
    assert "model.product=hadamard (printed: matrix)" in said
    as_printed = MODULES["table7"].variants(SETTINGS["vd_boxes"])[-1]
    printed_run = TrainedRun(SETTINGS["vd_boxes"], as_printed.changes, 0)
    assert not_as_printed(json.loads(printed_run.config.to_json_best_effort())) == []


class FramesDataset(FakeDataset):
    """A data set with key frames."""

    has_frames = True

    def key_frame_images(self, split, clips):
        return {clip: np.full((20, 30, 3), int(clip[1]) % 256, np.uint8) for clip in clips}


class TrainedStudy(Study):
    """A study whose one run is a trained one of the tests."""

    def runs(self, variant):
        return [types.SimpleNamespace(folder=self.seeds[0])]

    def open(self, one):
        dataset = FramesDataset()
        dataset.has_frames = True
        return load(one.folder), dataset


def test_other_hashing_objectives_stand_beside_ours_and_what_was_not_measured_is_a_dash(folder):
    assert run("table_hashing", "--data", "vd_boxes", "--seeds", "1") == 0
    found = json.loads(pathlib.Path("results/vd_boxes/table_hashing.json").read_text())
    (table,) = found["tables"]
    assert table["header"][1:] == [
        "accuracy", "mAP@10", "mAP@10 over hits", "mAP", "precision within 2 bits",
    ]  # fmt: skip
    assert table["rows"][0] == ["Eq 7 and Eq 8", "53.0", "5.3", "10.6", "–", "–"]
    changes = {row["label"]: row["changes"] for row in found["runs"]}
    assert changes["classification alone"].items() <= changes["CSQ"].items()
    assert all(one["model.name"] == "stvh" for one in changes.values())


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_a_real_evaluation_writes_can_be_read(trained):
    encoder = load(trained())
    evaluation = evaluate(encoder, FakeDataset(), run=trained(), filter_options={"values": "none"})
    results = json.loads(json.dumps(evaluation.results))
    assert results.keys() >= READ
    assert "derived" not in results
    for name, read in METRICS.items():
        assert 0 <= read(results) <= 1, name
    # The study adds the folder of the run.
    assert [name for name in results_module._KEPT if name not in results] == ["folder"]
    measured = results["foci"]["1"]
    assert [name for name in results_module._KEPT_OF_A_FOCUS if name not in measured] == []
