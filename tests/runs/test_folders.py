"""Finding a run again by what it is."""

import json

import pytest
from etils import epath

from configs import vd_boxes
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.runs import folders


def start(folder, config, *, finished_at=None):
    """Writes what a run of a config leaves behind."""
    run = epath.Path(folder)
    described = json.loads(config.to_json_best_effort()) | {"activity_names": ["a", "b"]}
    folders.prepare(run, described)
    if finished_at is not None:
        (run / folders.FINISHED).write_text(json.dumps({"finished_at": finished_at}))


def config_of(bits, **changes):
    config = vd_boxes.get_config()
    config.model.update({"bits": bits, "objective": "printed"})
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with runs of 16 bits (the newest of another seed), one of 32 and one unfinished."""
    monkeypatch.chdir(tmp_path)
    start("runs/b", config_of(16), finished_at=20.0)
    start("runs/a", config_of(16), finished_at=10.0)
    start("runs/c", config_of(16, seed=1), finished_at=30.0)
    start("runs/d", config_of(32), finished_at=40.0)
    start("runs/e", config_of(64))
    return tmp_path


def test_the_newest_finished_run_with_the_bits_is_found(folder):
    assert folders.find(workdir=None, bits=16) == epath.Path("runs/c")
    assert folders.find(workdir=None, bits=32) == epath.Path("runs/d")


@pytest.mark.parametrize("name", ["config.json", "finished.json"])
def test_a_damaged_run_is_left_out(name, folder):
    (folder / "runs/c" / name).write_text("{cut")
    assert folders.find(workdir=None, bits=16) == epath.Path("runs/b")


def test_a_run_is_finished_once(folder):
    before = (folder / "runs/b/finished.json").read_text()
    folders.finish(epath.Path("runs/b"), 12)
    assert (folder / "runs/b/finished.json").read_text() == before
    folders.finish(epath.Path("runs/e"), 12)
    assert folders.find(workdir=None, bits=64) == epath.Path("runs/e")


def test_a_config_narrows_the_search_whatever_its_bits(folder):
    assert folders.find(workdir=None, bits=16, config=config_of(128)) == epath.Path("runs/b")
    free = config_of(128, **{"data.dir": "elsewhere", "devices": 7})
    assert folders.find(workdir=None, bits=16, config=free) == epath.Path("runs/b")
    free.model.bits = 128
    with pytest.raises(UserError, match="^runs/ has no finished run of 32 bits of this config "):
        folders.find(workdir=None, bits=32, config=config_of(128, seed=1))


@pytest.mark.parametrize("bits", [8, 64])
def test_bits_that_no_finished_run_has(bits, folder):
    expected = rf"^runs/ has no finished run of {bits} bits \(there are runs of \[16, 32\] bits\); "
    with pytest.raises(UserError, match=expected):
        folders.find(workdir=None, bits=bits)


def test_no_run_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^runs/ has no finished run of 16 bits; train one with"):
        folders.find(workdir=None, bits=16)


def test_a_named_run_need_not_be_finished(folder):
    assert folders.find(workdir="runs/e", bits=64) == epath.Path(folder / "runs/e")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 32}, "runs/b has codes of 16 bits, not 32; use --bits=16 or another --workdir$"),
        (
            {"bits": 16, "config": config_of(16, seed=3)},
            "runs/b is a run of another config: it has seed=0, not 3$",
        ),
    ],
)
def test_a_named_run_of_something_else(options, message, folder):
    with pytest.raises(UserError, match=message):
        folders.find(workdir="runs/b", **options)


@pytest.mark.parametrize("written", [None, "{cut", "[]"])
def test_a_folder_that_is_no_run(written, tmp_path):
    if written is not None:
        (tmp_path / "config.json").write_text(written)
    kind = NotFound if written is None else Damaged
    with pytest.raises(kind, match=r"is not a run \(no readable config.json\)"):
        folders.find(workdir=tmp_path, bits=16)


def test_a_run_is_named_by_what_it_is():
    assert folders.default_workdir(config_of(64, seed=2)) == "runs/vd_boxes-mstvh-64-2"
    graded = {"model.objective": "graded", "model.visual_bits": 24}
    name = "runs/vd_boxes-mstvh-64-24_visual-0"
    assert folders.default_workdir(config_of(64, **graded)) == name
