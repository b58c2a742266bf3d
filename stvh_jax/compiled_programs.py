"""Keeps what JAX compiles on disk, so that the next process reads it: JAX's own persistent cache.

The programs `train`, `evaluate` and `search` call `keep_compiled`; `import stvh_jax` and
`stvh_jax.load` do not, and change nothing of how JAX is set up.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import re
import time
import warnings
from typing import Any

from stvh_jax import files

# The most that is kept, and for how many days: what is older is compiled anew, which also mends
# what a killed process wrote in part, for JAX never writes an entry twice.
_MOST_BYTES = 512 << 20
_MOST_DAYS = 30

# Files of the cache that stay: they say that it is one.
_README = "README"
_ABOUT = (
    "What JAX compiled for stvh_jax, to start sooner: machine code, for one kind of processor in\n"
    "each folder. It may be deleted at any time.\n"
)


def keep_compiled(folder: os.PathLike | str | None = None) -> pathlib.Path | None:
    """Has JAX keep what it compiles in this process, and read what was compiled before.

    Call it before JAX compiles anything. Results are the same, bit for bit: what is read is what
    would be compiled. It sets `jax_compilation_cache_dir` and the limits beside it, for the whole
    process, and does nothing where these were set already, by `JAX_COMPILATION_CACHE_DIR` or in the
    program, or where `jax_enable_compilation_cache` is off. A program that cannot be read, because
    it is damaged, is compiled as if it were not there.

    Args:
      folder: where it is kept, which has to be a folder of one's own: whoever can write there can
        have this process run anything. In `~/.cache/stvh_jax/compiled` if None, at most 512 MiB.

    Returns:
      The folder; None if nothing is kept, as where the folder cannot be written.
    """
    import jax

    config: Any = jax.config  # type checkers do not know its fields
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return None
    above = pathlib.Path(folder) if folder is not None else files.cache_folder() / "compiled"
    own = above.absolute() / _machine()
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if own.stat().st_uid != os.getuid() or not os.access(own, os.W_OK):
            return None
        if not (above / _README).exists():
            files.write(above / _README, _ABOUT)
    except OSError:
        return None
    _forget(above)
    jax.config.update("jax_compilation_cache_dir", str(own))
    # A model is some dozens of programs, most of them small: all are worth a file.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    warnings.filterwarnings(
        "ignore", "Error (reading|writing) persistent compilation cache entry", UserWarning
    )
    return own


@functools.cache
def _machine() -> str:
    """Names the processor: code for one may end a process on another, which the cache's key omits.

    The version of JAX is in the key, and in the name so that folders of old versions fall out.
    """
    import jaxlib.version

    flags = platform.processor()
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if line := re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE):
            flags = " ".join(sorted(line[1].split()))
    digest = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]
    return f"{jaxlib.version.__version__}-{platform.machine()}-{digest}"


def _forget(folder: pathlib.Path) -> None:
    """Deletes what is old, and then, of what is too much, the oldest half."""
    entries, now = [], time.time()
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # another process may have deleted it
                if path.is_file() and path.name != _README:
                    stat = path.stat()
                    entries.append((stat.st_mtime, stat.st_size, path))
    entries.sort()
    most = sum(size for _, size, _ in entries)
    keep = most if most <= _MOST_BYTES else _MOST_BYTES // 2
    for changed, size, path in entries:
        if most <= keep and now - changed <= _MOST_DAYS * 86400:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        most -= size
