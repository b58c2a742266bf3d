"""Where a run keeps its filter matrices, and how they are read; `run_filter` fits them."""

import itertools
from typing import get_args

from etils import epath

from stvh_jax import files
from stvh_jax.codes.filter_matrix import DEFAULTS, FilterMatrix, Normalise, Values

_FOLDER = "filter_matrix"


def path_of(
    run: epath.Path,
    *,
    checkpoint: str,
    base_split: str,
    values: Values,
    per_step: bool,
    normalise: Normalise,
) -> epath.Path:
    """Names the file of a filter matrix; see `run_filter.load_or_fit`."""
    kind = "per_step" if per_step else "shared"
    return run / _FOLDER / f"{checkpoint}-{base_split}-{values}-{kind}-{normalise}.npz"


def read(path: epath.Path) -> FilterMatrix:
    """Reads a filter matrix.

    Raises:
      Damaged: the file is not a readable one.
    """
    content = files.read_bytes(path, "a readable filter matrix")
    return FilterMatrix.from_bytes(content, where=str(path))


def find(run: epath.Path, *, checkpoint: str, base_split: str) -> FilterMatrix | None:
    """Reads the filter matrix of a checkpoint, and fits none.

    Args:
      run: the folder of the run.
      checkpoint: the name of the checkpoint (`Encoder.name`).
      base_split: the name of the base set that it was fitted to.

    Returns:
      That of the default options, or else the only one of others; None if there is none, or are
      several others.

    Raises:
      Damaged: it cannot be read.
    """
    with files.reading(run / _FOLDER, "a folder of filter matrices"):
        folder = run / _FOLDER
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    options = itertools.product(get_args(Values), (False, True), get_args(Normalise))
    choices = [DEFAULTS, *(dict(zip(DEFAULTS, each)) for each in options)]
    paths = [
        path_of(run, checkpoint=checkpoint, base_split=base_split, **choice) for choice in choices
    ]
    fitted = [path for path in dict.fromkeys(paths) if path.name in there]
    chosen = fitted[:1] if len(fitted) == 1 or paths[0] in fitted else []
    return read(chosen[0]) if chosen else None
