"""The command lines: a mistake is one line and status 2, as a user sees it."""

import json
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import pytest
from absl import flags

from stvh_jax.training.trainer import train
from tests.helpers.fakes import FakeDataset, tiny_config

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOXES = f"--config={ROOT}/configs/vd_boxes.py"


@pytest.fixture
def command(monkeypatch, tmp_path, capfd):
    """Runs a script of the repository as `python SCRIPT ARGUMENTS` does, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        return stopped.value.code, capfd.readouterr()

    yield run
    # A process defines a flag once, but these scripts run many times in this one.
    for name in list(flags.FLAGS):
        if not flags.FLAGS.find_module_defining_flag(name).startswith("absl."):
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


MISTAKES = [
    ("train.py", [], r"give --config=\.\.\.; see --help"),
    ("train.py", [BOXES, "--wrokdir=x"], "Unknown command line flag 'wrokdir'. Did you mean: work"),
    (
        "train.py",
        [BOXES, "--config.model.bitz=8"],
        '\'bitz\' Did you mean "bits" instead of "bitz"',
    ),
    ("train.py", [BOXES, "--config.model.layers=many"], ".*layers.*many"),
    ("train.py", [BOXES, "more"], "'more' is not a flag; see --help"),
    (
        "train.py",
        ["--config=configs/none.py"],
        "cannot read the file of --config: .Errno 2. No such file .* 'configs/none.py'",
    ),
    (
        "train.py",
        [BOXES],
        "datasets/volleyball/boxes_only is not prepared; run: python -m data pre",
    ),
    ("train.py", [BOXES, "--coordinator=a:1"], "--coordinator needs --num_processes and --process"),
    ("train.py", [BOXES, "--process_id=1"], "--num_processes and --process_id need --coordinator"),
    ("train.py", [f"--config={ROOT}/Makefile"], "cannot read the file of --config: "),
    (
        "train.py",
        [f"--config={ROOT}/configs/vd.py:vgg19"],
        "configs/vd.py has no 'vgg19'; choose inception_v3, vgg16, small",
    ),
    ("train.py", [BOXES, "--config.nosuch=1"], "'nosuch' is not a field of the config; see stvh"),
    ("train.py", [BOXES, "--config.model.bits=abc"], "config.model.bits is 'abc'; use a multiple"),
    (
        "train.py",
        [BOXES, "--config.name=../../x"],
        r"config.name is '\.\./\.\./x'; it names",
    ),
    (
        "train.py",
        [BOXES, "--config.data.image_size=96"],
        r"config.data.image_size is \(96,\)",
    ),
    ("train.py", [BOXES, "--config.seed=-1"], "config.seed is -1; use 0 or more"),
    ("evaluate.py", ["--bits=4"], ".*bits.*"),
    ("evaluate.py", ["--exclude_within_frames=-1"], ".*exclude_within_frames.*"),
    ("evaluate.py", ["--bits=16"], "runs/ has no finished run of 16 bits; train one with train.py"),
    (
        "evaluate.py",
        ["--workdir=nowhere"],
        ".*nowhere is not a run .*; give the folder that train.py",
    ),
    (
        "evaluate.py",
        ["--checkpoint=first"],
        "flag --checkpoint=first: value should be one of <best.latest>",
    ),
]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("script", "arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(script, arguments, message, command):
    status, printed = command(script, *arguments)
    assert status == 2
    assert re.fullmatch(f"error: {message}[^\n]*\n", printed.err), printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise SystemExit(7)", "cannot read the file of --config: it ends the program"),
        (
            "def get_config():\n    raise SystemExit",
            "cannot read the file of --config: it ends the",
        ),
        (
            "def get_config():\n    return get_config()",
            "cannot read the file of --config: maximum",
        ),
        ("def get_config():\n    return 5", "config is 5; it holds fields, as in config.NAME"),
        ("raise RuntimeError", "cannot read the file of --config: RuntimeError"),
        ("config", "cannot read the file of --config: name 'config' is not defined"),
        ("(", "cannot read the file of --config: .*never closed"),
    ],
)
def test_a_config_file_may_fail_in_any_way(program, message, command, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(program)
    status, printed = command("train.py", f"--config={path}")
    assert status == 2
    assert re.fullmatch(f"error: {message}[^\n]*\n", printed.err), printed.err


@pytest.fixture
def run_folder(trained, tmp_path):
    run = tmp_path / "runs" / "tiny"
    shutil.copytree(trained(), run)
    return run


def test_a_run_without_those_bits(command, run_folder):
    status, printed = command("evaluate.py", "--bits=32")
    assert status == 2
    assert printed.err == (
        "error: runs/ has no finished run of 32 bits (there are runs of [16] bits); train one "
        "with train.py or name its folder with --workdir\n"
    )


def test_a_run_of_another_config(command, run_folder):
    status, printed = command("evaluate.py", "--bits=16", f"--workdir={run_folder}", BOXES)
    assert status == 2
    assert re.fullmatch(
        r"error: \S*/tiny is a run of another config: it has \S+, not \S+\n", printed.err
    )


def test_the_newest_run_is_taken_and_named_and_its_data_must_be_prepared(command, run_folder):
    status, printed = command("evaluate.py", "--bits=16", "--data_dir=here")
    assert status == 2
    assert printed.out == "run: runs/tiny\n"
    assert printed.err.startswith("error: here/volleyball/boxes_only is not prepared; run: ")
    assert printed.err.count("\n") == 1


def evaluate_fakes(command, monkeypatch, *arguments):
    """Runs evaluate.py on the data that the shared run was trained on."""
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: FakeDataset())
    return command("evaluate.py", "--bits=16", *arguments)


def test_a_split_without_clips(command, monkeypatch, run_folder):
    status, printed = evaluate_fakes(command, monkeypatch, "--split=tset")
    assert status == 2
    assert printed.err == "error: split 'tset' has no clips; choose from train, validation, test\n"


def test_an_evaluation_prints_a_table_and_what_it_wrote(command, monkeypatch, run_folder):
    status, printed = evaluate_fakes(command, monkeypatch, "--checkpoint=latest")
    assert not status
    assert printed.err == ""
    assert printed.out.startswith("run: runs/tiny\n")
    assert "latest checkpoint of step 12" in printed.out
    for name in ("evaluation-test.json", "evaluation-test", "evaluation-test.html"):
        assert (run_folder / name).exists()
        assert f"wrote runs/tiny/{name}\n" in printed.out


def test_an_evaluation_on_another_variant_has_files_of_its_own(command, monkeypatch, run_folder):
    def opened(config):
        dataset = FakeDataset()
        dataset.labels = config.variant.removeprefix("boxes_only-")
        return dataset

    monkeypatch.setattr("data.prepared.pipeline.open_dataset", opened)
    variant = "boxes_only-corrected"
    arguments = ("evaluate.py", "--bits=16", "--checkpoint=latest", f"--variant={variant}")
    status, printed = command(*arguments)
    assert not status
    assert "volleyball with corrected labels, 23 test clips" in printed.out
    assert not (run_folder / "evaluation-test.json").exists()
    results = json.loads((run_folder / f"evaluation-test-{variant}.json").read_text())
    assert (results["data"]["variant"], results["data"]["labels"]) == (variant, "corrected")
    page = (run_folder / f"evaluation-test-{variant}.html").read_text()
    assert "volleyball with corrected labels" in page
    (matrix,) = (run_folder / "filter_matrix").iterdir()
    assert f"-train-{variant}-" in matrix.name


def test_a_training_that_is_not_the_folders(command, monkeypatch, run_folder):
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: FakeDataset())
    status, printed = command(
        "train.py",
        BOXES,
        f"--workdir={run_folder}",
        "--config.model.num_actors=5",
        "--config.data.num_actors=5",
        "--config.train.batch_size=8",
    )
    assert status == 2
    assert re.fullmatch(rf"error: {run_folder} holds a run with \S+, not \S+; .*\n", printed.err)


def test_a_stop_before_the_first_step_is_no_stack_trace(command, monkeypatch):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("data.prepared.pipeline.open_dataset", interrupt)
    status, printed = command("train.py", BOXES)
    assert (status, printed.err) == (130, "interrupted\n")


def test_a_program_of_its_own_says_no_more(tmp_path):
    command = [sys.executable, ROOT / "train.py", BOXES, "--config.model.bitz=8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch("error: [^\n]*bitz[^\n]*\n", done.stderr)


def test_a_finished_run_has_nothing_left_to_train(trained, tmp_path, capsys):
    shutil.copytree(trained(), tmp_path / "run")
    train(tiny_config(), FakeDataset(), tmp_path / "run")
    out = capsys.readouterr().out
    assert out.startswith("resuming at step 12: mstvh, 16 bits, ")
    assert out.count("\n") == 1
    for name in ("history.jsonl", "finished.json"):
        assert (tmp_path / "run" / name).read_text() == (trained() / name).read_text()


def test_a_folder_that_can_be_read_but_not_written(command, monkeypatch, run_folder):
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: FakeDataset())
    (run_folder / "history.jsonl").unlink()
    (run_folder / "history.jsonl").mkdir()
    config = tiny_config()
    monkeypatch.setattr("configs.vd_boxes.get_config", lambda: config)
    status, printed = command("train.py", BOXES, f"--workdir={run_folder}")
    assert status == 2
    assert re.fullmatch("error: [^\n]*\n", printed.err), printed.err
