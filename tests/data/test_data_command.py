import os
import subprocess
import sys

import pytest
from etils import epath

from configs import demo
from data.__main__ import main
from data.prepared.pipeline import open_dataset
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.training.trainer import train
from tests.helpers.collective_files import write_sequences
from tests.helpers.volleyball_files import write_raw

pytestmark = pytest.mark.slow

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting")]
SPLITS = {"train": [1], "validation": [], "test": [4]}


@pytest.fixture
def raw(tmp_path):
    clips = {1: [(10, "r-pass", PEOPLE), (20, "l_set", PEOPLE)], 4: [(10, "l-spike", PEOPLE)]}
    return write_raw(tmp_path / "raw", clips, splits=SPLITS)


def test_prepare_reports_progress_and_a_summary(raw, tmp_path, capsys):
    command = ["prepare", "volleyball", "--raw", str(raw), "--out", str(tmp_path / "sets")]
    assert main(command) == 0
    folder = tmp_path / "sets/volleyball/frames/3.0.0"
    summary = [
        "train: 2 clips, 4 actors, 100.0% without a track",
        "test: 1 clips, 2 actors, 100.0% without a track",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "train: 2 of 2 clips (video 1)",
        "test: 1 of 1 clips (video 4)",
        f"prepared {folder}",
        *summary,
    ]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folder} is already prepared; delete it to prepare it again",
        *summary,
    ]


def test_prepare_allows_missing_frames_when_told(raw, tmp_path, capsys):
    (raw / "videos/1/20/24.jpg").unlink()
    command = ["prepare", "volleyball", "--raw", str(raw), "--out", str(tmp_path / "sets")]
    assert main(command) == 2
    assert "1 of 3 clips lack some of their 10 frames" in capsys.readouterr().err
    assert main([*command, "--allow-missing"]) == 0
    out = capsys.readouterr().out
    assert "train: 1 clips, 2 actors, 100.0% without a track, 1 skipped" in out
    assert main([*command, "--boxes-only"]) == 0
    assert "train: 2 clips" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys):
    for command in ("prepare", "check"):
        assert main([command, "volleyball", "--raw", str(tmp_path / "nowhere")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"error: {tmp_path / 'nowhere'}: found no videos")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prepar", "volleyball"],
        ["prepare", "volleybal", "--raw", "."],
        ["prepare", "volleyball"],
        ["prepare", "volleyball", "--raw", ".", "--boxes"],
        ["check", "volleyball", "--raw", ".", "--allow-missing"],
        ["synthesize", "volleyball", "--out", ".", "--matches", "many"],
        ["synthesize", "--out", "."],
        ["prepare", "volleyball", "--raw", ".", "--classes", "five"],
        ["prepare", "collective_activity", "--raw", ".", "--classes", "six"],
    ],
)
def test_a_misspelt_command_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_check_tells_completeness_by_its_status(raw, capsys):
    command = ["check", "volleyball", "--raw", str(raw)]
    assert main(command) == 0
    assert "complete" in capsys.readouterr().out
    (raw / "videos/1/20/24.jpg").unlink()
    assert main(command) == 1
    assert "1 of 2 clips lack" in capsys.readouterr().out
    assert main([*command, "--boxes-only"]) == 0


def test_synthesized_matches_check_and_prepare(tmp_path, capsys):
    raw = str(tmp_path / "raw")
    size = ["--image-size", "48", "80"]
    amount = ["--matches", "3", "--clips-per-match", "2"]
    assert main(["synthesize", "volleyball", "--out", raw, *amount, *size]) == 0
    assert main(["check", "volleyball", "--raw", raw]) == 0
    assert main(["prepare", "volleyball", "--raw", raw, "--out", str(tmp_path / "sets")]) == 0
    summary = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split(",")[0] for line in summary] == [
        "train: 2 clips",
        "validation: 2 clips",
        "test: 2 clips",
    ]
    assert all(line.endswith("0.0% without a track") for line in summary)


@pytest.mark.parametrize(
    ("dataset", "matches"),
    [("collective_activity", 15), ("collective_activity_extended", 21)],
)
@pytest.mark.soak
def test_synthesized_streets_train_and_are_evaluated(dataset, matches, tmp_path, capsys):
    raw, sets = str(tmp_path / "raw"), str(tmp_path / "sets")
    amount = ["--matches", str(matches), "--clips-per-match", "2", "--image-size", "48", "80"]
    assert main(["synthesize", dataset, "--out", raw, *amount]) == 0
    assert main(["check", dataset, "--raw", raw]) == 0
    assert "complete: no problem found" in capsys.readouterr().out
    assert main(["prepare", dataset, "--raw", raw, "--out", sets]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    clips = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    walking = 0 if dataset == "collective_activity" else 6
    assert sum(clips.values()) == 2 * matches - walking

    config = demo.get_config(dataset)
    config.data.update({"dir": sets, "image_size": (48, 80)})
    config.model.update({"features": 8, "bits": 16, "layers": 1, "roi_size": 3})
    config.model.visual_bits = 8
    config.model.backbone.features = (4,)
    config.train.update({"epochs": 1, "batch_size": 4, "evaluation_batch_size": 8})
    config.train.evaluate_every_epochs = 1
    dataset = open_dataset(config.data)
    train(config, dataset, tmp_path / "run")
    run = epath.Path(tmp_path / "run")
    results = evaluate(load(run), dataset, run=run).results
    assert results["data"]["query_clips"] == clips["test"]
    assert set(results["foci"]) == {"0", "1"}
    assert 0 < results["data"]["untracked_share"] < 0.5


def test_a_choice_is_a_variant_of_its_own(tmp_path, capsys):
    root = tmp_path / "raw"
    people = [(2, 6, 6, 12, 2), (20, 6, 6, 12, 5)]
    write_sequences(root, {1: {1: people, 11: people}}, splits=SPLITS | {"test": []}, frames=20)
    flags = ["--boxes-only", "--classes", "five", "--window", "centred"]
    command = ["prepare", "collective_activity", "--raw", str(root), "--out", str(tmp_path / "s")]
    assert main([*command, *flags]) == 0
    folder = tmp_path / "s/collective_activity/boxes_only-five-centred/3.0.0"
    assert capsys.readouterr().out.splitlines() == [
        "train: 1 of 1 clips (sequence 1)",
        f"prepared {folder}",
        "train: 1 clips, 2 actors, 100.0% without a track",
    ]


def test_the_command_line_says_nothing_of_tensorflow(raw, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    run = subprocess.run(
        [sys.executable, "-m", "data", "prepare", "volleyball", "--raw", raw, "--out", tmp_path],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1].startswith("test: 1 clips")
