"""What a command imports: the heavy packages only where they are needed, for each takes time."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from stvh_jax.retrieval.index import Index

ROOT = pathlib.Path(__file__).resolve().parents[1]
ALWAYS_ABSENT = {"tensorflow", "tensorflow_datasets", "torch", "matplotlib", "optax", "keras"}
MODELS = {"jax", "jaxlib", "flax", "orbax", "tensorstore", "ml_collections.config_flags"}
# Not pandas, which is no dependency: PyArrow imports it, where it is installed, to make arrays.
STORES = {"lancedb", "lance_namespace_urllib3_client", "pyarrow.dataset", "pydantic"}
SEARCH = {"numpy", "scipy", "scipy.optimize", "pyarrow", "faiss", "sqlglot"}

# Runs a command to its end, and says which of some modules it has imported by then.
PROGRAM = """
import json, runpy, sys
file, names, arguments = json.loads(sys.argv[1])
sys.argv = [file, *arguments]
sys.path.insert(0, ".")
try:
    runpy.run_path(file, run_name="__main__")
except SystemExit as error:
    assert error.code in (None, 0, 1), error.code  # 1 is of absl's --help
finally:
    print("IMPORTED", json.dumps([name for name in names if name in sys.modules]))
"""


def imported(file, names, *arguments):
    """Runs a command in a process of its own; gives those of some modules that it imported."""
    job = json.dumps([file, sorted(names), [str(each) for each in arguments]])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, job], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    line = done.stdout.strip().splitlines()[-1]
    return set(json.loads(line.removeprefix("IMPORTED ")))


@pytest.fixture
def indexed(tmp_path):
    """Gives an index of a few clips that was read once, so that its copy is there."""
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(0, 1))
    codes = np.random.default_rng(0).integers(0, 256, (4, 2), np.uint8)
    index.add({0: codes, 1: codes[::-1]}, match=["m"] * 4, clip=range(4))
    Index.open(tmp_path / "index").clips()
    return tmp_path / "index"


def test_a_query_of_an_indexed_clip_needs_no_model_and_no_store(indexed):
    absent = ALWAYS_ABSENT | MODELS | STORES | {"scipy.optimize", "av"}
    found = imported(
        "search.py", absent | {"numpy"}, "query", "--index", indexed, "--clip", "m/1", "--k", "2"
    )
    assert found == {"numpy"}  # which shows that what is imported is seen


@pytest.mark.parametrize(
    "command",
    [
        ("search.py", "--help"),
        ("search.py", "query", "--help"),
        ("search.py", "serve", "--help"),
        ("train.py", "--help"),
    ],
)
def test_help_imports_nothing_heavy(command):
    file, *arguments = command
    heavy = ALWAYS_ABSENT | MODELS | STORES | SEARCH - {"numpy"} | {"uvicorn", "starlette"}
    heavy -= {"ml_collections.config_flags"}
    assert imported(file, heavy, *arguments) == set()


def test_the_page_needs_no_model(indexed):
    """Up to the first request: the server is made, and ends before it serves."""
    program = (
        "import json, sys\n"
        "from stvh_jax.app import server\n"
        "server.serve = lambda *_: None\n"
        "from stvh_jax.cli import search\n"
        f"assert search.main(None, ['serve', '--index', {str(indexed)!r}, '--port', '0']) == 0\n"
        f"names = {sorted(ALWAYS_ABSENT | MODELS | STORES)}\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(indexed.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
