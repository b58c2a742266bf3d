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
def trained(tmp_path_factory):
    """Gives `trained(devices)`: the folder of a finished run of `tiny_config`, to be read only."""
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset, tiny_config

    @functools.cache
    def run(devices=1):
        folder = epath.Path(tmp_path_factory.mktemp("trained") / str(devices))
        config = tiny_config()
        config.devices = devices
        # Whoever is first to need the run may be a test of what is printed.
        with contextlib.redirect_stdout(io.StringIO()):
            train(config, FakeDataset(), folder)
        return folder

    return run


@pytest.fixture(scope="session")
def graded(tmp_path_factory):
    """Gives the folder of a finished run of `graded_config`, to be read only."""
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset, graded_config

    folder = epath.Path(tmp_path_factory.mktemp("graded") / "run")
    with contextlib.redirect_stdout(io.StringIO()):
        train(graded_config(), FakeDataset(), folder)
    return folder


@pytest.fixture(scope="session")
def label_free(tmp_path_factory):
    """Gives the folder of a finished run of `label_free_config`, to be read only."""
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset, label_free_config

    folder = epath.Path(tmp_path_factory.mktemp("label_free") / "run")
    with contextlib.redirect_stdout(io.StringIO()):
        train(label_free_config(), FakeDataset(), folder)
    return folder


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
