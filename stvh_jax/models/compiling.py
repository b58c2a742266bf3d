"""`jit` as models want it: with the options of XLA that make them faster on the device at hand."""

import functools
import os
from collections.abc import Callable

import jax

# The kinds of operation that XLA's CPU compiler hands to YNNPACK. With convolutions among them, as
# by default, backbones take up to 1.7 times as long; models of boxes alone hardly change
# (benchmarks/backbones.py, benchmarks/head.py).
_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"


def jit(function: Callable, **options) -> Callable:
    """Compiles a function of a model; `options` are those of `jax.jit`.

    An option of the compiler that is in `XLA_FLAGS` is left to them.
    """
    return jax.jit(function, compiler_options=_compiler_options(), **options)


@functools.cache
def _compiler_options() -> dict[str, str] | None:
    if jax.default_backend() != "cpu" or _YNNPACK in os.environ.get("XLA_FLAGS", ""):
        return None
    options = {_YNNPACK: ""}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a version of XLA without the option
        return None
    return options
