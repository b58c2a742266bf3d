"""Retrieve group activities in video by hash codes: STVH and M-STVH in JAX and Flax.

The public names are imported when they are first used: `import stvh_jax` alone, and a command line
that only prints its help, need neither JAX nor NumPy.
"""

from typing import TYPE_CHECKING

# Each public name and the module that defines it. Type checkers and editors read the imports below,
# Python reads this table; tests/test_public_face.py compares the two.
_HOMES = {
    "Damaged": "stvh_jax.errors",
    "Encoder": "stvh_jax.inference.encoder",
    "Encoding": "stvh_jax.inference.encoder",
    "Exists": "stvh_jax.errors",
    "FilterMatrix": "stvh_jax.codes.filter_matrix",
    "Hit": "stvh_jax.retrieval.hits",
    "Hits": "stvh_jax.retrieval.hits",
    "Index": "stvh_jax.retrieval.index",
    "NotFound": "stvh_jax.errors",
    "UserError": "stvh_jax.errors",
    "keep_compiled": "stvh_jax.compiled_programs",
    "load": "stvh_jax.inference.encoder",
    "queries": "stvh_jax",
    "read_clip": "stvh_jax.inference.clip_files",
}

__all__ = [
    "Damaged",
    "Encoder",
    "Encoding",
    "Exists",
    "FilterMatrix",
    "Hit",
    "Hits",
    "Index",
    "NotFound",
    "UserError",
    "__version__",
    "keep_compiled",
    "load",
    "queries",
    "read_clip",
]

if TYPE_CHECKING:
    from stvh_jax import queries
    from stvh_jax.codes.filter_matrix import FilterMatrix
    from stvh_jax.compiled_programs import keep_compiled
    from stvh_jax.errors import Damaged, Exists, NotFound, UserError
    from stvh_jax.inference.clip_files import read_clip
    from stvh_jax.inference.encoder import Encoder, Encoding, load
    from stvh_jax.retrieval.hits import Hit, Hits
    from stvh_jax.retrieval.index import Index

    __version__: str
else:  # unseen by type checkers, for which this function would make every name a good one

    def __getattr__(name):
        """Imports a public name when it is first used."""
        import importlib

        if name == "__version__":
            return _version()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = _HOMES[name]
        is_module = home == __name__
        try:
            if is_module:
                return importlib.import_module(f"{home}.{name}")
            return getattr(importlib.import_module(home), name)
        except ModuleNotFoundError as error:
            # The others need the library alone.
            if not (is_module or home.startswith("stvh_jax.retrieval")):
                raise
            from stvh_jax.errors import UserError

            raise UserError(
                f"an index needs {error.name}, which is not installed; "
                "pip install 'stvh_jax[search]'"
            ) from error


def __dir__() -> list[str]:
    return list(__all__)


def _version() -> str:
    """Returns the version that is installed, or that of a checkout used without installing it."""
    import importlib.metadata

    try:
        return importlib.metadata.version("stvh_jax")
    except importlib.metadata.PackageNotFoundError:
        import pathlib
        import tomllib

        project = pathlib.Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
