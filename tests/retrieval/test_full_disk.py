"""A disk that is full, cannot be written, or is gone: one line, and nothing kept is lost."""

import contextlib
import os
import shutil
import subprocess

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index


@pytest.fixture
def disk(tmp_path):
    """Gives a disk of two megabytes."""
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root may make a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def add(index, name, count):
    codes = np.random.default_rng(0).integers(0, 256, (count, 16), np.uint8)
    index.add(codes, match=[name] * count, clip=range(count))


def clips(folder):
    index = Index.open(folder)
    (hits,) = index.search(np.zeros((1, 16), np.uint8), k=None, radius=128)
    assert len(hits) == len(index)
    return len(hits)


@pytest.mark.soak
def test_a_full_disk_loses_nothing(disk):
    folder = disk / "index"
    index = Index.create(folder, bits=128, stored_foci=(1,))
    kept = 0
    with pytest.raises(UserError, match="index cannot be written as an index: .*No space left"):
        for name in range(100):
            add(index, f"m{name}", 3000)
            kept += 3000
    (disk / "rest").touch()
    with pytest.raises(OSError), open(disk / "rest", "wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass
    assert kept
    for call in (
        lambda: add(index, "x", 3),
        lambda: index.delete("match = 'm0'"),
        lambda: index.restore(2),
        index.compact,
        lambda: Index.create(disk / "other", bits=16, stored_foci=(1,)),
    ):
        with pytest.raises(UserError, match="cannot (be written as an index|write)") as error:
            call()
        assert "\n" not in str(error.value)
        # A restoring that failed left the index at the older version.
        assert (len(index), clips(folder)) == (kept, kept)
    (disk / "rest").unlink()
    assert index.delete("match = 'm0'") == 3000
    assert clips(folder) == kept - 3000


def test_a_disk_that_cannot_be_written_is_read(disk):
    index = Index.create(disk / "index", bits=128, stored_foci=(1,))
    add(index, "m", 5)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert clips(disk / "index") == 5
    for call in (
        lambda: add(index, "x", 3),
        lambda: Index.create(disk / "other", bits=16, stored_foci=(1,)),
    ):
        with pytest.raises(UserError, match="cannot write .*Read-only file system"):
            call()


def test_an_index_that_is_gone(small, tmp_path):
    (hits,) = small.search(np.zeros((1, 2), np.uint8))
    other = Index.open(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    code = np.zeros((1, 2), np.uint8)
    for call in (
        lambda: other.delete("match = 'a'"),
        lambda: other.restore(1),
        lambda: small.upsert(code, match=["a"], clip=[1]),
        other.refresh,
        other.compact,
    ):
        with pytest.raises(UserError) as error:
            call()
        assert "\n" not in str(error.value)
        assert "index" in str(error.value)
    # What is in memory may still be read.
    for call in (
        lambda: list(hits),
        lambda: other.search(code),
        lambda: other.get([("a", 1)]),
        lambda: other.count("match = 'a'"),
    ):
        with contextlib.suppress(UserError):
            call()
