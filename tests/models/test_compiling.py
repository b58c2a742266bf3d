"""Functions of models are compiled with the options that help, where there are such options."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from stvh_jax.models import compiling
from stvh_jax.models.compiling import jit


@pytest.fixture(autouse=True)
def fresh():
    compiling._compiler_options.cache_clear()
    yield
    compiling._compiler_options.cache_clear()


def test_an_option_is_given_on_a_cpu_and_left_to_the_users_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert compiling._compiler_options() == {compiling._YNNPACK: ""}
    compiling._compiler_options.cache_clear()
    monkeypatch.setenv("XLA_FLAGS", f"--{compiling._YNNPACK}=LIBRARY_FUSION_TYPE_DOT")
    assert compiling._compiler_options() is None


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compiling, "_YNNPACK", "xla_cpu_of_no_version")
    assert compiling._compiler_options() is None
    assert jit(lambda x: x + 1)(1) == 2


def test_convolutions_are_not_handed_to_ynnpack():
    """As text of the compiled program, in a process without flags: the tests have their own."""
    program = (
        "import jax; from stvh_jax.models.compiling import jit; "
        "f = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), 'SAME', "
        "dimension_numbers=('NHWC', 'HWIO', 'NHWC')); "
        "shapes = [jax.ShapeDtypeStruct(s, 'float32') for s in ((1, 64, 64, 32), (3, 3, 32, 32))]; "
        "print([name in j(f).lower(*shapes).compile().as_text() "
        "for j in (jax.jit, jit) for name in ('ynn_fusion', ' convolution(')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={}
    )
    # The first says that YNNPACK is what XLA takes by itself: else the option does nothing.
    assert done.stdout.strip() == "[True, True, False, True]"


def test_results_and_options_are_those_of_jax():
    x = np.arange(3.0, dtype=np.float32)
    assert np.array_equal(jit(lambda x, k: x * k, static_argnames="k")(x, k=2), 2 * x)
    assert jit(lambda x: x, donate_argnums=0)(jax.numpy.array(x)).shape == (3,)
