"""Codes of derived foci, kept on disk beside the store: deriving them takes longer than reading.

A file is named by the index, the focus, the filter matrix and the codes it was derived from, so
that it never stands for other codes. It ends with a digest of its own, and is made again where it
is not what was written.
"""

import contextlib
import hashlib
import os
import pathlib

import numpy as np
from jaxtyping import UInt8

from stvh_jax import digests, files
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.errors import UserError
from stvh_jax.retrieval.lance.storage import local_folder

# The length of a SHA-256 in hexadecimal digits, which ends a file.
_DIGITS = 64


def derived_codes(
    uri: str, name: str, matrix: FilterMatrix, codes: UInt8[np.ndarray, "M bytes"], focus: int
) -> UInt8[np.ndarray, "M bytes"]:
    """Reads the codes of a derived focus from the cache, or derives them and fills it.

    Args:
      uri: where the store is.
      name: the index's own.
      matrix: derives the codes.
      codes: those of the last focus.
      focus: whose codes to give.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(codes).data, digest_size=12).hexdigest()
    of_focus = f"{name}-{focus}-{matrix.digest[:16]}"
    path = cache_folder(uri) / f"{of_focus}-{digest}.npy"
    with contextlib.suppress(UserError), files.reading(path, "an array of codes"):
        cached = np.load(path, mmap_mode="r")
        if cached.shape == codes.shape and cached.dtype == np.uint8:
            with path.open("rb") as file:
                file.seek(-_DIGITS, os.SEEK_END)
                if file.read() == digests.of_array(cached).encode():
                    return np.asarray(cached)
    derived = matrix.derive(codes, focus)
    # The cache only helps: an index on a disk that cannot be written is searched all the same.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, derived)
            file.write(digests.of_array(derived).encode())
        for other in path.parent.glob(f"{of_focus}-*.npy"):
            if other != path:  # of what the index was before
                other.unlink(missing_ok=True)
    return derived


def cache_folder(uri: str) -> pathlib.Path:
    """Gives where derived codes are kept: in the store's folder, or with other programs' caches."""
    folder = local_folder(uri)
    return files.cache_folder() if folder is None else folder / "derived"
