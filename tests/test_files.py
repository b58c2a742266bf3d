"""Files that are written whole or not at all, and locks between processes."""

import subprocess
import sys

import pytest

from stvh_jax import files
from stvh_jax.errors import UserError


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
