"""python -m data with impossible numbers and folders: one line, status 2, nothing written."""

import os

import pytest

from data.__main__ import main
from data.variants import DATASETS
from tests.helpers.volleyball_files import write_raw

DIGITS = "9" * 5000
HUGE = str(10**30)
needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture
def mistake(capsys):
    """Runs the command, checks that it ends as a mistake does, and gives its line."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1 and len(err) < 1100
        return err

    return run


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    ("option", "values", "cause"),
    [
        ("--matches", ["0"], "matches is 0: give "),
        ("--matches", ["-1"], "matches is -1: give "),
        ("--matches", [str(10**9)], "matches is 1000000000: give 100000 or fewer"),
        ("--matches", [HUGE], "give 100000 or fewer"),
        ("--matches", [DIGITS], "argument --matches: invalid int value"),
        ("--clips-per-match", ["0"], "clips_per_match is 0: give 1 to 100000"),
        ("--clips-per-match", ["-1"], "clips_per_match is -1: give 1 to 100000"),
        ("--clips-per-match", [str(10**9)], "clips_per_match is 1000000000: give 1 to"),
        ("--seed", ["-1"], "seed is -1: give a number in 0..2**32-1"),
        ("--seed", [HUGE], "give a number in 0..2**32-1"),
        ("--difficulty", ["nan"], "difficulty is nan: give a number in 0..1"),
        ("--difficulty", ["1e400"], "difficulty is inf: give a number in 0..1"),
        ("--image-size", ["0", "0"], "image_size is 0 x 0: give 48 x 80 or more"),
        ("--image-size", ["-1", "80"], "image_size is -1 x 80: give 48 x 80 or more"),
        ("--image-size", ["1000000", "1000000"], "at most 8192 a side"),
        ("--image-size", ["480", HUGE], "at most 8192 a side"),
        ("--image-size", ["480"], "argument --image-size: expected 2 arguments"),
    ],
)
def test_videos_that_cannot_be_rendered(dataset, option, values, cause, mistake, tmp_path):
    out = tmp_path / "out"
    assert cause in mistake("synthesize", dataset, "--out", out, option, *values)
    assert not out.exists()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("file", "is a file; give a folder"),
        ("file/inside", "cannot write "),
        ("", "'' is not a value of --out"),
        ("x" * 5000, "too long"),
    ],
)
def test_videos_are_rendered_into_folders(dataset, place, cause, mistake, tmp_path):
    (tmp_path / "file").write_text("mine")
    out = place and f"{tmp_path}/{place}"
    assert cause in mistake("synthesize", dataset, "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("place", ["", "file", "file/inside", "nowhere", "x" * 5000])
def test_raw_files_lie_in_a_folder(dataset, place, mistake, tmp_path):
    (tmp_path / "file").write_text("mine")
    for command in ("check", "prepare"):
        mistake(command, dataset, "--raw", place and f"{tmp_path}/{place}")


def test_clips_of_nobody_are_problems(tmp_path, capsys):
    raw = write_raw(tmp_path, {1: []}, splits={"train": [1], "validation": [], "test": []})
    assert main(["check", "volleyball", "--raw", str(raw)]) == 1
    out, err = capsys.readouterr()
    assert f"problems: 2\n  {raw}/videos/1/annotations.txt: no key frame is annotated\n" in out
    assert out.endswith(f"  {raw}/videos: no clip was found\n") and not err


@needs_permissions
def test_a_folder_that_cannot_be_written(mistake, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for out in (locked, locked / "inside"):
        assert "Permission denied" in mistake("synthesize", "volleyball", "--out", out)


@pytest.mark.slow
@pytest.mark.parametrize("out", ["file", "file/inside", "", "x" * 5000])
def test_a_set_is_prepared_into_a_folder(out, mistake, tmp_path):
    raw = write_raw(
        tmp_path / "raw",
        {1: [(10, "r_set", [(5, 6, 7, 11, "digging")])]},
        splits={"train": [1], "validation": [], "test": []},
    )
    (tmp_path / "file").write_text("mine")
    place = out and f"{tmp_path}/{out}"
    mistake("prepare", "volleyball", "--raw", raw, "--boxes-only", "--out", place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "raw"]


@pytest.mark.slow
def test_a_set_of_no_clip_is_not_prepared(mistake, tmp_path):
    splits = {"train": [1], "validation": [], "test": []}
    raw, out = write_raw(tmp_path / "raw", {1: []}, splits=splits), tmp_path / "out"
    err = mistake("prepare", "volleyball", "--raw", raw, "--out", out)
    assert err == f"error: {raw}/videos: no clip to prepare\n"
    assert not list(out.rglob("dataset_info.json"))
