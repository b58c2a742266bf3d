"""Settings of every test: four virtual CPU devices, strict ranks, checked shapes."""

import importlib.metadata
import os

# The tests compile much and compute little: XLA's quickest ways to code are several times quicker.
# Only the pinned version surely has these flags, and an unknown flag ends the process.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = " ".join(
        [
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_experimental_ynn_fusion_type=",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
    )
# The cores are shared by the workers, and the arrays are small: threads would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import atexit
import contextlib
import functools
import io
import shutil
import tempfile

# What one process has compiled, the other workers and all that the tests start take from here.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.02"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import jaxtyping
import pytest
from etils import epath

# Every annotated array of the library is checked against its shape while the tests run.
jaxtyping.install_import_hook("stvh_jax", "beartype.beartype")

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Gives `run_of(name, config)`: this worker's copy of a run that one of them has trained."""
    from stvh_jax import files
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset

    base = tmp_path_factory.getbasetemp()
    runs = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runs"

    def run(name, config):
        runs.mkdir(exist_ok=True)
        with files.lock(runs / f"{name}.lock", wait=lambda: None):
            if not (runs / name / "finished.json").exists():
                # Whoever is first to need the run may be a test of what is printed.
                with contextlib.redirect_stdout(io.StringIO()):
                    train(config, FakeDataset(), runs / name)
        folder = tmp_path_factory.mktemp(name) / "run"
        shutil.copytree(runs / name, folder)
        return epath.Path(folder)

    return run


@pytest.fixture(scope="session")
def trained(run_of):
    """Gives `trained(devices)`: the folder of a finished run of `tiny_config`, to be read only."""
    from tests.helpers.fakes import tiny_config

    @functools.cache
    def run(devices=1):
        config = tiny_config()
        config.devices = devices
        return run_of(f"trained-{devices}", config)

    return run


@pytest.fixture(scope="session")
def graded(run_of):
    """Gives the folder of a finished run of `graded_config`, to be read only."""
    from tests.helpers.fakes import graded_config

    return run_of("graded", graded_config())


@pytest.fixture(scope="session")
def label_free(run_of):
    """Gives the folder of a finished run of `label_free_config`, to be read only."""
    from tests.helpers.fakes import label_free_config

    return run_of("label_free", label_free_config())


@pytest.fixture
def unchecked_shapes():
    """Lets arrays of any shape through to the library, as outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    """Marks the tests that a fixture or a condition makes special; `slow` stands at the tests."""
    for item in items:
        if "milvus" in item.fixturenames:
            item.add_marker(pytest.mark.milvus)
        conditions = item.iter_markers("skipif")
        if any(mark.kwargs["reason"] == "real data not present" for mark in conditions):
            item.add_marker(pytest.mark.real_data)
