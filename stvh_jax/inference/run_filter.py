"""The filter matrix of a run: fitted once, then read from the folder of the run."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from etils import epath
from jaxtyping import UInt8

from stvh_jax import console, files
from stvh_jax.codes.filter_fitting import fit
from stvh_jax.codes.filter_matrix import FilterMatrix, Normalise, Values
from stvh_jax.inference import saved_filter


def load_or_fit(
    run: epath.Path,
    base_codes: Callable[[], Mapping[int, UInt8[np.ndarray, "M bytes"]]],
    *,
    checkpoint: str,
    base_split: str,
    values: Values = "binary",
    per_step: bool = False,
    normalise: Normalise = "code",
    seed: int = 0,
) -> FilterMatrix:
    """Loads the F of a checkpoint from its run, or fits it and saves it there.

    Args:
      run: the folder of the run; F is kept in its subfolder `filter_matrix/`.
      base_codes: called only if F has to be fitted; gives the packed codes of the base set, by
        focus.
      checkpoint: the name of the checkpoint (`Encoder.name`).
      base_split: the name of the base set.
      values: see `fit`.
      per_step: see `fit`.
      normalise: see `fit`.
      seed: see `fit`.

    Raises:
      Damaged: the file in the run is not a readable filter matrix.
      UserError: the run cannot be written.
    """
    path = saved_filter.path_of(
        run,
        checkpoint=checkpoint,
        base_split=base_split,
        values=values,
        per_step=per_step,
        normalise=normalise,
    )
    if path.exists():
        return saved_filter.read(path)
    matrix = fit(
        base_codes(),
        values=values,
        per_step=per_step,
        normalise=normalise,
        seed=seed,
        progress=lambda done, steps, loss: console.show(
            "fitting the filter matrix", steps, done, loss
        ),
    )
    facts = dict(matrix.facts) | {"checkpoint": checkpoint, "base_split": base_split}
    matrix = dataclasses.replace(matrix, facts=facts)
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, matrix.to_bytes())
    return matrix
