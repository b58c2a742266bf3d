"""The variables of a run's checkpoint, read only if they are those of its config's model."""

from collections.abc import Callable

import jax
from etils import epath

from stvh_jax.errors import Damaged, UserError
from stvh_jax.runs import checkpoints


def variables_of(
    run: epath.Path, step: int, expected: Callable[[], dict], *, source: epath.PathLike
) -> dict:
    """Loads the variables of a checkpoint, if they are those that are expected.

    Args:
      run: the run's folder.
      step: the checkpoint.
      expected: gives the shapes of the variables of the config's model.
      source: where the run came from, for the message.

    Raises:
      Damaged: they are others, or cannot be read, or the model is absurdly large.
    """
    try:
        shapes = _flat(expected())
    except UserError as error:
        raise Damaged(f"{source} is not a run that can be used: {error}") from error
    stored = _flat(checkpoints.variable_shapes(run, step))
    for name in sorted(shapes.keys() | stored.keys()):
        if stored.get(name) != shapes.get(name):
            raise Damaged(
                f"{source} has variables of another model than its config: {name} is "
                f"{stored.get(name, 'absent')}, not {shapes.get(name, 'absent')}"
            )
    return checkpoints.load_variables(run, step)


def _flat(shapes: dict) -> dict[str, str]:
    """Lists variables by their paths, each as its type and shape."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    }
