"""Checkpoints on disk: saving, keeping and finding them. Only this file calls Orbax.

A run's `checkpoints/<step>/` has the items `variables` and `config`, which are all that encoding
needs, `train`, which is what resuming needs besides, and `digests` of all three and of the score,
so that no flipped bit is taken for a parameter. The latest one is kept, and the best on validation.
"""

import contextlib
import gc
import logging as python_logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from stvh_jax import digests, files
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.runs import trained_models
from stvh_jax.runs.folders import CHECKPOINTS, DIGESTS

# Far more than the variables of any model of this library.
MOST_BYTES = 8 << 30
_CURE = "copy it again, or delete this folder to go on from an older one"


class Checkpoints:
    """The checkpoints of one run, for its training."""

    def __init__(self, workdir: epath.Path, *, select: str):
        """Opens the folder of the run's checkpoints, making it where it is absent.

        Args:
          workdir: absolute path of the run.
          select: the validation metric, higher is better, by which the best is chosen.

        Raises:
          Damaged: the score of a checkpoint is damaged.
          UserError: the folder cannot be written.
        """

        def score(metrics):
            return metrics[select]

        saved_steps(workdir)  # a damaged score would keep the wrong one
        self._folder = workdir / CHECKPOINTS
        # What is written in the background fails in the background, once for every array.
        self._silence = contextlib.ExitStack()
        self._silence.enter_context(_quiet())
        _silence_unfinished()
        options = ocp.CheckpointManagerOptions(
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
        )
        with _saving(self._folder):
            self._manager = ocp.CheckpointManager(self._folder, options=options)

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

        Raises:
          UserError: this one, or the one before it, cannot be written.
        """
        if step in self._manager.all_steps():
            return
        content = {
            "variables": _of_leaves(variables),
            "train": _of_leaves(train),
            "config": digests.of_json(config),
            "metrics": digests.of_json(metrics),
        }
        args = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            train=ocp.args.StandardSave(train),
            config=ocp.args.JsonSave(config),
            digests=ocp.args.JsonSave(content),
        )
        with _saving(self._folder / str(step)):
            self._manager.save(step, args=args, metrics=metrics)

    def restore(self, variables: dict, train: dict) -> tuple[dict, dict]:
        """Restores the newest checkpoint into the shapes and shardings of both trees.

        Raises:
          Damaged: the checkpoint is damaged.
        """
        step = self.latest_step()
        folder = self._folder / str(step)
        items = ocp.args.Composite(
            variables=ocp.args.StandardRestore(variables),
            train=ocp.args.StandardRestore(train),
        )
        with _damage_reported(folder / "variables", folder / "train"):
            restored = self._manager.restore(step, args=items)
        for item in ("variables", "train"):
            _check(folder, item, _of_leaves(restored[item]))
        return dict(restored["variables"]), dict(restored["train"])

    def close(self) -> None:
        """Waits for what is being written.

        Raises:
          UserError: it cannot be written.
        """
        with _saving(self._folder):
            self._manager.wait_until_finished()
            self._manager.close()
        # What has failed is kept, and would still print its traces at the end of the program.
        self._silence.close()


def saved_steps(run: epath.Path) -> dict[int, float | None]:
    """Lists the finished checkpoints of a run: step -> its validation score, None without one."""
    folder = run / CHECKPOINTS
    if not folder.is_dir():
        return {}
    steps = [int(path.name) for path in folder.iterdir() if re.fullmatch(r"\d+", path.name)]
    # A packed run may leave out the score of its only checkpoint, which nothing depends on.
    needed = len(steps) > 1
    return {step: _score(folder / str(step), needed) for step in sorted(steps)}


def _score(folder: epath.Path, needed: bool) -> float | None:
    path = folder / "metrics" / "metrics"
    if not path.exists():
        if needed:
            _check(folder, "metrics", digests.of_json(None))
        return None
    metrics = files.read_json(path, "the score of a checkpoint", cure=_CURE)
    _check(folder, "metrics", digests.of_json(metrics))
    with files.reading(path, "the score of a checkpoint", _CURE):
        return float(next(iter(metrics.values())))


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
        raise NotFound(
            f"{run} has no checkpoint; train one with train.py --workdir={run}, or give a model "
            f"that comes with the library: {', '.join(trained_models.MODELS)}"
        )
    scored = {step: score for step, score in steps.items() if score is not None}
    if which == "best" and scored:
        return max(scored, key=lambda step: (scored[step], step)), "best"
    return max(steps), "latest"


def load_config(run: epath.Path, step: int) -> dict:
    """Reads the config that a checkpoint was made with.

    Raises:
      Damaged: it is missing or damaged.
    """
    folder = run / CHECKPOINTS / str(step)
    config = files.read_json(folder / "config" / "metadata", "a checkpoint's config", cure=_CURE)
    _check(folder, "config", digests.of_json(config))
    return config


def variable_shapes(run: epath.Path, step: int) -> dict:
    """Reads the shapes and types of a checkpoint's variables, and none of their values.

    Returns:
      A `jax.ShapeDtypeStruct` in the place of each variable.

    Raises:
      Damaged: the checkpoint is damaged, or asks for absurdly much memory.
    """
    folder = run / CHECKPOINTS / str(step)
    path = folder / "variables"
    with _quiet(), _damage_reported(path), ocp.StandardCheckpointer() as checkpointer:
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
    folder = run / CHECKPOINTS / str(step)
    path = folder / "variables"
    with _quiet(), _damage_reported(path), ocp.StandardCheckpointer() as checkpointer:
        target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
        variables = checkpointer.restore(path, target)
    _check(folder, "variables", _of_leaves(variables))
    return variables


def _of_leaves(tree) -> dict[str, str]:
    """Computes the digest of each array of a tree: its path in the tree -> digest."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): digests.of_array(_values(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _values(leaf) -> np.ndarray:
    """Fetches an array; every process has all of one that is spread over several."""
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _check(folder: epath.Path, item: str, content: dict[str, str] | str) -> None:
    """Compares what was read of an item with what was saved, by digests.

    Checkpoints of earlier versions have no digests, and pass.

    Raises:
      Damaged: they differ.
    """
    if not (folder / DIGESTS).exists():
        return
    path = folder / DIGESTS / "metadata"
    saved = files.read_json(path, "the digests of a checkpoint", cure=_CURE).get(item)
    if saved != content:
        first = ""
        if isinstance(saved, dict) and isinstance(content, dict):
            names = sorted(saved.keys() | content.keys())
            first = next(f"/{name}" for name in names if saved.get(name) != content.get(name))
        raise Damaged(f"{folder} is damaged ({item}{first} is not what was saved); {_CURE}")


@contextlib.contextmanager
def _damage_reported(*items: epath.Path):
    """Turns what a damaged checkpoint raises into one line."""
    try:
        with files.reading(items[0].parent, "a whole checkpoint", _CURE):
            for path in items:
                # Orbax would complain of a missing or cut index once for every array.
                base = f"{path}/" if "://" in str(path) else f"file://{path}/"
                store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
                if not store.list().result():
                    raise ValueError(f"{path.name} has no array")
            yield
    except UserError as error:
        # The reads of other arrays are left unfinished. They end here, or later in a thread.
        error.__cause__ = error.__context__ = None
        _silence_unfinished()
        gc.collect()
        raise


@contextlib.contextmanager
def _saving(folder: epath.Path):
    """Turns what Orbax raises where the storage is full or cannot be written into one line.

    What it had begun has no name yet that a checkpoint has, and is removed when the run goes on.
    """
    try:
        yield
    except Exception as error:
        _silence_unfinished()
        code = re.search(r"os_error_code='(\d+)'", str(error))  # at the end of long paths
        cause = os.strerror(int(code[1])) if code else files.reason(error)
        raise UserError(
            f"cannot write {folder} ({cause}); the last whole checkpoint is kept: "
            "make room, or see who may write there, and the same command resumes"
        ) from error


@contextlib.contextmanager
def _quiet():
    """Silences Orbax: it warns of what a checkpoint need not have, and raises what fails."""
    loggers = [logging.get_absl_logger(), python_logging.getLogger("asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(python_logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


class _IgnoreUnfinished:
    """A `sys.unraisablehook` that does not speak of reads and writes that Orbax left unfinished."""

    def __init__(self, hook: Callable[[Any], Any]):
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)
        unfinished = code is not None and "orbax" in code.co_filename
        if not unfinished and str(unraisable.exc_value) != "Event loop is closed":
            self._hook(unraisable)


def _is_of_a_result(record: python_logging.LogRecord) -> bool:
    """Says whether a line of asyncio's log is of a result that somebody has waited for."""
    return "was never retrieved" not in record.getMessage()


def _silence_unfinished() -> None:
    """Silences, for good, what Python says of reads and writes that Orbax left unfinished.

    It says so when they are collected, which may be at the end of the program.
    """
    if not isinstance(sys.unraisablehook, _IgnoreUnfinished):
        sys.unraisablehook = _IgnoreUnfinished(sys.unraisablehook)
    python_logging.getLogger("asyncio").addFilter(_is_of_a_result)  # no second time
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
