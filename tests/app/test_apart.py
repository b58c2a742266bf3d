"""Processes that answer, fail, hang, crash, and take too much."""

import pathlib
import threading
import time

import pytest

from stvh_jax.app.apart import Apart, Bounds
from stvh_jax.errors import Damaged, NotFound, UserError

MODULE = "tests.helpers.apart_work"
BOUNDS = Bounds(patience=60, memory=1 << 29, most_file=1 << 25)
SHORT = Bounds(patience=4, memory=1 << 29, most_file=1 << 25)


@pytest.fixture
def run(tmp_path):
    pool = Apart(1, "others are busy")
    yield lambda do, bounds=BOUNDS, **job: pool.run(MODULE, tmp_path, {"do": do, **job}, bounds)
    pool.close()


def test_a_process_gets_a_folder_and_no_secrets(run, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    monkeypatch.setenv("STVH_TOKEN", "k")
    found = run("environment")
    assert found["folder"] == str(tmp_path) == found["environment"]["HOME"]
    assert not [name for name, value in found["environment"].items() if value == "k"]
    assert found["environment"]["JAX_PLATFORMS"] == "cpu"
    assert not {"", ".", str(tmp_path)} & set(found["path"])


def test_what_lies_in_the_folder_is_not_imported(run, tmp_path):
    (tmp_path / "nonsense_that_lies_here.py").write_text("")
    with pytest.raises(UserError, match="nonsense_that_lies_here is not installed"):
        run("missing")


@pytest.mark.parametrize("kind", [UserError, NotFound, Damaged])
def test_errors_are_those_of_the_work(run, kind):
    with pytest.raises(UserError, match="^what is wrong$") as caught:
        run("fail", kind=kind.__name__)
    assert caught.type is kind


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("mistake", r"failed \(ZeroDivisionError: a mistake.*31m of the program\); give another"),
        ("crash", "ended by SIGSEGV: the file is damaged, or needs more memory than 0.5 GiB"),
        ("fill", "needed more memory than 0.5 GiB"),
        ("leave", r"failed \(status 0\)"),
        ("flood", r"failed \(status 0\)"),
    ],
)
def test_what_goes_wrong_is_one_line(run, do, message):
    with pytest.raises(UserError, match=message) as caught:
        run(do)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_files_and_times_are_bounded(run, tmp_path):
    small = Bounds(patience=60, memory=1 << 29, most_file=1 << 20)
    with pytest.raises(UserError, match="File too large"):
        run("write", small)
    assert (tmp_path / "large").stat().st_size <= 1 << 20
    limits = run("core")
    assert limits["RLIMIT_CORE"] == [0, 0] and limits["RLIMIT_DATA"] == [1 << 29, 1 << 29]
    assert 60 <= limits["RLIMIT_CPU"][0] <= 8 * 60


def alive(pid):
    """Says whether a process runs: one that was killed may still wait to be buried."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def buried(pid):
    for _ in range(500):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


def test_a_process_that_hangs_is_killed_with_its_children(run, tmp_path):
    with pytest.raises(UserError, match="it took longer than 4 seconds; give something shorter"):
        run("hang", SHORT)
    assert buried(int((tmp_path / "child").read_text()))
    assert run("core")  # the place is free again


def test_only_so_many_run_at_once_and_closing_kills_them(tmp_path):
    pool, errors = Apart(1, "others are busy"), []

    def hang():
        try:
            pool.run(MODULE, tmp_path, {"do": "hang"}, BOUNDS)
        except UserError as error:
            errors.append(str(error))

    thread = threading.Thread(target=hang)
    thread.start()
    child = tmp_path / "child"
    while thread.is_alive() and not (child.exists() and child.read_text()):
        time.sleep(0.01)
    with pytest.raises(UserError, match="others are busy"):
        pool.run(MODULE, tmp_path, {"do": "core"}, BOUNDS, wait=0.1)
    pool.close()
    thread.join()
    assert errors == ["the page is being closed"] and buried(int(child.read_text()))
    with pytest.raises(UserError, match="being closed"):
        pool.run(MODULE, tmp_path, {"do": "core"}, BOUNDS)
