"""Retrieve group activities in video by hash codes: STVH and M-STVH in JAX and Flax."""

import importlib

_HOMES = {
    "Encoder": "stvh_jax.inference.encoder",
    "Encoding": "stvh_jax.inference.encoder",
    "Index": "stvh_jax.retrieval.index",
    "UserError": "stvh_jax.errors",
    "load": "stvh_jax.inference.encoder",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Imports the public names when they are first used: parsing a file needs no JAX."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        if name != "Index":  # all others need no more than the library itself
            raise
        from stvh_jax.errors import UserError

        raise UserError(
            f"an index needs {error.name}, which is not installed; pip install 'stvh_jax[search]'"
        ) from error
    return getattr(home, name)
