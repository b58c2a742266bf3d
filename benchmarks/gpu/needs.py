"""What must be installed: checked before anything is imported, so that one line says what is not.

The standard library alone.
"""

import importlib.util

# What is imported, by the name of what is to be installed.
PACKAGES = {
    "absl-py": "absl",
    "etils": "etils.epath",
    "flax": "flax",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "jaxtyping": "jaxtyping",
    "ml-collections": "ml_collections",
    "numpy": "numpy",
    "optax": "optax",
    "orbax-checkpoint": "orbax.checkpoint",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "tensorstore": "tensorstore",
}


def missing(packages: dict[str, str] = PACKAGES) -> list[str]:
    """Lists the packages that are not installed."""
    return [name for name, module in packages.items() if not _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
