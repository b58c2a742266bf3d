"""Checkpoints on disk: saving, keeping and finding them. Only this file calls Orbax.

A run's `checkpoints/<step>/` has three items: `variables` and `config` are all that encoding
needs, `train` is what resuming needs besides. The latest one is kept, and the best on validation.
"""

import contextlib
import json
import math
import re

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from stvh_jax.errors import Damaged, NotFound, UserError

FOLDER = "checkpoints"
# Far more than the variables of any model of this library.
MOST_BYTES = 8 << 30


class Checkpoints:
    """The checkpoints of one run, for its training."""

    def __init__(self, workdir: epath.Path, *, select: str):
        """Opens the folder of the run's checkpoints, making it where it is absent.

        Args:
          workdir: absolute path of the run.
          select: the validation metric, higher is better, by which the best is chosen.
        """

        def score(metrics):
            return metrics[select]

        self._manager = ocp.CheckpointManager(
            workdir / FOLDER,
            options=ocp.CheckpointManagerOptions(
                best_fn=score,
                best_mode="max",
                preservation_policy=preservation_policy.AnyPreservationPolicy(
                    [
                        preservation_policy.LatestN(1),
                        preservation_policy.BestN(
                            get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
                        ),
                    ]
                ),
            ),
        )

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(
        self, step: int, variables: dict, train: dict, config: dict, *, metrics: dict | None
    ) -> None:
        """Saves a step in the background; one that is saved already is left as it is.

        Args:
          step: its number.
          variables: the model's.
          train: what else resuming needs.
          config: of the run, as JSON.
          metrics: those it was validated by.
        """
        if step in self._manager.all_steps():
            return
        args = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            train=ocp.args.StandardSave(train),
            config=ocp.args.JsonSave(config),
        )
        with _quiet():
            self._manager.save(step, args=args, metrics=metrics)

    def restore(self, variables: dict, train: dict) -> tuple[dict, dict]:
        """Restores the newest checkpoint into the shapes and shardings of both trees.

        Raises:
          Damaged: the checkpoint is damaged.
        """
        step = self.latest_step()
        folder = self._manager.directory / str(step)
        items = ocp.args.Composite(
            variables=ocp.args.StandardRestore(variables),
            train=ocp.args.StandardRestore(train),
        )
        with _damage_reported(folder / "variables", folder / "train"):
            restored = self._manager.restore(step, args=items)
        return dict(restored["variables"]), dict(restored["train"])

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()


def saved_steps(run: epath.Path) -> dict[int, float | None]:
    """Lists the finished checkpoints of a run: step -> its validation score, None without one."""
    folder = run / FOLDER
    if not folder.is_dir():
        return {}
    steps = [int(path.name) for path in folder.iterdir() if re.fullmatch(r"\d+", path.name)]
    return {step: _score(folder / str(step) / "metrics" / "metrics") for step in sorted(steps)}


def _score(path: epath.Path) -> float | None:
    if not path.exists():
        return None
    return next(iter(_read_json(path).values()))


def _read_json(path: epath.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} of a checkpoint is damaged ({error}); copy it again") from error


def choose_step(run: epath.Path, which: str) -> tuple[int, str]:
    """Finds the step of the `best` checkpoint on validation or the `latest`.

    Returns:
      The step and which of the two it is: `latest` where a run had no validation.

    Raises:
      NotFound: the run has no checkpoint.
      UserError: `which` is neither.
    """
    if which not in ("best", "latest"):
        raise UserError(f"checkpoint is {which!r}; choose best or latest")
    steps = saved_steps(run)
    if not steps:
        raise NotFound(f"{run} has no checkpoint; train one with train.py --workdir={run}")
    scored = {step: score for step, score in steps.items() if score is not None}
    if which == "best" and scored:
        return max(scored, key=lambda step: (scored[step], step)), "best"
    return max(steps), "latest"


def load_config(run: epath.Path, step: int) -> dict:
    """Reads the config that a checkpoint was made with.

    Raises:
      Damaged: it is missing or damaged.
    """
    return _read_json(run / FOLDER / str(step) / "config" / "metadata")


def variable_shapes(run: epath.Path, step: int) -> dict:
    """Reads the shapes and types of a checkpoint's variables, and none of their values.

    Returns:
      `jax.ShapeDtypeStruct`s in the places of the variables.

    Raises:
      Damaged: the checkpoint is damaged, or asks for absurdly much memory.
    """
    path = run / FOLDER / str(step) / "variables"
    with _damage_reported(path), _quiet(), ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
        if metadata is None:
            raise ValueError("what arrays it has cannot be read")
        leaves = jax.tree.leaves(metadata.tree)
        # An array is read in chunks, each of them whole.
        sizes = [max(math.prod(leaf.shape), _chunk(leaf)) * leaf.dtype.itemsize for leaf in leaves]
        if sum(sizes) > MOST_BYTES:
            raise ValueError(f"it claims more than {MOST_BYTES >> 30} GiB")
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), metadata.tree
        )


def _chunk(leaf) -> int:
    """Counts the numbers in a chunk of a stored array."""
    return math.prod(leaf.storage.chunk_shape) if leaf.storage else 0


def load_variables(run: epath.Path, step: int) -> dict:
    """Loads the model's variables as NumPy arrays, whichever devices they were saved on.

    Raises:
      Damaged: the checkpoint is damaged, or asks for absurdly much memory.
    """
    shapes = variable_shapes(run, step)
    path = run / FOLDER / str(step) / "variables"
    with _damage_reported(path), _quiet(), ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(
            path, jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
        )


@contextlib.contextmanager
def _damage_reported(*items: epath.Path):
    """Turns what a damaged checkpoint raises into one line."""
    try:
        for path in items:
            # Orbax would complain of a missing or cut index once for every array.
            base = f"{path}/" if "://" in str(path) else f"file://{path}/"
            store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
            if not store.list().result():
                raise ValueError(f"{path.name} has no array")
        yield
    except (OSError, ValueError) as error:
        cause = str(error).partition("\n")[0][:200]
        raise Damaged(
            f"{items[0].parent} cannot be read as a checkpoint ({cause}); copy it again, or delete "
            "this folder to go on from an older one"
        ) from error


@contextlib.contextmanager
def _quiet():
    """Silences the warnings of Orbax about metrics and metadata that a checkpoint need not have."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
