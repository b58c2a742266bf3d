"""A small index, and the Milvus server that the tests of this folder share."""

import contextlib
import importlib.util
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from stvh_jax.retrieval.index import Index

# Seconds that a server may take to start.
PATIENCE = 60


@pytest.fixture(scope="session")
def milvus():
    """Gives the address of a Milvus server."""
    pytest.importorskip("pymilvus")
    if importlib.util.find_spec("milvus") is None:
        pytest.skip("the package milvus, which carries a server, is not installed")
    script = pathlib.Path(__file__).parents[1] / "helpers" / "milvus_server.py"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            port = process.stdout.readline().strip() if ready else ""
            if not port:
                pytest.skip(f"the Milvus server did not start within {PATIENCE} seconds")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()


@pytest.fixture(params=["part by part", "in one scan"])
def parts_at_once(request, monkeypatch):
    """Searches several parts of codes one after the other, or in one scan as of many clips."""
    if request.param == "in one scan":
        monkeypatch.setattr("stvh_jax.retrieval.lance.snapshot._MANY", 0)


@pytest.fixture
def small(tmp_path):
    """Gives an index of one focus with three clips."""
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(np.eye(3, 2, dtype=np.uint8), match=["a", "a", "b"], clip=[1, 2, 3])
    return index
