"""Files that are read in one line or not at all, written whole or not at all, and locks."""

import subprocess
import sys

import pytest
from etils import epath

from stvh_jax import files
from stvh_jax.errors import Damaged, NotFound, UserError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file.txt"
    files.write(path, "first")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("half of the sec")
        raise ZeroDivisionError
    assert path.read_text() == "first"
    files.write(path, b"second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def _raise(error):
    raise error


RAISED = [
    (ValueError("bad\nthing"), Damaged, "x is not a picture (bad thing); try y"),
    (RecursionError("too deep"), Damaged, "x is not a picture (too deep); try y"),
    (MemoryError(), Damaged, "x is not a picture (MemoryError); try y"),
    (KeyError("name"), Damaged, "x is not a picture (no 'name'); try y"),
    (OSError("cut short"), Damaged, "x is not a picture (cut short); try y"),
    (OSError(22, "Invalid argument"), Damaged, "x is not a picture (Invalid argument); try y"),
    (ValueError("a\x00b" + "c" * 999), Damaged, f"x is not a picture (a b{'c' * 197}); try y"),
    (FileNotFoundError(2, "No such file"), NotFound, "x: no such file; try y"),
    (PermissionError(13, "Permission denied"), UserError, "cannot read x (Permission denied)"),
    (NotFound("ours"), NotFound, "ours"),
]


@pytest.mark.parametrize(
    ("error", "kind", "message"), RAISED, ids=[repr(e)[:30] for e, *_ in RAISED]
)
def test_whatever_a_parser_raises_is_one_line(error, kind, message):
    with pytest.raises(UserError) as raised, files.reading("x", "a picture", "try y"):
        _raise(error)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("passed", [ModuleNotFoundError("torch"), KeyboardInterrupt()], ids=repr)
def test_what_is_not_of_the_file_passes(passed):
    with pytest.raises(type(passed)), files.reading("x", "a picture"):
        _raise(passed)


JSON = [
    (b"[" * 100_000, "is not a config"),
    (b'{"a":' * 100_000, "is not a config"),
    (b'{"a": ' + b"9" * 5000 + b"}", "is not a config (Exceeds the limit"),
    (b"\xff\xfe", "is not a config ('utf-8' codec"),
    (b"[1]", "is not a config (not a JSON object)"),
    (b"", "is not a config (Expecting value"),
]


@pytest.mark.parametrize(("content", "message"), JSON, ids=range(len(JSON)))
def test_json_that_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(Damaged) as raised:
        files.read_json(path, "a config")
    assert str(raised.value).startswith(f"{path} {message}")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_json_is_read(tmp_path):
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert files.read_json(tmp_path / "x.json", "a config") == {"a": [1]}
    with pytest.raises(Damaged, match="more than 0 MiB"):
        files.read_json(tmp_path / "x.json", "a config", most=3)
    with pytest.raises(NotFound, match="no such file"):
        files.read_json(tmp_path / "y.json", "a config")


def test_what_cannot_be_written_is_one_line(tmp_path):
    message = rf"^cannot write {tmp_path}/no/file \(No such file or directory\); try another$"
    with (
        pytest.raises(UserError, match=message),
        files.writing(tmp_path / "no/file", "try another"),
    ):
        files.write(tmp_path / "no/file", "text")


def test_a_lock_is_held_by_one_and_freed_by_the_end_of_its_process(tmp_path):
    script = (
        "import sys, time; from stvh_jax import files\n"
        "with files.lock(sys.argv[1]):\n  print('held', flush=True)\n  time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        message = "^it is taken; try again when it is done$"
        lock = files.lock(tmp_path / "lock", busy="it is taken")
        with pytest.raises(files.Locked, match=message), lock:
            pass
        waited = []

        def wait():
            waited.append(True)
            holder.kill()

        with files.lock(tmp_path / "lock", wait=wait):
            assert waited
    finally:
        holder.kill()
        holder.communicate()


def test_a_storage_that_cannot_be_written_is_one_line(tmp_path):
    assert files.output(tmp_path / "x.png") == epath.Path(tmp_path / "x.png")
    with pytest.raises(UserError, match="^file:///x.png is in a storage that cannot be written;"):
        files.output("file:///x.png")
