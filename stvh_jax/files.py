"""Where this library keeps what it can make or fetch again."""

import os
import pathlib


def folder() -> pathlib.Path:
    """Names the folder among other programs' caches; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "stvh_jax"
